"""Schedules with real processes: put, fired by hand, fired in time, and through the death of what fires them.

No time of a cron expression is nearer than a minute, so a test sets the time of a schedule back in the data,
as if nobody had run meanwhile; the scheduler is woken as it is by any timer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from contracts.limits import MINUTE_MS
from contracts.schedules import Fate, Schedule
from contracts.states import State
from orch.core.derived import job_id_of_fire
from orch.store.keys import Keys
from tests.e2e.conftest import StartStack
from tests.e2e.specs import shell
from tests.e2e.stack import Stack, wait_until

KEYS = Keys()


def timetable(schedule_id: str, **keys: Any) -> dict[str, Any]:
    template = shell("true")
    return {"schedule_id": schedule_id, "cron": "* * * * *", "spec": template, **keys}


def set_back(stack: Stack, schedule_id: str, minutes: int) -> int:
    """Its time came so many minutes ago; the scheduler hears of it as of any new timer."""
    seconds, _ = stack.redis.time()
    at_ms = (seconds * 1000 // MINUTE_MS - minutes) * MINUTE_MS
    pipe = stack.redis.pipeline(transaction=True)
    pipe.hset(KEYS.schedule("default", schedule_id), "next", at_ms)
    pipe.zadd(KEYS.due, {f"cron:default:{schedule_id}:0": at_ms})
    pipe.xadd(KEYS.alarm, {"at": at_ms})
    pipe.execute()
    return at_ms


def wait_for_fire(stack: Stack, schedule_id: str, at_ms: int) -> Schedule:
    """Until that time, or one after it, was carried out."""

    def found() -> Schedule | None:
        shown = stack.client.schedule(schedule_id)
        return shown if (shown.last_fire_at_ms or 0) >= at_ms else None

    return wait_until(found)


@pytest.mark.req("SCH-6", "CLI-1")
def test_the_command_line_stores_shows_fires_and_deletes_a_schedule(
    stack: Stack, tmp_path: Path
) -> None:
    file = tmp_path / "nightly.json"
    file.write_text(json.dumps(timetable("by-hand", cron="30 2 * * *", time_zone="Europe/Berlin")))
    assert stack.orch("schedule", "put", str(file)).code == 0
    fired = stack.orch("schedule", "fire", "by-hand", "--json")
    job_id = fired.document["job_id"]
    assert stack.client.wait(job_id, timeout_s=20).state is State.COMPLETED
    shown = stack.orch("schedule", "show", "by-hand", "--json").document
    assert (shown["last"]["result"], shown["last_job_id"]) == ("fired", job_id)
    assert (shown["last_fire_at_ms"], shown["counts"]["fired"]) == (None, 1)
    assert stack.orch("schedule", "delete", "by-hand").code == 0
    assert stack.orch("schedule", "show", "by-hand").code == 6


@pytest.mark.req("SCH-6")
def test_a_time_that_has_come_becomes_a_job_that_runs(stack: Stack) -> None:
    stack.client.put_schedule(timetable("in-time", overlap="queue"))
    at_ms = set_back(stack, "in-time", 0)
    shown = wait_for_fire(stack, "in-time", at_ms)
    assert shown.last is not None
    assert shown.last.result is Fate.FIRED
    job_id = job_id_of_fire("default", "in-time", shown.last.fire_at_ms)
    assert stack.client.wait(job_id, timeout_s=20).state is State.COMPLETED
    assert stack.events_of(job_id)[0].payload["schedule_id"] == "in-time"
    stack.client.delete_schedule("in-time")


@pytest.mark.req("SCH-6", "REA-1")
def test_times_survive_the_death_of_the_scheduler_and_of_the_server(
    start_stack: StartStack,
) -> None:
    stack = start_stack()
    stack.client.put_schedule(timetable("lasting", overlap="queue", missed_runs="all"))
    stack.kill("scheduler")
    at_ms = set_back(stack, "lasting", 4)
    stack.kill("server")
    wait_until(stack.answers)
    shown = wait_for_fire(stack, "lasting", at_ms + 4 * MINUTE_MS)
    assert shown.last_fire_at_ms is not None
    made = range(at_ms, shown.last_fire_at_ms + 1, MINUTE_MS)
    jobs = [job_id_of_fire("default", "lasting", one) for one in made]
    assert [stack.client.wait(one, timeout_s=30).state for one in jobs] == [
        State.COMPLETED for _ in jobs
    ]
    listed = {one.job_id for one in stack.client.jobs(limit=100).jobs}
    stack.client.pause_schedule("lasting")
    assert set(jobs) <= listed
    assert stack.client.schedule("lasting").counts.fired >= len(jobs)
