"""Schedulers about schedules, in virtual time on the model of a server: races, deaths, losses, restarts.

Whatever befalls them, each time of a schedule makes one job.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from actors.scheduler.schedules import Firings
from contracts.errors import Unavailable
from contracts.limits import FIRE_AGAIN_MS, HOUR_MS, MINUTE_MS
from contracts.schedules import Schedule
from orch.core.bounds import Bounds
from orch.core.derived import job_id_of_fire
from orch.core.firing import firing_of
from orch.store.connection import Connection
from orch.store.keys import Keys
from orch.store.library import library
from orch.store.store import Store, open_store
from orch.system import SystemIds
from orch.telemetry.metrics import Metrics
from tests.actors.fakes import FakeClock
from tests.sim.model.client import ModelClient, greet
from tests.sim.model.server import ModelServer
from tests.store.world import policy, spec
from tests.telemetry.album import Album

BEGIN = int(datetime(2026, 3, 28, 12, 0, tzinfo=UTC).timestamp() * 1000)


@dataclass
class Lossy:
    """A client whose replies get lost while `loses` says so."""

    client: ModelClient
    loses: Callable[[str], bool]

    async def execute_command(self, *command: str | int | float) -> Any:
        reply = await self.client.execute_command(*command)
        if command[0] == "FCALL" and self.loses(str(command[1])):
            message = "Connection closed by server."
            raise RedisConnectionError(message)
        return reply

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await self.client.aclose()


@dataclass
class House:
    """A server and its schedulers, under one clock."""

    clock: FakeClock = field(default_factory=FakeClock)
    lost: list[str] = field(default_factory=list)
    """Verbs whose next reply gets lost."""

    def __post_init__(self) -> None:
        self.clock.now_ms = BEGIN
        self.server = ModelServer(self.clock.wall_ms, "a" * 40)
        self.server.execute("SADD", Keys().pools, "default")
        self.store = self.connect()

    def connect(self) -> Store:
        """Another process's store."""

        def loses(function: str) -> bool:
            found = [verb for verb in self.lost if function == library().function(verb)]
            for verb in found:
                self.lost.remove(verb)
            return bool(found)

        def client(_timeout_ms: int) -> Any:
            return Lossy(ModelClient(self.server, lambda: greet(self.server, connection)), loses)

        connection = Connection("model://", self.clock, client=client, deadline_ms=100)
        return open_store(
            connection, SystemIds(), policy(), actor="scheduler", bounds=Bounds(10_000)
        )

    def scheduler(self) -> Scheduler:
        """One more."""
        return Scheduler(self.connect())

    async def put(self, cron: str = "* * * * *", **keys: Any) -> Schedule:
        keys = {"overlap": "queue", "missed_runs": "all", **keys}
        document = {"schedule_id": "s", "cron": cron, "spec": spec(), **keys}
        return await self.store.schedules.put(document)

    async def shown(self) -> Schedule:
        return await self.store.schedules.get("default", "s")

    def jobs(self) -> list[str]:
        """Every job, in the order of arrival."""
        found: list[str] = self.server.execute("ZRANGE", Keys().jobs("default"), 0, -1)
        return found


class Scheduler:
    """What `SchedulerActor` does at one look, without its waiting."""

    def __init__(self, store: Store, traces: Album | None = None) -> None:
        self.store = store
        self.metrics = Metrics()
        self.firings = Firings(store.schedules, self.metrics, traces)

    async def look(self) -> None:
        """Until nothing is due."""
        while (due := await self.store.timers.due(most=100)).schedules:
            await self.firings.carry_out(due.schedules)

    def count(self, result: str) -> float:
        labels = {"result": result}
        return self.metrics.registry.get_sample_value("orch_scheduler_fires_total", labels) or 0.0


def expected(first_ms: int, count: int, period_ms: int = MINUTE_MS) -> list[str]:
    """The jobs of so many times."""
    times = range(first_ms, first_ms + count * period_ms, period_ms)
    return [job_id_of_fire("default", "s", at_ms) for at_ms in times]


@pytest.mark.req("SCH-6")
async def test_each_time_makes_its_job_when_it_comes_and_none_before() -> None:
    house = House()
    await house.put()
    one = house.scheduler()
    for n in range(4):
        await one.look()
        assert house.jobs() == expected(BEGIN + MINUTE_MS, n)
        house.clock.now_ms += MINUTE_MS - 1
        await one.look()
        assert len(house.jobs()) == n
        house.clock.now_ms += 1
    await one.look()
    assert (len(house.jobs()), one.count("fired")) == (4, 4.0)


@pytest.mark.req("SCH-6")
async def test_two_schedulers_at_once_make_one_job_of_each_time() -> None:
    house = House()
    await house.put()
    pair = house.scheduler(), house.scheduler()
    house.clock.now_ms += 10 * MINUTE_MS
    async with anyio.create_task_group() as tasks:
        for one in pair:
            tasks.start_soon(one.look)
    assert house.jobs() == expected(BEGIN + MINUTE_MS, 10)
    assert (await house.shown()).counts.fired == 10


@pytest.mark.req("SCH-6")
async def test_what_a_scheduler_read_before_another_fired_makes_nothing() -> None:
    house = House()
    await house.put()
    house.clock.now_ms += 3 * MINUTE_MS
    slow, quick = house.scheduler(), house.scheduler()
    table = await slow.store.schedules.due("default", "s")
    assert table is not None
    assert table.next_ms is not None
    await quick.look()
    before = house.jobs()
    late = firing_of(table.spec, expected_ms=table.next_ms, now_ms=table.read_at_ms)
    assert late is not None
    assert await slow.store.schedules.fire(table, late) is None
    assert house.jobs() == before == expected(BEGIN + MINUTE_MS, 3)


