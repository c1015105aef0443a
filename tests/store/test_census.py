"""What one look at the whole shard says, and the one reaper that tells it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import generate_latest

from actors.reaper.census import LOOK_MS, NAMES, READING_MS_MAX, Exporter, bounded_lines
from actors.reaper.decide import TAKEOVER_LOOKS
from actors.reaper.samples import JOBS_MAX, Samples
from actors.reaper.sweep import Sweeper
from contracts.metrics import CATALOGUE
from contracts.states import State
from orch.store.census import Counted, Line, PoolCount
from orch.store.leases import Instance
from orch.telemetry.metrics import Metrics
from tests.actors.fakes import FakeClock
from tests.store.test_repair import everything
from tests.store.world import HOUR_MS, World, ending, policy

OPEN = {"drain": False, "intake": False, "dispatch": False}
EMPTY = PoolCount(OPEN, ready=0, runners=0, slots=0, held=0, free=0, lines={})


async def steady(world: World) -> Counted:
    """A look, its ages as they are when nothing takes time."""
    found = await world.store.census.take()
    pools = {
        name: replace(
            pool, lines={c: replace(line, oldest_age_ms=0) for c, line in pool.lines.items()}
        )
        for name, pool in found.pools.items()
    }
    return replace(found, pools=pools, undecided_age_ms=0, overdue_ms=0, calls=0)


@pytest.mark.req("MET-1", "MET-2")
async def test_an_empty_shard_has_nothing_to_tell(world: World) -> None:
    await world.pool("a")
    assert await steady(world) == Counted({"a": EMPTY}, *(0 for _ in range(13)))


@pytest.mark.req("MET-1", "MET-2")
async def test_a_look_counts_what_stands_in_every_pool_and_class(world: World) -> None:
    await everything(world)
    await world.redis("XADD", world.connection.keys.requests, "*", "spec", "{}")
    await world.redis("XADD", world.connection.keys.control, "*", "command", "drain")
    await world.wish(pool__empty__drain="c1", pool__empty__intake="c2")
    found = await steady(world)
    lines = {"batch": Line(3, 0), "interactive": Line(1, 0)}
    closed = {"drain": True, "intake": True, "dispatch": False}
    # The entry of a job that was canceled while it was ready goes with the next claim.
    # asked, done and dead are over; released waits for a decision, runs and ready have slots.
    default = PoolCount(
        OPEN, ready=2, runners=1, slots=5, held=1, free=4, lines={"batch": Line(0, 0)}
    )
    assert found == Counted(
        pools={"default": default, "empty": replace(EMPTY, closed=closed, lines=lines)},
        tenants=2,
        dead_letters=1,
        timers=3,
        overdue_ms=0,
        undecided=1,
        undecided_age_ms=0,
        requests=1,
        commands=1,
        commands_open=0,
        webhooks_unsent=0,
        burials=0,
        recovered=0,
        calls=0,
    )


@pytest.mark.req("MET-1")
async def test_ages_are_those_of_the_longest_waiting_and_of_what_is_late(world: World) -> None:
    keys = world.connection.keys
    await world.pool("empty")
    await world.submit_many("a", 2, pool="empty")
    now = await world.now_ms()
    await world.redis("HSET", keys.job("a0000"), "queued_at", now - 90_000)
    await world.redis("ZADD", keys.due, now - 7_000, "later:gone:1")
    await world.redis("ZADD", keys.undecided, now - 8_000, "gone:1")
    found = await world.store.census.take()
    assert 90_000 <= found.pools["empty"].lines["batch"].oldest_age_ms < 95_000
    assert 7_000 <= found.overdue_ms < 12_000
    assert 8_000 <= found.undecided_age_ms < 13_000
    await world.redis("ZREM", keys.due, "later:gone:1")
    await world.redis("ZREM", keys.undecided, "gone:1")
    await world.redis("HSET", keys.job("a0000"), "queued_at", now)


@pytest.mark.req("MET-1", "MET-4")
async def test_an_outcome_grows_old_though_its_hint_is_repeated(world: World) -> None:
    # A repetition puts the outcome half a minute ahead in its set: by its place it would never be old.
    keys = world.connection.keys
    runner, offer = await world.running("job")
    await runner.end(ending("release", offer))
    seq = (await world.ledger("job"))[-1].seq
    entry = (await world.fields("job"))[str(seq)]
    at_ms, rest = entry.split(" ", 1)
    await world.redis("HSET", keys.job("job"), seq, f"{int(at_ms) - HOUR_MS} {rest}")
    await world.wait_a_ms()
    assert await world.store.outcomes.announce(older_ms=0, again_ms=30_000, most=10) == 1
    found = await world.store.census.take()
    assert HOUR_MS <= found.undecided_age_ms < HOUR_MS + 5_000
    await world.redis("HSET", keys.job("job"), seq, entry)


@pytest.mark.req("MET-1")
async def test_a_drained_runner_has_no_free_slot_and_one_that_must_reclaim_has_its_slots(
    world: World,
) -> None:
    runner, _ = await world.running()
    other = await world.runner(slots=3)
    await world.wish(**{f"runner__{other.runner_id}__drain": "c1"})
    await world.redis("HSET", world.connection.keys.slots("default"), runner.runner_id, "?1")
    (pool,) = (await world.store.census.take()).pools.values()
    assert (pool.runners, pool.slots, pool.held, pool.free) == (2, 4, 1, 0)
    await world.redis("HSET", world.connection.keys.slots("default"), runner.runner_id, "1")


@pytest.mark.req("MET-1", "REA-2")
async def test_whoever_buries_is_counted_once_for_each_instance_and_for_each_job_it_takes(
    world: World,
) -> None:
    # Not by a reaper's process: a supervisor buries too, and nobody scrapes one.
    runner = await world.runner(slots=4)
    await world.submit_many("job", 4)
    await runner.cycle(free=4)
    await world.store.steering.cancel("job0003", by="me")
    idle = Instance("notifier-a", "notifier", {})
    await world.store.leases.register(idle)
    seen = await world.store.leases.beats()
    told = []
    for instance_id, most in ((runner.runner_id, 3), (runner.runner_id, 3), (idle.instance_id, 3)):
        await world.store.leases.bury(instance_id, seen[instance_id], age_ms=0, most=most)
        await world.store.leases.bury(instance_id, 1, age_ms=0, most=0)  # its answer was lost
        counted = await world.store.census.take()
        told.append((counted.burials, counted.recovered))
    assert told == [(0, told[0][1]), (1, 3), (2, 3)]
    assert told[0][1] in {2, 3}, "the canceled one was not taken from anybody"


@pytest.mark.req("MET-2")
def test_more_classes_than_can_be_configured_are_told_as_one() -> None:
    lines = {f"c{n}": Line(depth=n % 2, oldest_age_ms=n) for n in range(20)}
    told = bounded_lines(lines)
    assert len(told) == 9
    assert sum(line.depth for line in told.values()) == 10
    assert told["other"] == Line(depth=2, oldest_age_ms=18)
    assert bounded_lines({"a": Line(1, 2)}) == {"a": Line(1, 2)}


# -- who tells it


class House:
    """Reapers that are registered, and what each of them exports."""

    def __init__(self, world: World) -> None:
        self.world, self.clock = world, FakeClock()
        self.metrics: dict[str, Metrics] = {}
        self.exporters: dict[str, Exporter] = {}
        self.sweepers: dict[str, Sweeper] = {}

    async def reaper(self, name: str) -> None:
        store, metrics = self.world.store, Metrics()
        await store.leases.register(Instance(name, "reaper", {"lease_ms": 15_000}))
        self.sweepers[name] = Sweeper(store, self.clock, metrics)
        samples = Samples(store, metrics)
        self.metrics[name] = metrics
        self.exporters[name] = Exporter(
            store, self.clock, metrics, samples, self.sweepers[name], instance_id=name
        )

    async def look(self, *names: str) -> None:
        for name in names or self.exporters:
            await self.exporters[name].look()

    def telling(self) -> list[str]:
        """Who exports facts of the cluster now."""
        return [
            name for name in self.metrics if self.value(name, "orch_cluster_tenants") is not None
        ]

    def value(self, name: str, metric: str, **labels: str) -> float | None:
        found: float | None = self.metrics[name].registry.get_sample_value(metric, labels)
        return found


@pytest.mark.req("MET-2")
async def test_the_only_reaper_tells_of_the_cluster_at_once(world: World) -> None:
    house = House(world)
    await world.pool("empty")
    await world.submit_many("a", 3, pool="empty")
    await house.reaper("reaper-a")
    await house.look()
    assert house.telling() == ["reaper-a"]
    assert house.value("reaper-a", "orch_cluster_exporting") == 1
    assert (
        house.value("reaper-a", "orch_cluster_queue_depth", pool="empty", **{"class": "batch"}) == 3
    )
    assert house.value("reaper-a", "orch_cluster_instances", role="reaper") == 1
    assert house.value("reaper-a", "orch_cluster_jobs", state="queued") is None, "nothing was swept"
    await house.sweepers["reaper-a"].sweep()
    await house.look()
    counts = {s: house.value("reaper-a", "orch_cluster_jobs", state=s.value) for s in State}
    assert counts == {s: 3 if s is State.QUEUED else 0 for s in State}
    text = generate_latest(house.metrics["reaper-a"].registry).decode()
    assert {name for name in NAMES if f"\n{name}" in text} == set(NAMES)
    assert set(NAMES) < set(CATALOGUE)


@pytest.mark.req("MET-2")
async def test_of_several_reapers_never_two_tell_of_the_cluster(world: World) -> None:
    house = House(world)
    await house.reaper("reaper-m")
    await house.look()
    seen = [house.telling()]
    await house.reaper("reaper-a")
    for _ in range(TAKEOVER_LOOKS + 1):
        await house.look()
        seen.append(house.telling())
        house.clock.now_ms += LOOK_MS
    assert all(len(names) <= 1 for names in seen), seen
    assert seen[0] == ["reaper-m"]
    assert seen[-1] == ["reaper-a"]


@pytest.mark.req("MET-2")
async def test_a_reaper_that_hangs_falls_silent_before_another_one_speaks(world: World) -> None:
    house = House(world)
    await house.reaper("reaper-m")
    await house.look()
    await house.reaper("reaper-a")
    seen = []
    for _ in range(TAKEOVER_LOOKS):
        await house.look("reaper-a")  # the other one's loop is stuck, its port still answers
        seen.append(house.telling())
        house.clock.now_ms += LOOK_MS
        seen.append(house.telling())
    assert all(len(names) <= 1 for names in seen), seen
    assert seen[0] == ["reaper-m"]
    assert seen[-1] == ["reaper-a"]


@pytest.mark.req("MET-2")
async def test_when_the_one_that_told_is_buried_the_next_one_tells(world: World) -> None:
    house = House(world)
    for name in ("reaper-a", "reaper-m"):
        await house.reaper(name)
    for _ in range(TAKEOVER_LOOKS):
        await house.look()
    assert house.telling() == ["reaper-a"]
    counter = (await world.store.leases.beats())["reaper-a"]
    await world.store.leases.bury("reaper-a", counter, age_ms=1, most=10)
    await house.look("reaper-m")
    house.clock.now_ms += READING_MS_MAX // 2 + 1
    await house.look("reaper-m")
    house.clock.now_ms += READING_MS_MAX // 2
    assert house.telling() == ["reaper-m"]


@pytest.mark.req("MET-2", "MET-5")
async def test_a_reading_that_cannot_be_renewed_is_not_told_for_long(world: World) -> None:
    house = House(world)
    await house.reaper("reaper-a")
    await house.look()
    house.clock.now_ms += READING_MS_MAX - 1
    assert house.value("reaper-a", "orch_cluster_reading_age_seconds") == 9.999
    house.clock.now_ms += 1
    assert house.telling() == []
    assert house.value("reaper-a", "orch_cluster_exporting") == 0


# -- how long states last


def stays_of(house: House) -> dict[str, tuple[float, float]]:
    """State -> how many stays were told, and their seconds in all."""
    found: dict[str, Any] = {}
    for state in State:
        count = house.value("reaper-a", "orch_cluster_state_seconds_count", state=state.value)
        total = house.value("reaper-a", "orch_cluster_state_seconds_sum", state=state.value)
        if count:
            found[state.value] = (count, total)
    return found


@pytest.mark.req("MET-1")
async def test_stays_are_sampled_of_jobs_that_moved_since_the_last_look_and_each_once(
    world: World,
) -> None:
    house = House(world)
    await house.reaper("reaper-a")
    await world.pool()
    await world.submit("before")
    await house.look()
    assert stays_of(house) == {}
    runner = await world.runner(slots=2)
    await world.wait_a_ms()
    (offer,) = (await runner.cycle()).offers
    await world.wait_a_ms()
    await runner.end(ending("settle", offer))
    await house.look()
    told = stays_of(house)
    assert {state: count for state, (count, _) in told.items()} == {
        "queued": 1,
        "ready": 1,
        "running": 1,
    }
    assert 0.001 <= told["queued"][1] < 30
    await house.look()
    assert stays_of(house) == told
    await world.submit("next", not_before_ms=await world.now_ms() + HOUR_MS)
    await house.look()
    assert stays_of(house) == told, "it has left no state yet"


@pytest.mark.req("MET-1")
async def test_of_many_jobs_that_moved_a_few_are_looked_at(world: World) -> None:
    house = House(world)
    await house.reaper("reaper-a")
    await world.pool()
    await world.submit("before")
    await house.look()
    await world.submit_many("a", 200)
    runner = await world.runner(slots=200)
    await world.wait_a_ms()
    await runner.cycle()
    await house.look()
    told = stays_of(house)
    assert 1 <= told["queued"][0] <= JOBS_MAX


@pytest.mark.req("MET-1")
async def test_an_offer_says_how_long_its_job_waited_in_line_and_its_class(world: World) -> None:
    world.policy = policy("interactive:8", "batch:1")
    await world.pool()
    await world.submit_many("a", 2, priority="interactive")
    now = await world.now_ms()
    await world.redis("HSET", world.connection.keys.job("a0000"), "queued_at", now - HOUR_MS)
    runner = await world.runner(slots=2)
    offers = (await runner.cycle()).offers
    assert [one.class_name for one in offers] == ["interactive", "interactive"]
    assert HOUR_MS <= offers[0].waited_ms < HOUR_MS + 5_000
    assert 0 <= offers[1].waited_ms < 5_000
    again = (await runner.cycle(number=runner.number)).offers
    assert again == offers
