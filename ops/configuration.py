"""What is written of the settings, from `contracts.defaults` alone: the page, .env.example, the schemas.

`ops.places` reads the same files back, so that a changed value is found where it stands.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from contracts import defaults, ids, limits
from contracts.defaults import DEFAULTS, RENAMED, Default
from orch.values import word_of

BY_CHART: Final[Mapping[str, str]] = {
    "redis_url": "redis",
    "shard": "shard",
    "appendfsync": "valkey",
    "host": "gateway",
    "port": "gateway.port",
    "auth": "gateway.auth",
    "allowed_hosts": "gateway.allowedHosts",
    "tls_cert": "gateway.tlsSecret",
    "tls_key": "gateway.tlsSecret",
    "plaintext": "gateway.plaintext",
    "metrics_host": "the probes",
    "metrics_port": "the probes",
    "pool": "runners[].pool",
    "slots": "runners[].slots",
    "capabilities": "runners[].capabilities",
    "runners": "runners[].replicas",
}
"""Settings that the chart makes of other values: under its `settings` they would be without effect."""


def bounds_of(row: Default) -> str:
    """What it may be, for people."""
    if row.choices:
        return " or ".join(row.choices)
    if row.minimum is None or row.maximum is None:
        return ""
    return f"{word_of(row.minimum)} to {word_of(row.maximum)}"


# ---------------------------------------------------------------- the page and .env.example


def configuration_page(renamed: Mapping[str, str] = RENAMED) -> str:
    """docs/configuration.md."""
    parts = (_settings_table(), _renamed_table(renamed), _locations_table(), _limits_table())
    return "\n".join(line for part in parts for line in part) + "\n"


def _settings_table() -> Iterator[str]:
    yield from (
        "# Configuration",
        "",
        "Precedence: flag > environment > project file `./orch.toml` > `<home>/orch.toml` > default.",
        "`orch config show --origin` says which value holds and where it came from. `orch init` writes a",
        "file with every setting in it, `orch up --help` lists them as flags, and",
        "`contracts/schemas/v1/config.json` is the schema of the file. Written by `make generate` from",
        "`contracts/defaults.py`; a test reads every place that repeats a default, and names the line of one",
        "that says another. A list in the file is an array of strings, or one string as the table shows it:",
        '`classes = ["interactive:8", "batch:1"]` and `classes = "interactive:8,batch:1"` are the same.',
        "",
        "| key | default | unit | bounds | environment | meaning |",
        "| --- | --- | --- | --- | --- | --- |",
    )
    for row in DEFAULTS.values():
        shown = f"`{word_of(row.value)}`" if word_of(row.value) else "-"
        about = f"{row.unit} | {bounds_of(row)} | `{row.env}` | {row.meaning}"
        yield f"| `{row.key}` | {shown} | {about} |"


def _renamed_table(renamed: Mapping[str, str]) -> Iterator[str]:
    yield from (
        "",
        "A setting that gets a new name keeps its old one as an alias: as a key, a variable and a flag it",
        "works on, and is warned of once. Beside the new name in the same place the old one is ignored.",
    )
    if renamed:
        yield from ("", "| old name | new name |", "| --- | --- |")
        yield from (f"| `{old}` | `{new}` |" for old, new in renamed.items())
    else:
        yield "No setting has got a new name yet."


def _locations_table() -> Iterator[str]:
    yield from (
        "",
        "Names that say where things are; no file can set them:",
        "",
        "| name | meaning |",
        "| --- | --- |",
    )
    yield from (f"| `{name}` | {meaning} |" for name, meaning in defaults.LOCATIONS.items())
    yield from (
        "",
        "Names of others that Orch reads, beside [OpenTelemetry's](traces.md#switch-it-on), and no more:",
        "",
        "| name | meaning |",
        "| --- | --- |",
    )
    yield from (f"| `{name}` | {meaning} |" for name, meaning in defaults.FOREIGN.items())


def _limits_table() -> Iterator[str]:
    yield from (
        "",
        "## Bounds that nobody may change",
        "",
        "The error that meets one of them names it. From `contracts/limits.py`, with its units in the names.",
        "",
        "| bound | value | about |",
        "| --- | --- | --- |",
    )
    for name, value, about in limit_rows():
        yield f"| `{name}` | {value:,} | {about or '-'} |"


_UNITS: Final = frozenset({"KIB", "MIB", "SECOND_MS", "MINUTE_MS", "HOUR_MS", "DAY_MS"})


def limit_rows() -> Iterator[tuple[str, int, str]]:
    """Name, value and meaning of every whole number of `contracts.limits`, as they stand there."""
    body = ast.parse(Path(limits.__file__).read_text(encoding="utf-8")).body
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            value = getattr(limits, node.target.id)
            if isinstance(value, int) and node.target.id not in _UNITS:
                yield node.target.id, value, _about(after)


def _about(node: ast.stmt | None) -> str:
    is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return " ".join(str(node.value.value).split()) if is_text else ""  # type: ignore[union-attr]  # asked just now


def env_example() -> str:
    """.env.example."""
    lines = [
        "# Every setting with its default; written by `make generate` from contracts/defaults.py.",
        "",
    ]
    for row in DEFAULTS.values():
        lines += [f"# {row.meaning} ({row.unit})", f"# {row.env}={word_of(row.value)}", ""]
    for name, meaning in defaults.LOCATIONS.items():
        lines += [f"# {meaning}", f"# {name}=", ""]
    return "\n".join(lines).rstrip() + "\n"


# ---------------------------------------------------------------- schemas


def config_schema(renamed: Mapping[str, str] = RENAMED) -> str:
    """contracts/schemas/v1/config.json: what orch.toml may hold."""
    names = {**{key: key for key in DEFAULTS}, **renamed}
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:orch:schema:v1:config",
        "title": "Settings of orch.toml",
        "type": "object",
        "additionalProperties": False,
        "properties": {name: _in_file(DEFAULTS[key], name) for name, key in names.items()},
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _in_file(row: Default, name: str) -> dict[str, Any]:
    """As `_schema_of`; a list may also be one string of words, as in the environment."""
    found = _schema_of(row, name)
    return {**found, "type": ["array", "string"]} if found["type"] == "array" else found


def _schema_of(row: Default, name: str) -> dict[str, Any]:
    """Of a setting under its name, or under an old one."""
    found: dict[str, Any] = {"description": f"{row.meaning} ({row.unit})", **_type_of(row)}
    if name != row.key:
        found |= {"description": f"Is now called {row.key}.", "deprecated": True}
    if row.value is not None:
        found["default"] = list(row.value) if isinstance(row.value, tuple) else row.value
    return found


def _type_of(row: Default) -> dict[str, Any]:
    match row.value:
        case bool():
            return {"type": "boolean"}
        case int():
            return {"type": "integer", **_span(row, "minimum", "maximum")}
        case tuple():
            span = _span(row, "minItems", "maxItems")
            return {"type": "array", "items": {"type": "string"}, "uniqueItems": True, **span}
        case _ if row.choices:
            return {"type": "string", "enum": list(row.choices)}
        case _ if row.unit == "name":
            return {"type": "string", **ids.ID_SCHEMA}
        case _:
            return {"type": "string", "minLength": 1}


def _span(row: Default, low: str, high: str) -> dict[str, int]:
    pairs = ((low, row.minimum), (high, row.maximum))
    return {name: int(bound) for name, bound in pairs if bound is not None}


def values_schema(path: Path, renamed: Mapping[str, str] = RENAMED) -> str:
    """charts/orch/values.schema.json with what it says of `settings`, and of values that are settings."""
    document = json.loads(path.read_text(encoding="utf-8"))
    properties = document["properties"]
    names = {**{key: key for key in DEFAULTS}, **renamed}
    properties["settings"] = {
        "type": "object",
        "description": "Settings of docs/configuration.md, by key.",
        "additionalProperties": False,
        "properties": {
            name: _schema_of(DEFAULTS[key], name)
            for name, key in names.items()
            if key not in BY_CHART
        },
    }
    properties["shard"].update(_span(DEFAULTS["shard"], "minimum", "maximum"))
    slots = properties["runners"]["items"]["properties"]["slots"]
    slots.update(_span(DEFAULTS["slots"], "minimum", "maximum"))
    properties["gateway"]["properties"]["auth"]["enum"] = list(DEFAULTS["auth"].choices or ())
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
