"""What is to be done about a schedule whose time has come, and when does it come again?

Pure: what the schedule says, the time that is set, the server's time, in; one `Firing` out, which the
function `fire` carries out if the schedule is still as it was read.
"""

from __future__ import annotations

from dataclasses import dataclass

from contracts.limits import MISSED_AFTER_MS, MISSED_RUNS_MAX
from contracts.schedules import MissedRuns, ScheduleSpec
from orch.core.calendar import newest_times, next_time


@dataclass(frozen=True, slots=True)
class Firing:
    """One step of a schedule."""

    expected_ms: int
    """The time that was set when the schedule was read; fire compares it."""
    fire_at_ms: int
    """The time that this step settles."""
    next_at_ms: int | None
    """The time to set; None when no time is left."""
    makes_job: bool
    """False when it came too late and is not made up for."""
    missed: int
    """Times before it that are passed over."""


def first_time(schedule: ScheduleSpec, *, now_ms: int, last_ms: int | None) -> int | None:
    """The time to set for a schedule that is stored or resumed now; never one it had before."""
    after_ms = max(now_ms, last_ms or 0, (schedule.start_at_ms or 0) - 1)
    return next_time(schedule.cron, schedule.time_zone, after_ms, schedule.end_at_ms)


def firing_of(schedule: ScheduleSpec, *, expected_ms: int, now_ms: int) -> Firing | None:
    """The next step of a schedule; None when its time has not come."""
    if expected_ms > now_ms:
        return None
    cron, zone, end_ms = schedule.cron, schedule.time_zone, schedule.end_at_ms
    until_ms = now_ms if end_ms is None else min(now_ms, end_ms)
    passed = [expected_ms, *newest_times(cron, zone, expected_ms, until_ms, MISSED_RUNS_MAX)]
    if schedule.missed_runs is MissedRuns.ALL:
        made_up = passed[-MISSED_RUNS_MAX:]
        fire_at_ms, missed = made_up[0], len(passed) - len(made_up)
    else:
        fire_at_ms, missed = passed[-1], len(passed) - 1
    in_time = now_ms - fire_at_ms < MISSED_AFTER_MS
    return Firing(
        expected_ms=expected_ms,
        fire_at_ms=fire_at_ms,
        next_at_ms=next_time(cron, zone, fire_at_ms, end_ms),
        makes_job=in_time or schedule.missed_runs is not MissedRuns.SKIP,
        missed=missed,
    )
