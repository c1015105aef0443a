"""Is what processes really export what the contract says: types, help, labels, buckets, how many series?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

from orch.lint.fault import Fault

_ROW: Final = "contracts/metrics.py"


def faults_of(document: Any, scrapes: Mapping[str, str], *, is_whole: bool) -> Iterator[Fault]:
    """`scrapes`: the text of each process, by its name; `is_whole`: one of every role is among them, so that
    every row must be there."""
    rows = {row["name"]: row for row in document["metrics"]}
    values: dict[tuple[str, str], set[str]] = {}
    seen: set[str] = set()
    total = 0
    for part, text in scrapes.items():
        try:
            families = list(_families(text))
        except ValueError as error:
            yield Fault(
                "scrape", part, f"cannot be read: {error}", "Look at what it answers to /metrics."
            )
            continue
        total = max(total, sum(len(one.samples) for one in families))
        for family in families:
            name = f"{family.name}_total" if family.type == "counter" else family.name
            row = rows.get(name)
            if row is None:
                fix = f"Give it a row in {_ROW}, or do not export it."
                yield Fault(
                    "scrape", f"{part} {name}", "is exported and stands in no contract", fix
                )
                continue
            seen.add(name)
            yield from _of_family(row, family, part)
            for sample in family.samples:
                for label, value in sample.labels.items():
                    values.setdefault((name, label), set()).add(value)
    yield from _bounds(rows, values)
    limit = document["limits"]["series_total_max"]
    if total > limit:
        message = f"one process exports {total} series, the limit is {limit}"
        yield Fault("scrape", "all", message, "Find the label that grows; it is bounded nowhere.")
    for name in sorted(rows.keys() - seen) if is_whole else ():
        fix = f"Make it in {rows[name]['emitted_by']} when the process starts, or take the row out."
        yield Fault("scrape", name, "is exported by no process", fix)


def _families(text: str) -> Iterator[Any]:
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415 - only here

    yield from text_string_to_metric_families(text)


def _of_family(row: Any, family: Any, part: str) -> Iterator[Fault]:
    where = f"{part} {row['name']}"
    if family.type != row["type"]:
        fix = f"Make it a {row['type']}, or change the row in {_ROW}."
        yield Fault("scrape", where, f"is a {family.type}", fix)
        return
    if family.documentation != row["help"]:
        yield Fault("scrape", where, "has another help text", f"Take it from {_ROW}.")
    labels = {one["name"] for one in row["labels"]}
    odd = {frozenset(sample.labels) - {"le"} for sample in family.samples} - {frozenset(labels)}
    if odd:
        shown = ", ".join(sorted(next(iter(odd)))) or "no labels"
        fix = f"It has {', '.join(sorted(labels)) or 'none'} in {_ROW}."
        yield Fault("scrape", where, f"has the labels {shown}", fix)
    if len(family.samples) > row["series_max"]:
        message = f"has {len(family.samples)} series, its budget is {row['series_max']}"
        yield Fault("scrape", where, message, "Find the label that grows; it is bounded nowhere.")
    if row["type"] == "histogram":
        yield from _of_histogram(row, family, where)


def _of_histogram(row: Any, family: Any, where: str) -> Iterator[Fault]:
    counts: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    totals: dict[tuple[tuple[str, str], ...], float] = {}
    for sample in family.samples:
        place = tuple(sorted((k, v) for k, v in sample.labels.items() if k != "le"))
        if sample.name.endswith("_bucket"):
            counts.setdefault(place, []).append((float(sample.labels["le"]), sample.value))
        elif sample.name.endswith("_count"):
            totals[place] = sample.value
    for place, buckets in counts.items():
        if [bound for bound, _ in buckets[:-1]] != row["buckets"]:
            yield Fault("scrape", where, "has other buckets", f"Take them from {_ROW}.")
            return
        grows = all(low <= high for (_, low), (_, high) in pairwise(buckets))
        if not grows or buckets[-1][1] != totals.get(place):
            fix = "A bucket counts all values up to its bound, and +Inf counts all."
            yield Fault("scrape", where, "its buckets are not cumulative", fix)
            return


def _bounds(rows: Mapping[str, Any], values: Mapping[tuple[str, str], set[str]]) -> Iterator[Fault]:
    for name, row in rows.items():
        for one in row["labels"]:
            met = values.get((name, one["name"]), set())
            where = f"{name}{{{one['name']}}}"
            strange = sorted(met - set(one["values"])) if "values" in one else []
            if strange:
                fix = f"Add it to the label's values in {_ROW}, or do not set it."
                yield Fault("scrape", where, f"has the value {strange[0]!r}", fix)
            if "max" in one and len(met) > one["max"]:
                message = f"has {len(met)} values, at most {one['max']} are allowed"
                yield Fault(
                    "scrape", where, message, "Bound what comes in; one too many is `other`."
                )
