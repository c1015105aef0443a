"""Which queries stand in dashboards and rules, and where?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from orch.lint.promql import BadQuery, names_in

DASHBOARDS: Final = "ops/grafana/dashboards"
RULES: Final = "ops/prometheus/rules.yaml"
HISTOGRAM_PARTS: Final = ("_bucket", "_sum", "_count")
"""How the series of a histogram end."""


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel or a rule."""

    where: str
    """`path#panel or alert`."""
    text: str
    records: str | None = None
    """The name that a recording rule gives to its answer."""


class Unreadable(ValueError):
    """A file of dashboards or rules is not what it should be."""


def queries_below(root: Path) -> list[Query]:
    """All of them, by file.

    Raises:
        Unreadable: a file is no JSON, no YAML, or of another shape.
    """
    found: list[Query] = []
    for path in sorted((root / DASHBOARDS).glob("*.json")):
        found += _of_dashboard(path.relative_to(root).as_posix(), _parsed(path, json.loads))
    rules = root / RULES
    if rules.is_file():
        found += _of_rules(RULES, _parsed(rules, _yaml))
    return found


def users_below(root: Path) -> dict[str, list[str]]:
    """Metric -> who asks for it; what cannot be read names nothing here, and is the linter's to tell.

    Raises:
        Unreadable: see `queries_below`.
    """
    users: dict[str, set[str]] = {}
    for query in queries_below(root):
        try:
            named = names_in(query.text)
        except BadQuery:
            continue
        for selector in named.selectors:
            for name in _wholes(selector.metric):
                users.setdefault(name, set()).add(query.where)
    return {name: sorted(places) for name, places in users.items()}


def _wholes(name: str) -> Iterator[str]:
    """The name as it is, and the histogram that it is a part of."""
    yield name
    for part in HISTOGRAM_PARTS:
        if name.endswith(part):
            yield name.removesuffix(part)


def _parsed(path: Path, parse: Any) -> Any:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Unreadable(f"{path}: {error}") from error


def _yaml(text: str) -> Any:
    from ruamel.yaml import YAML  # noqa: PLC0415 - half of what the command line takes to start
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415 - the same

    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise ValueError(str(error)) from error


def _of_dashboard(path: str, document: Any) -> Iterator[Query]:
    if not isinstance(document, dict):
        raise Unreadable(f"{path}: a dashboard is a JSON object")
    for panel in _panels(document.get("panels", [])):
        where = f"{path}#{panel.get('title') or panel.get('id')}"
        for target in panel.get("targets", []):
            if isinstance(target.get("expr"), str):
                yield Query(where, target["expr"])
    for variable in _mapping(document.get("templating")).get("list", []):
        text = _variable(variable.get("query"))
        if text is not None:
            yield Query(f"{path}#${variable.get('name')}", text)
    for one in _mapping(document.get("annotations")).get("list", []):
        if isinstance(one.get("expr"), str):
            yield Query(f"{path}#{one.get('name')}", one["expr"])


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _panels(panels: Any) -> Iterator[dict[str, Any]]:
    for panel in panels:
        yield panel
        yield from _panels(panel.get("panels", []))  # a collapsed row


def _variable(query: Any) -> str | None:
    """The query behind `label_values(metric, label)` and `query_result(query)`; other variables have none."""
    text = query.get("query") if isinstance(query, dict) else query
    if not isinstance(text, str):
        return None
    name, _, inside = text.strip().partition("(")
    inside = inside.removesuffix(")")
    if name == "query_result":
        return inside
    selector, _, label = inside.rpartition(",")
    return (
        f"count by ({label.strip()}) ({selector})" if name == "label_values" and selector else None
    )


def _of_rules(path: str, document: Any) -> Iterator[Query]:
    try:
        for group in document["groups"]:
            for rule in group["rules"]:
                name = rule.get("alert") or rule["record"]
                yield Query(f"{path}#{name}", str(rule["expr"]), rule.get("record"))
    except (KeyError, TypeError, AttributeError) as error:
        raise Unreadable(
            f"{path}: groups of rules with alert or record, and expr: {error!r}"
        ) from error
