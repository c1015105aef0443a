"""metrics.lint.json, the code, and what the registry exports agree, both ways.

The checks are shown to bite in tests/lint; a stack under load is scraped in tests/e2e."""

from __future__ import annotations

import pytest
from prometheus_client import generate_latest

from contracts.metrics import CATALOGUE
from ops.generate import ROOT
from orch.lint.run import lint_metrics
from orch.telemetry.metrics import Metrics


def exported() -> str:
    """Every row of the contract, as one registry would export it."""
    metrics = Metrics()
    metrics.of_system()
    for row in CATALOGUE.values():
        if row.name.startswith("process_"):
            continue
        made = getattr(metrics, row.type)(row.name)
        labels = {one.name: (one.values or ("x",))[0] for one in row.labels}
        child = made.labels(**labels) if labels else made
        child.observe(1) if row.type == "histogram" else child.inc()
    return generate_latest(metrics.registry).decode()


@pytest.mark.req("MET-1", "MET-2")
def test_the_contract_the_code_and_every_query_agree() -> None:
    report = lint_metrics(ROOT, {})
    assert report.faults == []
    assert report.counted["metrics"] == len(CATALOGUE)


@pytest.mark.req("MET-1", "MET-2")
def test_what_the_registry_makes_of_the_contract_is_what_the_lint_file_says() -> None:
    assert lint_metrics(ROOT, {"all": exported()}, is_whole=True).faults == []


@pytest.mark.req("MET-1")
def test_a_metric_that_is_no_row_cannot_be_made() -> None:
    with pytest.raises(KeyError):
        Metrics().counter("orch_invented_total")
    with pytest.raises(KeyError):
        Metrics().read("orch_invented", dict)


@pytest.mark.req("MET-1")
def test_a_metric_cannot_be_made_as_another_type() -> None:
    with pytest.raises(AssertionError):
        Metrics().gauge("orch_reaper_retired_total")
