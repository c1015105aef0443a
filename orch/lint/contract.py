"""metrics.lint.json by itself: its shape, its names, its budgets, and that it is what the contract says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from orch.lint.document import PATH, document_of
from orch.lint.fault import Fault
from orch.lint.queries import HISTOGRAM_PARTS

_GENERATE: Final = "Run `make generate`, and commit what it writes."
_CONTRACT: Final = "contracts/metrics.py"
_KEYS: Final = frozenset(
    "name type unit help labels buckets emitted_by used_by why_unused series_max since".split()
)
_NAME: Final = re.compile(r"(orch|process)(_[a-z0-9]+)+")
_TYPES: Final = frozenset({"counter", "gauge", "histogram"})
_SHORT_UNITS: Final = frozenset(
    {"ms", "s", "us", "ns", "sec", "millis", "milliseconds", "kb", "mb", "kib", "mib"}
)
IDS: Final = frozenset(
    "id job job_id jobid instance tenant tenant_id runner runner_id worker claim session key user request_id "
    "trace_id span_id path url host error message text name".split()
)  # fmt: skip
"""Labels that grow without end, or that Prometheus sets itself."""


def faults_of(document: Any, users: Mapping[str, Sequence[str]]) -> Iterator[Fault]:
    """`users`: who asks for each metric, as dashboards and rules say."""
    shape = list(_shape(document))
    if shape:
        yield from shape
        return
    wanted = document_of(users)
    yield from _against_contract(document, wanted)
    for row in wanted["metrics"]:
        yield from _use(row)
    seen: set[str] = set()
    for row in document["metrics"]:
        if row["name"] in seen:
            yield Fault("shape", row["name"], "stands there twice", f"Keep one row in {_CONTRACT}.")
        seen.add(row["name"])
        yield from _naming(row)
        yield from _labels(row)
        yield from _budget(row)
    total, limit = (
        sum(r["series_max"] for r in document["metrics"]),
        document["limits"]["series_total_max"],
    )
    if total > limit:
        yield Fault(
            "budget", PATH, f"all rows together may have {total} series, the limit is {limit}",
            f"Narrow a label in {_CONTRACT}, or raise SERIES_TOTAL_MAX there and say why.",
        )  # fmt: skip


def _shape(document: Any) -> Iterator[Fault]:
    if not isinstance(document, dict) or set(document) != {"schema_version", "limits", "metrics"}:
        yield Fault("shape", PATH, "has other keys than schema_version, limits, metrics", _GENERATE)
        return
    if document["schema_version"] != 1 or set(document["limits"]) != {"series_total_max"}:
        yield Fault("shape", PATH, "is of another version, or has other limits", _GENERATE)
    for n, row in enumerate(document["metrics"]):
        name = str(row.get("name", n)) if isinstance(row, dict) else str(n)
        if not isinstance(row, dict) or set(row) != _KEYS:
            odd = sorted(_KEYS ^ set(row)) if isinstance(row, dict) else ["no object"]
            yield Fault("shape", name, f"wrong keys: {', '.join(odd)}", _GENERATE)
        elif row["type"] not in _TYPES or (row["type"] == "histogram") != bool(row["buckets"]):
            message = "is no counter, gauge or histogram, or its buckets are not those of one"
            yield Fault("shape", name, message, f"Set type and buckets in {_CONTRACT}.")
        elif not all({"name"} < set(one) <= {"name", "values", "max"} for one in row["labels"]):
            message = "a label has neither values nor a max, or both"
            yield Fault("shape", name, message, f"Give it one of them in {_CONTRACT}.")


def _against_contract(document: Any, contract: Any) -> Iterator[Fault]:
    wanted = {row["name"]: row for row in contract["metrics"]}
    found = {row["name"]: row for row in document["metrics"]}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            what = [
                key
                for key in sorted(_KEYS)
                if (wanted.get(name) or {}).get(key) != (found.get(name) or {}).get(key)
            ]
            message = f"is not as {_CONTRACT} and the dashboards have it: {', '.join(what)}"
            yield Fault("stale", name, message, _GENERATE)
    if document["limits"] != contract["limits"]:
        yield Fault("stale", PATH, f"limits are not those of {_CONTRACT}", _GENERATE)


def _naming(row: Any) -> Iterator[Fault]:
    name, words = row["name"], row["name"].split("_")
    rename = f"Rename it in {_CONTRACT} and where it is used."
    if not _NAME.fullmatch(name):
        yield Fault("name", name, "is not orch_ and lower-case words", rename)
    if (row["type"] == "counter") != name.endswith("_total"):
        yield Fault("name", name, "a counter, and only a counter, ends in _total", rename)
    if name.endswith((*HISTOGRAM_PARTS, "_created")):
        yield Fault("name", name, "ends like a part of a histogram", rename)
    short = _SHORT_UNITS & set(words)
    if short:
        fix = f"Count in seconds or bytes, and spell them out. {rename}"
        yield Fault(
            "name", name, f"names a unit that is no base unit: {', '.join(sorted(short))}", fix
        )
    if row["unit"] in {"seconds", "bytes"} and row["unit"] not in words:
        yield Fault("name", name, f"is in {row['unit']} and does not say so", rename)
    if row["type"] == "histogram" and row["unit"] not in {"seconds", "bytes"}:
        yield Fault(
            "name", name, "a histogram counts in seconds or bytes", f"Set its unit in {_CONTRACT}."
        )
    if not row["help"].strip().endswith((".", "…")):
        yield Fault("name", name, "its help is no sentence", f"Say in {_CONTRACT} what it counts.")


def _labels(row: Any) -> Iterator[Fault]:
    for one in row["labels"]:
        where = f"{row['name']}{{{one['name']}}}"
        if one["name"] in IDS:
            fix = f"Take the label out in {_CONTRACT}; an exemplar or a log line may carry it."
            yield Fault("label", where, "grows without end, or is Prometheus's own", fix)
        if (
            len(set(one.get("values") or ())) != len(one.get("values") or ())
            or one.get("max", 1) < 1
        ):
            yield Fault(
                "label", where, "has a value twice, or room for none", f"Mend it in {_CONTRACT}."
            )


def _budget(row: Any) -> Iterator[Fault]:
    series = 1
    for one in row["labels"]:
        series *= len(one["values"]) if "values" in one else one["max"]
    series *= len(row["buckets"]) + 3 if row["buckets"] else 1
    if not 1 <= row["series_max"] <= series:
        message = f"series_max {row['series_max']}, but its labels allow {series}"
        yield Fault("budget", row["name"], message, _GENERATE)


def _use(row: Any) -> Iterator[Fault]:
    if not row["used_by"] and not row["why_unused"]:
        yield Fault(
            "unused", row["name"], "no dashboard and no rule asks for it, and nobody says why",
            f"Show it in a panel, alert on it, or say why_unused in {_CONTRACT}.",
        )  # fmt: skip
