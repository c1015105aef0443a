"""metrics.lint.json: how it is made of the contract, and how it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from contracts import metrics
from contracts.metrics import Label, Metric

PATH: Final = "metrics.lint.json"


def document_of(users: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The document, with who uses each metric."""
    rows = [_row(row, users.get(row.name, ())) for row in metrics.CATALOGUE.values()]
    limits = {"series_total_max": metrics.SERIES_TOTAL_MAX}
    return {"schema_version": metrics.SCHEMA_VERSION, "limits": limits, "metrics": rows}


def _row(row: Metric, users: Sequence[str]) -> dict[str, Any]:
    return {
        "name": row.name,
        "type": row.type,
        "unit": row.unit,
        "help": row.help,
        "labels": [_label(one) for one in row.labels],
        "buckets": None if row.buckets is None else list(row.buckets),
        "emitted_by": row.emitted_by,
        "used_by": list(users),
        "why_unused": None if users else row.why_unused,
        "series_max": row.series_max,
        "since": row.since,
    }


def _label(one: Label) -> dict[str, Any]:
    if one.values is not None:
        return {"name": one.name, "values": list(one.values)}
    return {"name": one.name, "max": one.max}
