"""metrics.lint.json, the code and a process's own exposition agree, both ways."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest
from prometheus_client import generate_latest

from contracts.metrics import CATALOGUE
from ops.generate import ROOT
from orch.telemetry.metrics import Metrics

NAME = re.compile(r'"(orch_[a-z_]+)"')


def names_in_code() -> set[str]:
    found: set[str] = set()
    for folder in ("actors", "orch"):
        for path in (ROOT / folder).rglob("*.py"):
            found |= set(NAME.findall(path.read_text()))
    return found


@pytest.mark.req("MET-1")
def test_every_metric_of_the_contract_is_emitted_where_it_says() -> None:
    for row in CATALOGUE.values():
        assert (ROOT / row.emitted_by).is_file(), f"{row.name}: no file {row.emitted_by}"
    missing = set(CATALOGUE) - names_in_code()
    assert not missing, f"in contracts/metrics.py, but nobody emits them: {sorted(missing)}"


@pytest.mark.req("MET-1")
def test_no_metric_is_named_that_the_contract_does_not_have() -> None:
    unknown = names_in_code() - set(CATALOGUE)
    assert not unknown, f"add a row to contracts/metrics.py: {sorted(unknown)}"


@pytest.mark.req("MET-1")
def test_a_metric_that_is_no_row_cannot_be_made() -> None:
    with pytest.raises(KeyError):
        Metrics().counter("orch_invented_total")


@pytest.mark.req("MET-1", "MET-2")
def test_the_exposition_has_the_types_and_labels_of_the_contract() -> None:
    metrics = Metrics()
    for row in CATALOGUE.values():
        made = getattr(metrics, row.type)(row.name)
        labels = {one.name: (one.values or ("x",))[0] for one in row.labels}
        child = made.labels(**labels) if labels else made
        child.observe(1) if row.type == "histogram" else child.inc()
    text = generate_latest(metrics.registry).decode()
    for row in CATALOGUE.values():
        assert f"# TYPE {row.name} {row.type}" in text
        assert all(f'{one.name}="' in text for one in row.labels)


@pytest.mark.req("MET-1")
def test_the_lint_file_holds_every_key_of_the_interface() -> None:
    document = orjson.loads(Path(ROOT / "metrics.lint.json").read_bytes())
    keys = {
        "name", "type", "unit", "help", "labels", "buckets", "emitted_by", "used_by", "why_unused",
        "series_max", "since",
    }  # fmt: skip
    assert document["schema_version"] == 1
    assert all(set(row) == keys for row in document["metrics"])
    assert (
        sum(row["series_max"] for row in document["metrics"])
        <= document["limits"]["series_total_max"]
    )
