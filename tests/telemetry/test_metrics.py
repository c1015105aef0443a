"""Histograms that take a batch, labels that are bounded, exemplars for who asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from contracts.limits import PRIORITY_CLASSES_MAX
from contracts.metrics import CATALOGUE, WORK_BUCKETS_S
from orch.telemetry import exemplars
from orch.telemetry.distribution import Distribution
from orch.telemetry.exemplars import exemplar
from orch.telemetry.metrics import Metrics


@pytest.fixture(autouse=True)
def nobody_traces() -> Iterator[None]:
    yield
    exemplars.use(None)


def counts(metrics: Metrics, name: str, **labels: str) -> list[float]:
    """The cumulative buckets of a histogram."""
    family = next(one for one in metrics.registry.collect() if one.name == name)
    return [
        sample.value
        for sample in family.samples
        if sample.name.endswith("_bucket") and labels.items() <= sample.labels.items()
    ]


@pytest.mark.req("MET-1")
def test_a_value_counts_in_its_bucket_and_all_above_and_a_bound_belongs_to_its_bucket() -> None:
    metrics = Metrics()
    seconds = metrics.histogram("orch_runner_attempt_seconds").labels(pool="a")
    seconds.observe(0.01)
    seconds.observe_all([0.011, 7_000.0, 99_999.0])
    found = counts(metrics, "orch_runner_attempt_seconds")
    assert found[0] == 1
    assert found[1] == 2
    assert found[-3:] == [3, 3, 4]
    assert len(found) == len(WORK_BUCKETS_S) + 1
    sample = metrics.registry.get_sample_value
    assert sample("orch_runner_attempt_seconds_count", {"pool": "a"}) == 4
    assert sample("orch_runner_attempt_seconds_sum", {"pool": "a"}) == pytest.approx(106_999.021)


@pytest.mark.req("MET-1")
def test_a_batch_is_the_same_as_its_values_one_by_one() -> None:
    one, many = Distribution(WORK_BUCKETS_S), Distribution(WORK_BUCKETS_S)
    values = [0.0, 0.01, 0.5, 3.0, 59.9, 60.0, 22_000.0]
    for value in values:
        one.observe(value)
    many.observe_all(values)
    assert (one._counts, one._sum) == (many._counts, many._sum)
    many.observe_all([])
    assert one._counts == many._counts


@pytest.mark.req("MET-1")
def test_listed_label_values_are_there_before_anything_happened() -> None:
    metrics = Metrics()
    metrics.counter("orch_fallback_outcomes_total")
    metrics.histogram("orch_cluster_state_seconds")
    text = generate_latest(metrics.registry).decode()
    assert 'orch_fallback_outcomes_total{outcome="lost"} 0.0' in text
    assert 'orch_cluster_state_seconds_count{state="blocked"} 0.0' in text
    assert "_created" not in text


@pytest.mark.req("MET-2")
def test_a_name_from_outside_cannot_make_series_without_end() -> None:
    metrics = Metrics()
    starts = metrics.histogram("orch_job_submit_to_start_seconds")
    for n in range(100):
        starts.labels(pool="a", **{"class": f"class{n}"}).observe(1)
    family = next(iter(metrics.registry.collect()))
    seen = {sample.labels["class"] for sample in family.samples}
    assert len(seen) == PRIORITY_CLASSES_MAX + 1
    assert "other" in seen
    total = sum(s.value for s in family.samples if s.name.endswith("_count"))
    assert total == 100, "none is lost"
    starts.labels(pool="a", **{"class": "class0"}).observe(1)
    sample = metrics.registry.get_sample_value
    assert sample("orch_job_submit_to_start_seconds_count", {"pool": "a", "class": "class0"}) == 2


@pytest.mark.req("MET-2")
def test_a_label_value_that_is_not_listed_is_our_defect() -> None:
    metrics = Metrics()
    with pytest.raises(AssertionError):
        metrics.histogram("orch_redis_call_seconds").labels(call="FLUSHALL")
    with pytest.raises(AssertionError):
        metrics.histogram("orch_redis_call_seconds").labels(verb="cycle")


@pytest.mark.req("MET-1", "MET-3")
def test_an_exemplar_is_shown_in_openmetrics_and_to_nobody_else() -> None:
    assert exemplar() is None
    exemplars.use(lambda: {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"})
    metrics = Metrics()
    seconds = metrics.histogram("orch_runner_attempt_seconds").labels(pool="a")
    seconds.observe(0.3, exemplar())
    open_text = generate_openmetrics(metrics.registry).decode()  # type: ignore[no-untyped-call]  # no types there
    line = next(one for one in open_text.splitlines() if 'le="0.5"' in one)
    assert line.endswith('# {trace_id="4bf92f3577b34da6a3ce929d0e0e4736"} 0.3')
    assert "trace_id" not in generate_latest(metrics.registry).decode()
    assert open_text.endswith("# EOF\n")


@pytest.mark.req("MET-1")
def test_an_exemplar_that_is_too_long_is_left_out_and_the_value_counts() -> None:
    seconds = Distribution((1.0,))
    seconds.observe(0.3, {"trace_id": "x" * 128})
    assert (seconds._exemplars, seconds._counts) == ({}, [1, 0])


@pytest.mark.req("MET-1")
def test_what_the_system_knows_of_the_process_is_told_as_far_as_it_has_rows() -> None:
    metrics = Metrics()
    metrics.of_system()
    names = {
        f"{one.name}_total" if one.type == "counter" else one.name
        for one in metrics.registry.collect()
    }
    assert names == {name for name in CATALOGUE if name.startswith("process_")}
