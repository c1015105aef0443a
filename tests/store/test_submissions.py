"""What became of submissions is counted at every door, and each rule that refuses is among the counts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import MappingProxyType
from typing import Final

import pytest

from contracts.errors import POLICY_LABELS, Refused
from orch.core.asks import Ask
from orch.core.bounds import Bounds
from orch.core.firing import firing_of
from orch.store.store import Store
from tests.store.test_dead_letters import dead
from tests.store.timetables import due_since, schedule
from tests.store.world import World, spec

PLENTY: Final = 1_000_000
TIED: Final = "k"


async def by_submission(store: Store) -> None:
    await store.admission.admit([Ask(spec(id="new", concurrency_key=TIED))])


async def by_hand(store: Store) -> None:
    with pytest.raises(Refused):
        await store.schedules.fire_now("default", "s")


async def by_its_time(store: Store) -> None:
    table = await store.schedules.due("default", "s")
    assert table is not None
    assert table.next_ms is not None
    firing = firing_of(table.spec, expected_ms=table.next_ms, now_ms=table.read_at_ms)
    assert firing is not None
    await store.schedules.fire(table, firing)


async def by_replay(store: Store) -> None:
    await store.dead_letters.replay(["letter"], by="ops")


DOORS: Final = (by_submission, by_hand, by_its_time, by_replay)
RULES: Final = MappingProxyType(
    {
        "reject": Bounds(1),
        "drop-lru": Bounds(PLENTY, pool_jobs_max=1, full_policy="drop-lru"),
        "shed-low-priority": Bounds(PLENTY, pool_jobs_max=1, full_policy="shed-low-priority"),
        "rate-limit": Bounds(PLENTY, tenant_rate=1, tenant_burst=1),
        "tenant-quota": Bounds(PLENTY, tenant_jobs_max=1),
        "key-quota": Bounds(PLENTY, key_jobs_max=1),
        "intake-paused": Bounds(PLENTY),
    }
)
ELSEWHERE: Final = MappingProxyType(
    {
        "requests-backlog": "test_overflow.py",
        "gateway-backlog": "tests/actors/gateway/test_gather.py",
    }
)
"""The rules that other doors have, and where they are counted."""


async def at_its_bound(world: World, rule: str) -> None:
    """A dead letter, a schedule whose time has come, and no room for another job of theirs."""
    await dead(world, "letter", concurrency_key=TIED)
    await world.store.schedules.put(schedule(spec=spec(concurrency_key=TIED)))
    await due_since(world, 0)
    await world.submit("takes-the-slot", priority="interactive")
    # What waits is of a higher class where a victim of the own class would give way.
    priority = "interactive" if rule == "drop-lru" else "batch"
    await world.submit("waits", priority=priority, concurrency_key=TIED)
    world.bounds = RULES[rule]
    if rule == "rate-limit":
        await world.submit("takes-the-token")
    if rule == "intake-paused":
        await world.wish(pool__default__intake="paused")


def test_every_rule_is_here_or_elsewhere() -> None:
    assert {*RULES, *ELSEWHERE} == set(POLICY_LABELS)


@pytest.mark.req("ADM-2", "MET-1")
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("door", DOORS)
async def test_a_refusal_for_load_is_counted_by_its_rule_and_among_the_submissions(
    world: World, rule: str, door: Callable[[Store], Awaitable[None]]
) -> None:
    await at_its_bound(world, rule)
    store = world.store
    await door(store)
    counted = store.admission.submissions
    assert counted.refused_for_load == {rule: 1}
    assert counted.by_result == {"load": 1}


@pytest.mark.req("SCH-6", "MET-1")
async def test_a_job_of_a_schedule_is_a_submission_and_a_copy_of_the_call_is_a_duplicate(
    world: World,
) -> None:
    await world.pool()
    store = world.store
    await store.schedules.put(schedule(overlap="skip"))
    await due_since(world, 0)
    table = await store.schedules.due("default", "s")
    assert table is not None
    assert table.next_ms is not None
    firing = firing_of(table.spec, expected_ms=table.next_ms, now_ms=table.read_at_ms)
    assert firing is not None
    await store.schedules.fire(table, firing)
    assert store.admission.submissions.by_result == {"accepted": 1}
    await store.schedules.fire(table, firing)
    assert store.admission.submissions.by_result == {"accepted": 1, "duplicate": 1}
    await store.schedules.fire_now("default", "s", key="k")
    assert store.admission.submissions.by_result == {"accepted": 1, "duplicate": 1}, "skipped"


@pytest.mark.req("SCH-6", "MET-1")
async def test_a_fire_by_hand_under_a_key_is_counted_as_at_every_door(world: World) -> None:
    await world.pool()
    store = world.store
    await store.schedules.put(schedule(overlap="queue"))
    for _ in range(2):
        await store.schedules.fire_now("default", "s", key="k")
    await store.schedules.put(schedule(overlap="queue", spec=spec(name="other")))
    with pytest.raises(Refused):
        await store.schedules.fire_now("default", "s", key="k")
    counted = store.admission.submissions.by_result
    assert counted == {"accepted": 1, "duplicate": 1, "conflict": 1}


@pytest.mark.req("FBK-4", "MET-1")
async def test_a_replay_is_a_submission_and_who_gives_way_to_it_is_counted(world: World) -> None:
    await dead(world, "letter")
    await world.submit("takes-the-slot")
    await world.submit("waits")
    world.bounds = Bounds(PLENTY, pool_jobs_max=1, full_policy="drop-lru")
    store = world.store
    for _ in range(2):
        await store.dead_letters.replay(["letter", "nothing", "waits"], by="ops")
    counted = store.admission.submissions
    assert counted.by_result == {"accepted": 1, "duplicate": 1}
    assert counted.evicted == {"drop-lru": 1}
    assert counted.refused_for_load == {}
