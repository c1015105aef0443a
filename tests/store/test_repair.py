"""Every index is rebuilt from the job hashes; the fixture's invariants must hold again after each test."""

from __future__ import annotations

from collections import Counter

import pytest

from actors.reaper.sweep import Sweeper, pause_after
from contracts.errors import Refused
from contracts.limits import REPAIR_EVERY_MS_MAX, REPAIR_EVERY_MS_MIN
from contracts.states import State
from orch.core.bounds import Bounds
from orch.system import SystemClock
from orch.telemetry.metrics import Metrics
from tests.store.world import HOUR_MS, World, ending

pytestmark = pytest.mark.first_answers  # what a sweep says that it mended


async def sweep(world: World, *, page_keys: int = 1_000) -> list[tuple[str, str]]:
    """What the reaper's sweep mended."""
    sweeper = Sweeper(world.store, SystemClock(), Metrics(), page_keys=page_keys)
    return [(repair.index, repair.name) for repair in await sweeper.sweep()]


async def everything(world: World) -> None:
    """A shard with a job in every state."""
    await world.pool("default", "empty")
    world.bounds = Bounds(1_000)
    for name in ("asked", "released", "done", "dead", "runs", "canceled"):
        await world.submit(name, idempotency_key=f"key-{name}")
    runner = await world.runner(slots=5)
    offers = {offer.job_id: offer for offer in (await runner.cycle()).offers}
    await runner.end(
        ending("ask", offers["asked"]),
        ending("release", offers["released"]),
        ending("settle", offers["done"]),
        ending("release", offers["dead"]),
    )
    await world.decide("dead", "fail")
    await world.store.steering.cancel("canceled", by="me")
    later = await world.now_ms() + HOUR_MS
    await world.submit("later", not_before_ms=later)
    await world.submit("dated", deadline_ms=later, pool="empty")
    await world.submit("queued1", pool="empty", idempotency_key="key-q")
    await world.submit("queued2", pool="empty", priority="interactive")
    await world.submit("queued3", pool="empty", tenant="other")
    await world.submit("paused", pool="empty")
    await world.store.steering.pause("paused", by="me")
    # Dispatched to slots that nobody has claimed with yet.
    await world.submit("ready")
    assert await world.state("ready") is State.READY


@pytest.mark.req("REA-3")
async def test_a_sound_shard_is_left_as_it_is(world: World) -> None:
    await everything(world)
    before = await world.contents()
    assert await sweep(world) == []
    assert await world.contents() == before


LOST = {
    "queue:empty:batch:default": [("queue", "dated"), ("queue", "queued1")],
    "queue:empty:interactive:default": [("queue", "queued2")],
    "turn:empty:batch": [("turn", "dated"), ("turn", "queued3")],
    "ready:default": [("group", "runner-1"), ("ready", "ready")],
    "held:runner-1": [("held", "runs")],
    "due": [("due", "asked"), ("due", "dated"), ("due", "later")],
    "undecided": [("undecided", "released")],
    "dead:default": [("dead", "dead")],
    "idem:default:key-runs": [("idem", "runs")],
    "slots:default": [("slots", "runner-1")],
    "wake:default": [("group", "runner-1")],
    "inbox:runner-1": [("group", "runner-1")],
    "counters": [
        ("counters", "depth:empty:batch"),
        ("counters", "depth:empty:interactive"),
        ("counters", "waits:default"),
        ("counters", "waits:other"),
    ],
}


@pytest.mark.req("REA-3")
@pytest.mark.parametrize("index", LOST)
async def test_an_index_that_was_lost_is_rebuilt(world: World, index: str) -> None:
    await everything(world)
    before = await world.contents()
    name = world.connection.keys.prefix + index
    assert await world.redis("DEL", name) == 1
    assert sorted(await sweep(world)) == sorted(LOST[index])
    assert await sweep(world) == []
    mended = await world.contents()
    if index.partition(":")[0] in {"held", "idem", "slots"}:
        assert mended[name] == before[name]
    if index == "due":
        assert sorted(mended[name]) == sorted(before[name])


@pytest.mark.req("REA-3", "SCH-1")
async def test_jobs_whose_line_was_lost_stand_in_it_again_in_their_order(world: World) -> None:
    await world.pool()
    ids = await world.submit_many("job", 5)
    await world.redis("DEL", world.connection.keys.queue("default", "batch", "default"))
    newer = await world.submit_many("new", 2)
    assert sorted(await sweep(world)) == [("queue", job_id) for job_id in ids]
    runner = await world.runner(slots=7)
    assert [offer.job_id for offer in (await runner.cycle()).offers] == [*ids, *newer]


@pytest.mark.req("REA-3")
async def test_a_job_that_others_were_pushed_before_is_not_taken_for_lost(world: World) -> None:
    runner, offer = await world.running("first")
    await world.submit("waits")
    # Back at the head of the line, and younger there than the one behind it.
    await world.wait_a_ms()
    await runner.cycle(ending("handback", offer), free=0)
    await world.redis("DEL", world.connection.keys.slots("default"))
    assert ("queue", "waits") not in await sweep(world)


@pytest.mark.req("REA-3")
async def test_a_place_lost_from_the_middle_of_a_line_is_there_again(
    world: World,
) -> None:
    await world.pool()
    for job_id in ("a", "b", "c"):
        await world.submit(job_id)
        await world.wait_a_ms()
    keys = world.connection.keys
    ticket = (await world.fields("b"))["ticket"]
    await world.redis("LREM", keys.queue("default", "batch", "default"), 1, f"b:{ticket}")
    assert await sweep(world) == [("queue", "b")]
    runner = await world.runner(slots=3)
    assert [offer.job_id for offer in (await runner.cycle()).offers] == ["a", "b", "c"]


