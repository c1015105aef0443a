"""The small arithmetic of a campaign: quantiles, charges, plans."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from actors.reaper.decide import Observation, observe
from orch.settings import settings_of
from tests.chaos.nemesis import PER_MINUTE, Happened, Nemesis
from tests.chaos.plan import DEFAULT_LEASE_MS, KILLS_MIN, SHARES, Measurement, Plan, plan_of
from tests.chaos.recovery import Tail, begun_again, bound_ms, fence_of, quantile
from tests.chaos.report import Tally, document, write
from tests.chaos.shape import Outcome, Shape
from tests.chaos.verdict import Trace, Violation


async def _nothing(_rng: object) -> bool:
    return False


def an_outcome(tmp_path: Path, *violations: Violation) -> Outcome:
    nemesis = Nemesis(
        "1", {"kill_runner": _nothing, "delay": _nothing}, tmp_path / "history", seconds=1
    )
    nemesis.happened = [Happened("kill_runner", 10_000, 10_100), Happened("delay", 99_000, 99_100)]
    nemesis.counts.update(["kill_runner", "delay"])
    return Outcome(Shape("x"), "1", tmp_path, list(violations), nemesis)


def test_a_quantile_is_a_value_that_was_measured() -> None:
    values = [float(n) for n in range(1, 101)]
    assert (quantile(values, 0.5), quantile(values, 0.99), quantile([7.0], 0.99)) == (50, 99, 7)


def test_a_violation_is_charged_to_the_faults_around_it(tmp_path: Path) -> None:
    rows = Tally([an_outcome(tmp_path, Violation("lost", "j is gone", "j", 9_000))]).rows
    assert (rows["kill_runner"]["lost"], rows["delay"]["lost"]) == (1, 0)
    assert (rows["kill_runner"]["count"], rows["delay"]["count"]) == (1, 1)


def test_a_violation_without_a_time_is_charged_to_every_fault(tmp_path: Path) -> None:
    rows = Tally([an_outcome(tmp_path, Violation("orphan", "pid 1"))]).rows
    assert (rows["kill_runner"]["orphans"], rows["delay"]["orphans"]) == (1, 1)


def test_the_report_has_what_its_readers_are_promised(tmp_path: Path) -> None:
    found = document([an_outcome(tmp_path)], seed="1", on=["cluster"], minutes=5, recovery={})
    assert {"seed", "on", "minutes", "faults", "recovery", "jobs"} <= found.keys()
    wanted = {"count", "lost", "double", "undetected", "orphans"}
    assert all(wanted <= row.keys() for row in found["faults"].values())
    assert write(found, tmp_path / "build").read_bytes()


def test_a_kind_of_fault_that_never_took_effect_in_a_campaign_is_named(tmp_path: Path) -> None:
    outcome, other = an_outcome(tmp_path), an_outcome(tmp_path)
    assert outcome.nemesis is not None
    del outcome.nemesis.counts["delay"]
    assert Tally([outcome]).never == ["delay"]
    assert other.nemesis is not None
    del other.nemesis.counts["delay"]
    assert Tally([outcome, other]).never == ["delay"]
    other.nemesis.counts["delay"] = 1
    assert Tally([outcome, other]).never == []


def test_the_runs_of_a_campaign_fill_its_minutes() -> None:
    for minutes in (0.5, 5.0, 15.0):
        plan = plan_of(
            minutes, on=tuple(SHARES), engine="valkey", lease_ms=1_000, only=(), recovery=False
        )
        seconds = [shape.seconds for shape in plan.storms]
        seconds += [one.seconds for one in plan.recoveries]
        assert abs(sum(seconds) - minutes * 60) < 1


def test_a_storm_that_has_no_time_to_replace_a_primary_leaves_its_time_to_the_others() -> None:
    whole = plan_of(15, on=tuple(SHARES), engine="valkey", lease_ms=1_000, only=(), recovery=False)
    assert whole.storms[-1].servers == "cluster"
    short = plan_of(1, on=tuple(SHARES), engine="valkey", lease_ms=1_000, only=(), recovery=False)
    assert {shape.servers for shape in short.storms} == {"one"}


def test_a_quarter_of_an_hour_holds_what_is_promised() -> None:
    storm = sum(
        shape.seconds
        for shape in plan_of(
            15, on=tuple(SHARES), engine="valkey", lease_ms=1_000, only=(), recovery=False
        ).storms
    )
    freezes = sum(rate for name, rate in PER_MINUTE.items() if name.startswith("freeze"))
    assert PER_MINUTE["kill_runner"] * storm / 60 > 1_000
    assert freezes * storm / 60 > 500
    assert PER_MINUTE["server_kill"] * storm / 60 > 300


def test_a_tail_reads_every_line_once_and_half_a_line_not_yet(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "effects")
    assert tail.read() == []
    with tail.path.open("a") as file:
        file.write("j 1 5 begin 9 1.00 7\nj 2 ")
        file.flush()
        assert [trace.fence for trace in tail.read()] == [5]
        file.write("6 begin 9 1.00 7\n")
        file.flush()
        assert [(trace.attempt, trace.fence) for trace in tail.read()] == [(2, 6)]


def recovery_plan(minutes: float) -> Plan:
    """What `--recovery` runs in so many minutes."""
    return plan_of(
        minutes, on=tuple(SHARES), engine="valkey", lease_ms=1_000, only=(), recovery=True
    )


@pytest.mark.req("REA-4")
def test_the_default_lease_is_measured_in_all_three_ways_with_many_kills_on_top_of_the_storms() -> (
    None
):
    long = [one for one in recovery_plan(5).recoveries if one.lease_ms == DEFAULT_LEASE_MS]
    assert settings_of({}).lease_ms == DEFAULT_LEASE_MS
    assert {one.found_by for one in long} == {"supervisor", "reaper", "new-reaper"}
    assert all(one.kills_min == KILLS_MIN for one in long)
    usual = plan_of(5, on=tuple(SHARES), engine="valkey", lease_ms=1_000, only=(), recovery=False)
    assert recovery_plan(5).storms == usual.storms


@pytest.mark.req("REA-4")
def test_without_minutes_recovery_alone_is_measured() -> None:
    plan = recovery_plan(0)
    assert plan.storms == ()
    assert plan.recoveries == recovery_plan(5).recoveries


@pytest.mark.req("REA-4")
@pytest.mark.parametrize("lease_ms", [1_000, DEFAULT_LEASE_MS])
def test_each_way_of_being_found_has_the_bound_that_is_promised_of_it(lease_ms: int) -> None:
    one = Measurement(lease_ms, 1.0, "supervisor")
    assert bound_ms(one) == 2_000
    assert bound_ms(replace(one, found_by="reaper")) == lease_ms + 2_000
    assert bound_ms(replace(one, found_by="new-reaper")) == 2 * lease_ms + 2_000


@pytest.mark.req("REA-4")
def test_a_measurement_in_which_most_instances_would_be_silent_together_is_refused() -> None:
    most = Measurement(1_000, 1.0, "reaper", runners=12, at_once=10)
    assert not _grace_ms(silent=most.at_once, beating=11)
    for wrong in ({"at_once": 11}, {"found_by": "new-reaper"}):
        with pytest.raises(ValueError, match="a mass silence"):
            replace(most, **wrong)
    assert _grace_ms(silent=11, beating=10)


def _grace_ms(*, silent: int, beating: int) -> int:
    """How long a reaper judges nobody after so many fell silent together."""
    observation = Observation()
    for look in range(20):
        names = [*(f"s{n}" for n in range(silent)), *(f"b{n}" for n in range(beating))]
        beats = {name: look if name.startswith("b") else 1 for name in names}
        observation = observe(observation, beats, dict.fromkeys(names, 5_000), now_ms=look * 1_000)
        if observation.grace_ms:
            return observation.grace_ms
    return 0


def test_an_agent_is_told_the_fence_of_its_claim() -> None:
    assert fence_of("3.7.x.y") == 3 * 2**32 + 7


def test_a_job_whose_next_runner_was_killed_too_is_no_sample_of_one_recovery() -> None:
    def trace(job_id: str, attempt: int) -> Trace:
        return Trace(job_id, attempt, fence=attempt * 10, what="begin")

    before = {job_id: trace(job_id, 1) for job_id in ("waits", "next", "struck")}
    began = {**before, "next": trace("next", 2), "struck": trace("struck", 3)}
    assert begun_again(before, began) == (["next"], ["struck"])
