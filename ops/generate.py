"""Writes every generated file of the project: `make generate`; a test compares them with this.

Generated are: JSON Schemas, the OpenAPI document, the event catalogue, the Lua tables, the error page, the
configuration page, .env.example, metrics.lint.json, the tables of docs/metrics.md, and the state diagram of
docs/architecture.md.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from actors.gateway.app import openapi_document
from contracts import defaults, errors, events, metrics, published, record, spec, states, webhooks
from orch.lint import document as lint
from orch.lint.queries import users_below
from orch.store.library import generated_lua

ROOT = Path(__file__).resolve().parents[1]
_MARK = "<!-- generated: {} -->"


def _json(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False, sort_keys=False) + "\n"


def _schema(name: str, title: str, model: type[BaseModel], *, mode: str = "serialization") -> str:
    body = model.model_json_schema(mode="validation" if mode == "validation" else "serialization")
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:orch:schema:v1:{name}",
        "title": title,
    }
    return _json({**head, **{key: value for key, value in body.items() if key != "title"}})


def _job_spec_schema() -> str:
    """The spec with what each shipped adapter wants in its config."""
    document = json.loads(_schema("job_spec", "Job spec", spec.JobSpec, mode="validation"))
    published.with_configs(document["$defs"], "#/$defs/{model}")
    return _json(document)


def _events_page() -> str:
    lines = [
        "# Events",
        "",
        "What a job's ledger can hold. Written by `make generate` from `contracts/events.py`; an event that",
        "is not here cannot be emitted. A job's state is the fold of its `status_changed` entries.",
        "",
    ]
    for entry in events.CATALOGUE.values():
        lines += [
            f"## {entry.type.value}",
            "",
            entry.meaning,
            "",
            f"Emitted by: {entry.emitter}.",
            "",
        ]
        if entry.fields:
            lines += ["| field | meaning |", "| --- | --- |"]
            lines += [f"| `{name}` | {meaning} |" for name, meaning in entry.fields.items()]
            lines.append("")
    lines += ["## Frames of the event stream", "", "`event` of a server-sent frame: "]
    lines[-1] += ", ".join(f"`{frame.value}`" for frame in events.Frame) + "."
    return "\n".join(lines).rstrip() + "\n"


def _errors_page() -> str:
    lines = [
        "# Errors",
        "",
        "Every error body is flat: `code`, `message`, `hint`, `retriable`, `request_id`, and where they help",
        "`retry_after_ms` and `details`. Written by `make generate` from `contracts/errors.py`.",
        "",
        "| code | HTTP | exit | retriable | meaning | what to do |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in errors.CATALOGUE.values():
        http = "-" if row.http_status is None else str(row.http_status)
        retriable = "yes" if row.retriable else "no"
        meaning, hint = (text.replace("|", "\\|") for text in (row.meaning, row.hint))
        lines.append(
            f"| `{row.code.value}` | {http} | {int(row.exit_code)} | {retriable} | {meaning} | {hint} |"
        )
    return "\n".join(lines) + "\n"


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _bounds(row: defaults.Default) -> str:
    if row.choices:
        return " or ".join(row.choices)
    if row.minimum is None and row.maximum is None:
        return ""
    return (
        f"{row.minimum or 0:g} to {row.maximum:g}"
        if row.maximum is not None
        else f"from {row.minimum:g}"
    )


def _configuration_page() -> str:
    lines = [
        "# Configuration",
        "",
        "Precedence: flag > environment > project file `./orch.toml` > `<home>/orch.toml` > default.",
        "`orch config show --origin` says which value holds and where it came from. Written by",
        "`make generate` from `contracts/defaults.py`.",
        "",
        "| key | default | unit | bounds | environment | meaning |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in defaults.DEFAULTS.values():
        shown = f"`{_shown(row.value)}`" if _shown(row.value) else "-"
        lines.append(
            f"| `{row.key}` | {shown} | {row.unit} | {_bounds(row)} | `{row.env}` | {row.meaning} |"
        )
    lines += [
        "",
        "Names that say where things are; no file can set them:",
        "",
        "| name | meaning |",
        "| --- | --- |",
    ]
    lines += [f"| `{name}` | {meaning} |" for name, meaning in defaults.LOCATIONS.items()]
    return "\n".join(lines) + "\n"


def _env_example() -> str:
    lines = [
        "# Every setting with its default; written by `make generate` from contracts/defaults.py.",
        "",
    ]
    for row in defaults.DEFAULTS.values():
        lines += [f"# {row.meaning} ({row.unit})", f"# {row.env}={_shown(row.value)}", ""]
    for name, meaning in defaults.LOCATIONS.items():
        lines += [f"# {meaning}", f"# {name}=", ""]
    return "\n".join(lines).rstrip() + "\n"


def _state_diagram() -> str:
    lines = ["```mermaid", "stateDiagram-v2"]
    for event, target in states.FIRST.items():
        lines.append(f"  [*] --> {target.value}: {event.value}")
    moves: dict[tuple[states.State, states.State], list[str]] = {}
    for (origin, event), target in states.TRANSITIONS.items():
        if event not in {states.Event.CANCEL, states.Event.EXPIRE}:
            moves.setdefault((origin, target), []).append(event.value)
    for (origin, target), names in moves.items():
        lines.append(f"  {origin.value} --> {target.value}: {', '.join(names)}")
    lines += [f"  {state.value} --> [*]" for state in states.State if state in states.TERMINAL]
    lines += [
        "```",
        "",
        "Every live state also goes to `canceled` by `cancel` and to `expired` by `expire`.",
    ]
    return "\n".join(lines)


def _with_section(path: Path, name: str, text: str) -> str:
    """The page with the generated part between its two marks replaced."""
    begin, end = _MARK.format(name), _MARK.format(f"end of {name}")
    page = path.read_text(encoding="utf-8")
    head, _, rest = page.partition(begin)
    _, _, tail = rest.partition(end)
    return f"{head}{begin}\n{text}\n{end}{tail}"


def _metrics_lint() -> str:
    return _json(lint.document_of(users_below(ROOT)))


def _metrics_tables() -> str:
    titles = {
        "Every process": metrics.OF_EVERY_PROCESS,
        "Roles": metrics.OF_ROLES,
        "The cluster": metrics.OF_THE_CLUSTER,
    }
    lines: list[str] = []
    for title, rows in titles.items():
        lines += [
            f"### {title}",
            "",
            "| metric | type | labels | what it says | from |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| `{row.name}` | {row.type} | {_metric_labels(row)} | {row.help} | `{row.emitted_by}` |"
            for row in rows
        ]
        lines.append("")
    return "\n".join(lines).rstrip()


def _metric_labels(row: metrics.Metric) -> str:
    """Each label with its values, or with how many there are when the list is long."""
    words = []
    for one in row.labels:
        values = one.values or ()
        shown = ", ".join(values) if 0 < len(values) <= 8 else f"{len(values) or one.max} values"
        words.append(f"`{one.name}` ({shown})" if values else f"`{one.name}` (at most {one.max})")
    return "; ".join(words)


def generated() -> Iterator[tuple[str, Callable[[], str]]]:
    """Path from the root, and what makes the file's text."""
    schemas = "contracts/schemas/v1"
    yield f"{schemas}/job_spec.json", _job_spec_schema
    yield (
        f"{schemas}/job_record.json",
        lambda: _schema("job_record", "Job record", record.JobRecord),
    )
    yield f"{schemas}/event.json", lambda: _schema("event", "Ledger event", record.LedgerEvent)
    yield f"{schemas}/error.json", lambda: _schema("error", "Error body", record.ErrorBody)
    yield (
        f"{schemas}/webhook.json",
        lambda: _schema("webhook", "Webhook body", webhooks.WebhookBody),
    )
    yield "contracts/openapi.json", lambda: _json(openapi_document())
    yield "contracts/events.md", _events_page
    yield "orch/store/functions/generated.lua", generated_lua
    yield "metrics.lint.json", _metrics_lint
    yield "docs/errors.md", _errors_page
    yield "docs/configuration.md", _configuration_page
    yield ".env.example", _env_example
    metrics_page = ROOT / "docs/metrics.md"
    yield "docs/metrics.md", lambda: _with_section(metrics_page, "metrics", _metrics_tables())
    architecture = ROOT / "docs/architecture.md"
    yield (
        "docs/architecture.md",
        lambda: _with_section(architecture, "state diagram", _state_diagram()),
    )


def write_atomically(path: Path, text: str) -> bool:
    """Writes the whole file or leaves it; False when it was current."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    return True


def main() -> int:
    """Writes what is not current and says so."""
    for name, make in generated():
        if write_atomically(ROOT / name, make()):
            sys.stdout.write(f"wrote {name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
