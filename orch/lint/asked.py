"""Do dashboards and rules ask only for what the contract has: its metrics, labels and values?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from orch.lint.fault import Fault
from orch.lint.promql import BadQuery, Selector, names_in
from orch.lint.queries import HISTOGRAM_PARTS, Query

OF_PROMETHEUS: Final = frozenset(
    {"up", "ALERTS", "ALERTS_FOR_STATE", "scrape_duration_seconds", "scrape_samples_scraped"}
)
"""Metrics that Prometheus makes itself."""
OF_TARGETS: Final = frozenset(
    {"instance", "job", "namespace", "pod", "container", "node", "service", "endpoint", "cluster"}
)
"""Labels that the one who scrapes may add."""


def faults_of(document: Any, queries: Sequence[Query]) -> Iterator[Fault]:
    """Looks at every query."""
    rows = {row["name"]: row for row in document["metrics"]}
    recorded = {query.records for query in queries if query.records}
    for query in queries:
        try:
            named = names_in(query.text)
        except BadQuery as error:
            fix = f"Write it as PromQL: {query.text}"
            yield Fault("query", query.where, f"is no PromQL: {error}", fix)
            continue
        labels: set[str] = set()
        is_open = False
        for one in named.selectors:
            if one.metric in OF_PROMETHEUS or one.metric in recorded:
                is_open = True
                continue
            faults, own = _of_selector(rows, one, query.where)
            yield from faults
            labels |= own
        for label in sorted(named.grouped - labels - OF_TARGETS) if not is_open else ():
            fix = f"Group by one of {', '.join(sorted(labels)) or 'no label'}."
            yield Fault("query", query.where, f"no metric of it has a label {label}", fix)


def _of_selector(rows: dict[str, Any], one: Selector, where: str) -> tuple[list[Fault], set[str]]:
    row = rows.get(one.metric)
    is_part = False
    if row is None:
        ends = (part for part in HISTOGRAM_PARTS if one.metric.endswith(part))
        whole = next((one.metric.removesuffix(part) for part in ends), "")
        row = rows.get(whole)
        is_part = row is not None and row["type"] == "histogram"
        if not is_part:
            close = ", ".join(_close(one.metric, rows))
            fix = f"Name one that is there{': ' + close if close else ''}; or add its row."
            return [Fault("query", where, f"there is no metric {one.metric}", fix)], set()
    assert row is not None
    faults = []
    if row["type"] == "histogram" and not is_part:
        fix = f"Ask for {one.metric}_bucket, {one.metric}_sum or {one.metric}_count."
        faults.append(
            Fault("query", where, f"{one.metric} is a histogram: no series has that name", fix)
        )
    labels = {label["name"]: label for label in row["labels"]}
    own = set(labels) | ({"le"} if one.metric.endswith("_bucket") else set())
    for name, operator, value in one.matchers:
        if name not in own | OF_TARGETS:
            fix = f"{row['name']} has {', '.join(sorted(own)) or 'no labels'}."
            faults.append(Fault("query", where, f"{one.metric} has no label {name}", fix))
        values = labels.get(name, {}).get("values")
        if values and operator in {"=", "!="} and value not in {*values, "", "x"}:
            fix = f"It is one of {', '.join(values)}."
            faults.append(Fault("query", where, f"{one.metric}{{{name}}} is never {value!r}", fix))
    return faults, own


def _close(name: str, rows: dict[str, Any]) -> list[str]:
    from difflib import get_close_matches  # noqa: PLC0415 - only where something is wrong

    return get_close_matches(name, list(rows), n=2)
