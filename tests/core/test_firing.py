"""What is done about a schedule whose time has come: which run is made, and what comes next."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.limits import HOUR_MS, MINUTE_MS, MISSED_AFTER_MS, MISSED_RUNS_MAX
from contracts.schedules import ScheduleSpec, parse_schedule
from orch.core.firing import Firing, firing_of, first_time

NOON = 1_767_268_800_000
"""2026-01-01T12:00Z."""
HOURLY = "0 * * * *"


def schedule(**keys: Any) -> ScheduleSpec:
    """Every hour, with `keys` over it."""
    adapter = {"name": "command", "config": {"argv": ["true"]}}
    template = {"name": "a job", "adapter": adapter}
    return parse_schedule({"schedule_id": "s", "cron": HOURLY, "spec": template, **keys})


def step(late_ms: int, **keys: Any) -> Firing:
    """What is done so long after noon, the time that is set."""
    made = firing_of(schedule(**keys), expected_ms=NOON, now_ms=NOON + late_ms)
    assert made is not None
    return made


@pytest.mark.req("SCH-6")
@pytest.mark.parametrize("policy", ["skip", "last", "all"])
@pytest.mark.parametrize("late_ms", [0, 1, MISSED_AFTER_MS - 1])
def test_in_time_every_policy_makes_the_one_job(policy: str, late_ms: int) -> None:
    made = step(late_ms, missed_runs=policy)
    assert made == Firing(NOON, NOON, NOON + HOUR_MS, makes_job=True, missed=0)


@pytest.mark.req("SCH-6")
def test_before_its_time_nothing_is_done() -> None:
    assert firing_of(schedule(), expected_ms=NOON, now_ms=NOON - 1) is None


@pytest.mark.req("SCH-6")
@pytest.mark.parametrize(
    ("policy", "hours", "fires", "then", "makes_job", "missed"),
    [
        ("last", 5, 5, 6, True, 5),
        ("all", 5, 0, 1, True, 0),
        ("skip", 5, 5, 6, False, 5),
        ("all", MISSED_RUNS_MAX - 1, 0, 1, True, 0),
        ("all", MISSED_RUNS_MAX, 1, 2, True, 1),
        ("all", 9 * MISSED_RUNS_MAX, 8 * MISSED_RUNS_MAX + 1, 8 * MISSED_RUNS_MAX + 2, True, 1),
        ("last", 9 * MISSED_RUNS_MAX, 9 * MISSED_RUNS_MAX, 9 * MISSED_RUNS_MAX + 1, True, MISSED_RUNS_MAX),
    ],
)  # fmt: skip
def test_what_was_missed_is_made_up_for_as_the_schedule_says(
    policy: str, hours: int, fires: int, then: int, *, makes_job: bool, missed: int
) -> None:
    made = step(hours * HOUR_MS + 30 * MINUTE_MS, missed_runs=policy)
    times = (NOON, NOON + fires * HOUR_MS, NOON + then * HOUR_MS)
    assert made == Firing(*times, makes_job=makes_job, missed=missed)


@pytest.mark.req("SCH-6")
def test_skip_still_makes_the_newest_run_when_that_one_is_in_time() -> None:
    made = step(5 * HOUR_MS + 10, missed_runs="skip")
    assert (made.fire_at_ms, made.makes_job, made.missed) == (NOON + 5 * HOUR_MS, True, 5)


@pytest.mark.req("SCH-6")
def test_all_ends_with_the_times_before_now_and_no_other() -> None:
    spec, now_ms = schedule(missed_runs="all"), NOON + 300 * HOUR_MS + 1
    expected, made = NOON, []
    while (one := firing_of(spec, expected_ms=expected, now_ms=now_ms)) is not None:
        made.append(one.fire_at_ms)
        assert one.next_at_ms is not None
        expected = one.next_at_ms
    assert made == [NOON + n * HOUR_MS for n in range(201, 301)]
    assert expected == NOON + 301 * HOUR_MS


@pytest.mark.req("SCH-6")
@pytest.mark.parametrize("policy", ["skip", "last", "all"])
def test_after_its_end_nothing_is_made_up_for_and_nothing_is_set(policy: str) -> None:
    end_at_ms = NOON + 2 * HOUR_MS
    made = step(90 * HOUR_MS, missed_runs=policy, end_at_ms=end_at_ms)
    assert made.fire_at_ms <= end_at_ms
    assert made.next_at_ms is None or (policy == "all" and made.next_at_ms <= end_at_ms)


@pytest.mark.req("SCH-6")
def test_the_first_time_is_after_now_after_its_start_and_after_the_last_one() -> None:
    assert first_time(schedule(), now_ms=NOON, last_ms=None) == NOON + HOUR_MS
    start = schedule(start_at_ms=NOON + 5 * HOUR_MS)
    assert first_time(start, now_ms=NOON, last_ms=None) == NOON + 5 * HOUR_MS
    later = first_time(schedule(), now_ms=NOON, last_ms=NOON + 9 * HOUR_MS)
    assert later == NOON + 10 * HOUR_MS, "the clock went back: no time comes twice"
    over = schedule(end_at_ms=NOON + HOUR_MS - 1)
    assert first_time(over, now_ms=NOON, last_ms=None) is None
