"""What a runner counts: once a call, whatever the number of its jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.runner.decide import INTERRUPTED, PAUSED, closing
from actors.runner.desk import RunnerDesk
from actors.runner.figures import Figures
from contracts.events import EventType
from contracts.outcomes import Outcome, ReasonCode
from orch.adapters.protocol import Ending
from orch.core.handover import ClaimEnding, Offer
from orch.telemetry.metrics import Metrics
from tests.actors.runner_stage import a_life, inline

DONE = Ending(Outcome.DONE, ReasonCode.COMPLETED)
LOGIC = Ending(Outcome.LOGIC, ReasonCode.EXIT_CODE, exit_code=3)


def offer(n: int, *, attempt: int = 1, waited_ms: int = 0, class_name: str = "batch") -> Offer:
    return Offer(f"job{n}", f"1.{n}.x", n, attempt, "{}", "", "", "", 0, waited_ms, class_name)


def ended(ending: Ending, n: int = 1) -> ClaimEnding:
    return closing(f"job{n}", f"1.{n}.x", ending, result_json="null", question_ttl_ms=1)


class House:
    def __init__(self) -> None:
        self.metrics = Metrics()
        self.figures = Figures(self.metrics, pool="gpu", slots=4, classes=("interactive", "batch"))

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.mark.req("MET-1")
def test_every_series_that_a_runner_will_have_is_there_before_its_first_event() -> None:
    # Prometheus sees no increase in a series that begins at 1.
    house = House()
    there = {
        (sample.name, *sample.labels.values()): sample.value
        for family in house.metrics.registry.collect()
        for sample in family.samples
    }
    for outcome in Outcome:
        assert there["orch_runner_outcomes_total", "gpu", outcome.value] == 0
    for one in ("interactive", "batch"):
        assert there["orch_job_submit_to_start_seconds_count", "gpu", one] == 0
    before = set(there)
    house.figures.began([offer(1, class_name="batch"), offer(2, class_name="interactive")])
    house.figures.ended([(ended(DONE), "ok"), (ended(LOGIC, 2), "ok"), (ended(DONE, 3), "over")])
    house.figures.used({"tokens_in": 3, "tokens_out": 5, "cost_micros": 7}, None)
    house.figures.lease_lost()
    after = {
        (sample.name, *sample.labels.values())
        for family in house.metrics.registry.collect()
        for sample in family.samples
    }
    assert after == before


@pytest.mark.req("MET-1")
def test_first_attempts_tell_how_long_their_jobs_waited_by_class_and_later_ones_do_not() -> None:
    house = House()
    house.figures.began(
        [
            offer(1, waited_ms=30),
            offer(2, waited_ms=2_000),
            offer(3, waited_ms=9, class_name="interactive"),
            offer(4, waited_ms=9_999, attempt=2),
        ]
    )
    house.figures.began([])
    assert house.value("orch_runner_claims_total", pool="gpu") == 4
    name = "orch_job_submit_to_start_seconds"
    batch, interactive = ({"pool": "gpu", "class": one} for one in ("batch", "interactive"))
    assert house.value(f"{name}_count", **batch) == 2
    assert house.value(f"{name}_sum", **batch) == pytest.approx(2.03)
    assert house.value(f"{name}_count", **interactive) == 1


@pytest.mark.req("MET-1")
def test_endings_are_counted_by_verb_and_outcome_and_late_results_are_orphans() -> None:
    house = House()
    house.figures.took(10)
    house.figures.took(60_000)
    house.figures.ended(
        [
            (ended(DONE), "ok"),
            (ended(DONE, 2), "ok"),
            (ended(DONE, 3), "over"),
            (ended(DONE, 4), "same"),
            (ended(LOGIC, 5), "ok"),
            (ended(INTERRUPTED, 6), "over"),
            (ended(PAUSED, 7), "ok"),
        ]
    )
    outcomes = {
        one.value: house.value("orch_runner_outcomes_total", pool="gpu", outcome=one.value)
        for one in Outcome
    }
    assert {one: count for one, count in outcomes.items() if count} == {
        "done": 3,
        "logic": 1,
        "human": 1,
    }, "`same` was accepted by a call whose answer never came: it is counted now"
    assert house.value("orch_runner_endings_total", verb="settle", accepted="over") == 1
    assert house.value("orch_runner_endings_total", verb="settle", accepted="same") == 1
    assert house.value("orch_runner_endings_total", verb="handback", accepted="over") == 1
    assert house.value("orch_runner_orphaned_results_total") == 1
    assert house.value("orch_runner_attempt_seconds_count", pool="gpu") == 2
    assert house.value("orch_runner_attempt_seconds_sum", pool="gpu") == pytest.approx(60.01)
    house.figures.ended([])
    assert house.value("orch_runner_attempt_seconds_count", pool="gpu") == 2, "each once"


@pytest.mark.req("MET-1")
def test_an_attempt_that_is_traced_leaves_an_exemplar() -> None:
    house = House()
    house.figures.took(10, {"trace_id": "abc"})
    house.figures.took(11)
    (family,) = [
        one for one in house.metrics.registry.collect() if one.name.endswith("attempt_seconds")
    ]
    marks = [one.exemplar.labels for one in family.samples if one.exemplar]
    assert marks == [{"trace_id": "abc"}]


@pytest.mark.req("MET-1")
def test_usage_is_told_as_sums_and_counted_as_differences() -> None:
    house = House()
    first = {"tokens_in": 100, "tokens_out": 10, "cost_micros": 1_500_000}
    house.figures.used(first, None)
    house.figures.used({**first, "tokens_out": 30}, first)
    house.figures.used({"tokens_in": 1, "tokens_out": 1, "cost_micros": None}, None)
    assert house.value("orch_agent_tokens_total", pool="gpu", direction="in") == 101
    assert house.value("orch_agent_tokens_total", pool="gpu", direction="out") == 31
    assert house.value("orch_agent_cost_total", pool="gpu") == 1.5


@pytest.mark.req("MET-1")
async def test_a_usage_note_of_an_attempt_is_counted_when_the_store_has_it(tmp_path: Path) -> None:
    metrics = Metrics()
    async with a_life(tmp_path, inline("noop"), metrics=metrics) as stage:
        attempt = stage.life._held.begin(offer(9), 0)
        desk = RunnerDesk(attempt, stage.life._bench)
        for total in (5, 7):
            usage = {"tokens_in": total, "tokens_out": 0, "cost_micros": None}
            await desk.note(EventType.USAGE_REPORTED, usage)
    labels = {"pool": "default", "direction": "in"}
    assert metrics.registry.get_sample_value("orch_agent_tokens_total", labels) == 7


@pytest.mark.req("MET-1", "LSE-2")
async def test_a_runner_that_is_buried_counts_its_lost_lease_once(tmp_path: Path) -> None:
    metrics = Metrics()
    async with a_life(tmp_path, metrics=metrics) as stage:
        stage.life.over()
        stage.life.over()
        await stage.over.wait()
    assert metrics.registry.get_sample_value("orch_runner_leases_lost_total") == 1