@pytest.mark.req("REA-3", "LSE-6")
async def test_a_holder_that_nobody_knows_stays_dead_and_its_job_is_freed(world: World) -> None:
    runner, _ = await world.running("job")
    keys = world.connection.keys
    # Buried while what it held was lost: the claim is in force, and nobody would ever free the job.
    await world.redis("DEL", keys.held(runner.runner_id))
    await world.bury(runner)
    assert await world.state("job") is State.RUNNING
    assert sorted(await sweep(world)) == [("held", "job"), ("instances", "job")]
    with pytest.raises(Refused):
        await world.store.leases.beat(runner.runner_id)
    assert (await world.bury(runner)).freed == 1
    assert (await world.story("job"))[-2:] == ["stale_recovered", "bury"]


@pytest.mark.req("REA-3", "SCH-4")
async def test_a_slot_held_for_a_job_that_is_elsewhere_is_given_back(world: World) -> None:
    runner, offer = await world.running("job")
    await runner.end(ending("handback", offer))
    held = world.connection.keys.held(runner.runner_id)
    await world.redis("HSET", held, "job", offer.claim, "never", "1.1.x")
    assert await sweep(world) == [("held", runner.runner_id)] * 2
    assert (await runner.claim_one()).job_id == "job"


@pytest.mark.req("REA-3")
async def test_what_owners_left_behind_goes(world: World) -> None:
    prefix = world.connection.keys.prefix
    await world.pool()
    await world.redis("HSET", f"{prefix}lastcall:runner-9", "number", 1)
    await world.redis("XADD", f"{prefix}inbox:runner-9", "*", "what", "cancel")
    await world.redis("XADD", f"{prefix}out:gone", "*", "stdout", "x")
    await world.redis("SET", f"{prefix}idem:default:k", "gone")
    await world.redis("HSET", f"{prefix}slots:default", "runner-9", 4)
    names = ["idem:default:k", "inbox:runner-9", "lastcall:runner-9", "out:gone"]
    assert sorted(await sweep(world)) == [
        *(("leftover", name) for name in names),
        ("slots", "runner-9"),
    ]
    assert not set(await world.contents()) & {prefix + name for name in names}


@pytest.mark.req("REA-3", "EVT-4")
async def test_what_a_webhook_left_behind_goes_whatever_it_is(world: World) -> None:
    keys, place = world.connection.keys, "default:gone"
    await world.redis("ZADD", keys.posts(place), 1, "d1")
    await world.redis("HSET", keys.tries(place), "d1", "1 {}")
    await world.redis("HSET", keys.tally(place), "delivered", 1)
    await world.redis("RPUSH", keys.delivered(place), "{}")
    await world.redis("RPUSH", keys.undelivered(place), "{}")
    families = ["delivered", "posts", "tally", "tries", "undelivered"]
    assert sorted(await sweep(world)) == [("leftover", f"{one}:{place}") for one in families]
    assert not [name for name in await world.contents() if name.endswith(place)]


@pytest.mark.req("REA-3")
async def test_a_claim_that_a_call_cut_in_half_left_behind_goes(world: World) -> None:
    runner, offer = await world.running("job")
    await runner.end(ending("release", offer))
    await world.redis("HSET", world.connection.keys.job("job"), "claim", offer.claim)
    assert await sweep(world) == [("claim", "job")]
    assert await world.decide("job", "retry")


@pytest.mark.req("REA-3", "JOB-4")
@pytest.mark.drives("repaired")
async def test_each_repair_stands_in_the_jobs_own_ledger(world: World) -> None:
    await world.pool()
    await world.submit("job")
    await world.redis("DEL", world.connection.keys.queue("default", "batch", "default"))
    await sweep(world)
    assert await world.story("job") == ["admit", "repaired"]
    event = (await world.ledger("job"))[1]
    assert (event.actor, event.payload) == (
        "reaper",
        {"index": "queue", "was": "not in its line"},
    )


@pytest.mark.req("REA-3")
async def test_a_count_that_jobs_overtook_changes_nothing(world: World) -> None:
    await world.pool()
    await world.submit("job")
    moves = await world.store.repairs.moves()
    await world.submit("next")
    before = await world.contents()
    assert await world.store.repairs.recount(moves, {"depth:default:batch": 1}) is None
    assert await world.contents() == before
    assert await world.store.repairs.recount(moves + 1, {"depth:default:batch": 2}) == []


@pytest.mark.req("REA-3")
async def test_a_sweep_in_small_pages_sees_everything(world: World) -> None:
    await world.pool()
    ids = await world.submit_many("job", 120)
    await world.redis("DEL", world.connection.keys.due, world.connection.keys.counters)
    await world.redis("DEL", world.connection.keys.queue("default", "batch", "default"))
    found = Counter(await sweep(world, page_keys=10))
    assert set(found) == {("queue", job_id) for job_id in ids} | {
        ("counters", "depth:default:batch"),
        ("counters", "waits:default"),
    }
    assert await sweep(world, page_keys=10) == []


@pytest.mark.req("REA-3", "REA-1")
async def test_a_small_shard_is_swept_again_soon_and_a_sweep_that_took_long_waits_long() -> None:
    assert pause_after(3) == REPAIR_EVERY_MS_MIN
    assert pause_after(1_000) == 20_000
    assert pause_after(60_000) == REPAIR_EVERY_MS_MAX
    assert pause_after(4_000, proven=False) == 20_000
