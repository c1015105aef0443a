"""Writes every generated file of the project: `make generate`; a test compares them with this.

Generated are: JSON Schemas, the OpenAPI document, the event catalogue, the Lua tables, the users of the Redis
server, the error page, the page of settings and what else is made of them, the table of requirements and
tests, the Grafana dashboards, metrics.lint.json, the tables of docs/metrics.md, the chart's copies of
dashboards and rules, and the state diagram of docs/architecture.md.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from actors.gateway.app import openapi_document
from contracts import doctor, errors, events, metrics, published, record, spec, states, webhooks
from ops import compliance
from ops.configuration import config_schema, configuration_page, env_example, values_schema
from ops.dashboards import DASHBOARDS, text_of
from ops.events_page import events_page
from ops.files import write_atomically
from ops.marks import by_word, marked_tests
from ops.rights import users_acl
from orch.lint import document as lint
from orch.lint import queries as lint_queries
from orch.store.library import generated_lua

ROOT = Path(__file__).resolve().parents[1]
CHART_RULES = "charts/orch/files/rules.yaml"
CHART_DASHBOARDS = "charts/orch/files/dashboards"
"""A chart can read only what lies in its own folder."""
LINE_SHOWN = 160
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


def _event_schema() -> str:
    """An entry, and what the payload of each type holds. Fields may be added within v1."""
    document = json.loads(_schema("event", "Ledger event", record.LedgerEvent))
    document["allOf"] = [
        {
            "if": {"properties": {"type": {"const": entry.type.value}}, "required": ["type"]},
            "then": {
                "properties": {
                    "payload": {
                        "properties": {
                            name: {"description": about} for name, about in entry.fields.items()
                        },
                        "required": [name for name in entry.fields if name not in entry.optional],
                    }
                }
            },
        }
        for entry in events.CATALOGUE.values()
    ]
    return _json(document)


def _events_page() -> str:
    driven = by_word(marked_tests(), "drives")
    return events_page({event: list(files) for event, files in driven.items()})


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
    return _json(lint.document_of(lint_queries.users_below(ROOT)))


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


def chart_rules() -> str:
    """The rules as the chart carries them: Helm reads no file outside of a chart."""
    text = (ROOT / lint_queries.RULES).read_text(encoding="utf-8")
    return f"# Written by `make generate` from {lint_queries.RULES}: change it there.\n{text}"


def generated() -> Iterator[tuple[str, Callable[[], str]]]:
    """Path from the root, and what makes the file's text."""
    schemas = "contracts/schemas/v1"
    yield f"{schemas}/job_spec.json", _job_spec_schema
    yield (
        f"{schemas}/job_record.json",
        lambda: _schema("job_record", "Job record", record.JobRecord),
    )
    yield f"{schemas}/event.json", _event_schema
    yield f"{schemas}/error.json", lambda: _schema("error", "Error body", record.ErrorBody)
    yield (
        f"{schemas}/webhook.json",
        lambda: _schema("webhook", "Webhook body", webhooks.WebhookBody),
    )
    yield (
        f"{schemas}/doctor.json",
        lambda: _schema("doctor", "Report of orch doctor", doctor.DoctorReport),
    )
    yield f"{schemas}/config.json", config_schema
    yield "contracts/openapi.json", lambda: _json(openapi_document())
    yield "contracts/events.md", _events_page
    yield "orch/store/functions/generated.lua", generated_lua
    yield "ops/redis/users.acl", users_acl
    for one in DASHBOARDS:
        for folder in (lint_queries.DASHBOARDS, CHART_DASHBOARDS):
            yield f"{folder}/{one.name}.json", partial(text_of, one)
    yield "metrics.lint.json", _metrics_lint  # looks up who asks in the dashboards
    yield "docs/errors.md", _errors_page
    yield "COMPLIANCE.md", compliance.page
    yield "docs/configuration.md", configuration_page
    yield ".env.example", env_example
    chart = ROOT / "charts/orch/values.schema.json"
    yield "charts/orch/values.schema.json", lambda: values_schema(chart)
    yield CHART_RULES, chart_rules
    metrics_page = ROOT / "docs/metrics.md"
    yield "docs/metrics.md", lambda: _with_section(metrics_page, "metrics", _metrics_tables())
    architecture = ROOT / "docs/architecture.md"
    yield (
        "docs/architecture.md",
        lambda: _with_section(architecture, "state diagram", _state_diagram()),
    )


def stale(name: str, found: str, wanted: str) -> str | None:
    """Where a file is not what its source says: file, line, and both lines; None when it is current."""
    pairs = zip_longest(found.splitlines(), wanted.splitlines())
    for line, (is_, should) in enumerate(pairs, 1):
        if is_ != should:
            return f"{name}:{line}: {_quoted(is_)} here, {_quoted(should)} by its source: run `make generate`"
    return None if found == wanted else f"{name}: other line ends: run `make generate`"


def _quoted(line: str | None) -> str:
    return (
        "nothing"
        if line is None
        else repr(line if len(line) <= LINE_SHOWN else line[:LINE_SHOWN] + "…")
    )


def check() -> list[str]:
    """The files that are not current, each with its first difference."""
    return [
        fault
        for name, make in generated()
        if (fault := stale(name, (ROOT / name).read_text(encoding="utf-8"), make())) is not None
    ]


def main() -> int:
    """Writes what is not current and says so; with `--check` it only says."""
    if "--check" in sys.argv[1:]:
        faults = check()
        sys.stdout.writelines(f"{fault}\n" for fault in faults)
        return 1 if faults else 0
    for name, make in generated():
        if write_atomically(ROOT / name, make()):
            sys.stdout.write(f"wrote {name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