@pytest.mark.req("SCH-6", "REA-1")
async def test_a_scheduler_that_dies_between_reading_and_firing_loses_no_time() -> None:
    house = House()
    await house.put(missed_runs="skip")
    house.clock.now_ms += MINUTE_MS
    dead, heir = house.scheduler(), house.scheduler()
    assert (await dead.store.timers.due(most=9)).schedules == [("default", "s")]
    await heir.look()
    assert house.jobs() == [], "it is the dead one's for a while"
    house.clock.now_ms += FIRE_AGAIN_MS
    await heir.look()
    assert house.jobs() == expected(BEGIN + MINUTE_MS, 1)


@pytest.mark.req("SCH-6", "ADM-1")
@pytest.mark.parametrize("verb", ["fire", "due"])
async def test_a_lost_reply_makes_no_second_job_and_loses_none(verb: str) -> None:
    house = House()
    await house.put()
    one = house.scheduler()
    house.clock.now_ms += 2 * MINUTE_MS
    house.lost = [verb]
    await one.look()
    house.clock.now_ms += FIRE_AGAIN_MS
    await one.look()
    assert (house.lost, house.jobs()) == ([], expected(BEGIN + MINUTE_MS, 2))
    assert (await house.shown()).counts.fired == 2


@pytest.mark.req("SCH-6")
@pytest.mark.parametrize(
    ("missed_runs", "made"), [("all", [1, 2, 3, 4, 5]), ("last", [5]), ("skip", [])]
)
async def test_a_server_that_was_away_is_made_up_for_as_the_schedule_says(
    missed_runs: str, made: list[int]
) -> None:
    house = House()
    await house.put("0 * * * *", missed_runs=missed_runs)
    one = house.scheduler()
    house.server.stop()
    with pytest.raises(Unavailable):
        await one.look()
    house.clock.now_ms = BEGIN + 5 * HOUR_MS + 20 * MINUTE_MS
    house.server.restart("b" * 40)
    await one.look()
    assert house.jobs() == [job_id_of_fire("default", "s", BEGIN + n * HOUR_MS) for n in made]
    shown = await house.shown()
    assert (shown.counts.fired, shown.next_fire_at_ms) == (len(made), BEGIN + 6 * HOUR_MS)


@pytest.mark.req("SCH-6", "LSE-6")
async def test_a_clock_that_goes_back_brings_no_time_twice_and_none_early() -> None:
    house = House()
    await house.put(missed_runs="last")
    one = house.scheduler()
    house.clock.now_ms += 3 * HOUR_MS  # ahead by mistake
    await one.look()
    before = house.jobs()
    assert before == [job_id_of_fire("default", "s", BEGIN + 3 * HOUR_MS)]
    house.clock.now_ms = BEGIN + 5 * MINUTE_MS  # and set right
    await one.look()
    await house.put(missed_runs="skip")  # a change computes the next time anew
    await one.look()
    assert house.jobs() == before
    assert (await house.shown()).next_fire_at_ms == BEGIN + 3 * HOUR_MS + MINUTE_MS


@pytest.mark.req("SCH-6")
async def test_data_that_went_back_fire_again_what_they_have_forgotten_and_no_more() -> None:
    house = House()
    await house.put()
    one = house.scheduler()
    backup = house.server.snapshot()
    house.clock.now_ms += 2 * MINUTE_MS
    await one.look()
    house.server.restart("b" * 40, backup)
    house.clock.now_ms += MINUTE_MS
    await one.look()
    assert house.jobs() == expected(BEGIN + MINUTE_MS, 3)


@pytest.mark.req("SCH-6")
async def test_a_year_of_days_in_a_zone_with_moved_clocks_is_one_job_a_day() -> None:
    house = House()
    await house.put("30 2 * * *", time_zone="Europe/Berlin", missed_runs="last")
    one = house.scheduler()
    for _ in range(365 * 24):
        house.clock.now_ms += HOUR_MS
        if house.clock.now_ms % (6 * HOUR_MS) == 0:
            await one.look()
    assert len(house.jobs()) == 365
    assert (await house.shown()).counts.missed == 0


@pytest.mark.req("SCH-6", "REA-1")
async def test_a_schedule_that_cannot_be_read_costs_the_others_nothing() -> None:
    house = House()
    await house.put()
    await house.store.schedules.put({"schedule_id": "t", "cron": "* * * * *", "spec": spec()})
    key = Keys().schedule("default", "s")
    house.server.execute("HSET", key, "about", '{"schedule_id":"s","of":"another version"}')
    house.clock.now_ms += MINUTE_MS
    one = house.scheduler()
    await one.look()
    assert house.jobs() == [job_id_of_fire("default", "t", BEGIN + MINUTE_MS)]
    assert (one.count("broken"), one.count("fired")) == (1.0, 1.0)


@pytest.mark.req("MET-3")
async def test_a_job_of_a_schedule_begins_a_trace_and_a_time_without_a_job_none() -> None:
    house, album = House(), Album()
    await house.put(overlap="skip")
    one = Scheduler(house.connect(), album)
    for _ in range(2):
        house.clock.now_ms += MINUTE_MS
        await one.look()
    (job_id,) = house.jobs()
    assert [span.name for span in album.spans] == ["admit queue", "submit requests"]
    admit, submit = album.spans
    assert (admit.parent, submit.parent) == (submit.context, None)
    assert admit.attributes["orch.job.id"] == job_id
    carried = await house.store.reading.carried(job_id)
    assert carried is not None
    assert carried.traceparent == admit.context.traceparent
    assert one.count("skipped") == 1
