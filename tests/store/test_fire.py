"""The times of schedules in the store: one of them makes one job at most, or says why none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contracts.errors import ErrorCode
from contracts.limits import FIRE_AGAIN_MS, MINUTE_MS, MISSED_RUNS_MAX
from contracts.schedules import Fate
from contracts.states import State
from orch.core.bounds import Bounds
from orch.core.derived import job_id_of_fire
from orch.core.firing import firing_of
from tests.store.timetables import carry_out, due_since, fired, jobs, read, schedule
from tests.store.world import World, ending, spec

# ---------------------------------------------------------------- one time, one job


@pytest.mark.req("SCH-6")
@pytest.mark.first_answers
async def test_a_time_that_has_come_makes_its_job_and_sets_the_next(world: World) -> None:
    await world.pool()
    await world.store.schedules.put(schedule())
    at_ms = await due_since(world, 0)
    due = await world.store.timers.due(most=9)
    assert due.schedules == [("default", "s")]
    made = await carry_out(world, await read(world))
    job_id = job_id_of_fire("default", "s", at_ms)
    assert made is not None
    assert (made.result, made.fire_at_ms, made.job_id) == (Fate.FIRED, at_ms, job_id)
    shown = await world.store.schedules.get("default", "s")
    assert (shown.next_fire_at_ms, shown.last_fire_at_ms) == (at_ms + MINUTE_MS, at_ms)
    assert (shown.last_job_id, shown.last, shown.counts.fired) == (job_id, made, 1)
    (first,) = await world.ledger(job_id)
    assert first.payload["schedule_id"] == "s"
    assert first.payload["fire_at_ms"] == at_ms


@pytest.mark.req("SCH-6")
@pytest.mark.first_answers
async def test_of_schedulers_that_read_the_same_time_one_makes_the_job(world: World) -> None:
    await world.pool()
    await world.store.schedules.put(schedule(overlap="queue"))
    await due_since(world, 0)
    tables = [await read(world) for _ in range(3)]
    made = [await carry_out(world, table) for table in tables]
    # A copy of the very same call is answered as the first, one from another look is told nothing.
    assert [one is None for one in made] in ([False, False, False], [False, True, True])
    assert len(await jobs(world)) == 1
    assert (await world.store.schedules.get("default", "s")).counts.fired == 1


@pytest.mark.req("SCH-6")
@pytest.mark.first_answers
async def test_a_late_copy_of_a_fire_makes_nothing_when_its_time_is_long_past(
    world: World,
) -> None:
    await world.pool()
    await world.store.schedules.put(schedule(overlap="queue", missed_runs="all"))
    await due_since(world, 2)
    stale = await read(world)
    await carry_out(world, stale)
    await carry_out(world, await read(world))
    before = await world.contents()
    assert await carry_out(world, stale) is None
    assert await world.contents() == before


@pytest.mark.req("SCH-6")
@pytest.mark.first_answers
async def test_a_schedule_that_was_changed_meanwhile_is_left_to_whoever_changed_it(
    world: World,
) -> None:
    await world.pool()
    await world.store.schedules.put(schedule())
    await due_since(world, 0)
    stale = await read(world)
    await world.store.schedules.put(schedule(cron="@daily"))
    assert await carry_out(world, stale) is None
    assert await jobs(world) == []


@pytest.mark.req("SCH-6")
@pytest.mark.first_answers
async def test_what_was_read_before_a_change_is_not_fired_by_the_old_words(world: World) -> None:
    """The change left the time that is set as it was."""
    await world.pool()
    await world.store.schedules.put(schedule())
    stale = await read(world)
    await world.store.schedules.put(schedule(overlap="queue"))
    at_ms = await due_since(world, 0)
    assert await carry_out(world, replace(stale, next_ms=at_ms)) is None
    assert await jobs(world) == []


@pytest.mark.req("SCH-6")
async def test_a_change_that_overtook_a_fire_computes_its_time_again(world: World) -> None:
    await world.pool()
    await world.store.schedules.put(schedule())
    await fired(world)
    before = await world.contents()
    said = ("default", "s", '{"other":"words"}', 0, 1, "7", "", "default")
    assert await world.connection.call("schedule", *said) == ["moved"]
    assert await world.contents() == before


@pytest.mark.req("SCH-6")
async def test_nothing_is_fired_early_whoever_asks(world: World) -> None:
    await world.pool()
    await world.store.schedules.put(schedule())
    table = await read(world)
    assert table.next_ms is not None
    before = await world.contents()
    ahead = firing_of(table.spec, expected_ms=table.next_ms, now_ms=table.next_ms)
    assert ahead is not None
    assert await world.store.schedules.fire(table, ahead) is None
    assert await world.contents() == before


@pytest.mark.req("SCH-6")
@pytest.mark.first_answers
async def test_a_due_schedule_is_handed_to_one_caller_and_again_if_nothing_came_of_it(
    world: World,
) -> None:
    await world.pool()
    await world.store.schedules.put(schedule())
    await due_since(world, 0)
    first = await world.store.timers.due(most=9)
    assert (first.handled, first.schedules) == (1, [("default", "s")])
    assert 0 < first.next_in_ms <= FIRE_AGAIN_MS
    assert (await world.store.timers.due(most=9)).schedules == ()
    timer = ("cron:default:s:0",)
    await world.redis("ZADD", world.connection.keys.due, 1, *timer)  # that long has passed
    assert (await world.store.timers.due(most=9)).schedules == [("default", "s")]


@pytest.mark.req("SCH-6", "REA-3")
@pytest.mark.first_answers
async def test_timers_of_schedules_that_are_gone_or_not_due_are_put_right(world: World) -> None:
    world.half_written = True
    await world.pool()
    made = await world.store.schedules.put(schedule())
    keys = world.connection.keys
    await world.redis("ZADD", keys.due, 1, "cron:default:s:0", 1, "cron:default:gone:0")
    due = await world.store.timers.due(most=9)
    assert (due.handled, due.schedules) == (2, [])
    assert await world.redis("ZRANGE", keys.due, 0, -1) == ["cron:default:s:0"]
    assert int(await world.redis("ZSCORE", keys.due, "cron:default:s:0")) == made.next_fire_at_ms


# ---------------------------------------------------------------- overlap


@pytest.mark.req("SCH-6")
@pytest.mark.first_answers
@pytest.mark.parametrize("state", [State.READY, State.RUNNING, State.PAUSED])
async def test_skip_makes_no_job_while_the_last_one_is_not_over(world: World, state: State) -> None:
    runner = await world.runner()
    await world.store.schedules.put(schedule())
    first = await fired(world, 1)
    assert first.job_id is not None
    if state is State.RUNNING:
        await runner.claim_one()
    if state is State.PAUSED:
        await world.store.steering.pause(first.job_id, by="me")
    second = await fired(world)
    assert (second.result, second.job_id) == (Fate.SKIPPED, first.job_id)
    shown = await world.store.schedules.get("default", "s")
    assert (await jobs(world), shown.counts.skipped) == ([first.job_id], 1)
    assert shown.last_fire_at_ms == second.fire_at_ms


@pytest.mark.req("SCH-6")
@pytest.mark.first_answers
async def test_skip_makes_the_next_job_when_the_last_one_is_over(world: World) -> None:
    runner = await world.runner()
    await world.store.schedules.put(schedule())
    await fired(world, 1)
    await runner.end(ending("settle", await runner.claim_one()))
    assert (await fired(world)).result is Fate.FIRED
    assert len(await jobs(world)) == 2


@pytest.mark.req("SCH-6")
@pytest.mark.first_answers
async def test_queue_makes_one_job_more(world: World) -> None:
    await world.pool()
    await world.store.schedules.put(schedule(overlap="queue"))
    made = [await fired(world, minutes) for minutes in (2, 1, 0)]
    assert [one.result for one in made] == [Fate.FIRED] * 3
    assert await world.states(await jobs(world)) == [State.QUEUED] * 3


@pytest.mark.req("SCH-6")
@pytest.mark.first_answers
@pytest.mark.parametrize("runs", [True, False])
async def test_replace_cancels_the_last_job_in_the_same_call(world: World, *, runs: bool) -> None:
    runner = await world.runner(slots=2)
    await world.store.schedules.put(schedule(overlap="replace"))
    first = await fired(world, 1)
    if runs:
        await runner.claim_one()
    second = await fired(world)
    assert first.job_id is not None
    assert second.job_id is not None
    assert await world.state(first.job_id) is State.CANCELED
    assert await world.state(second.job_id) is State.READY
    told = (await world.ledger(first.job_id))[-1].payload
    assert (told["by"], told["note"]) == ("schedule:s", f"replaced by {second.job_id}")
    inbox = await world.redis("XRANGE", world.connection.keys.inbox(runner.runner_id), "-", "+")
    assert [entry["what"] for _, entry in inbox] == (["cancel"] if runs else [])


# ---------------------------------------------------------------- what admission says


@pytest.mark.req("SCH-6", "ADM-1", "ADM-2")
@pytest.mark.first_answers
@pytest.mark.parametrize("overlap", ["queue", "replace"])
async def test_a_refused_job_is_told_of_on_the_schedule_and_its_time_is_over(
    world: World, overlap: str
) -> None:
    await world.pool()
    await world.store.schedules.put(schedule(overlap=overlap))
    first = await fired(world, 1)
    world.bounds = Bounds(1)
    second = await fired(world)
    assert (second.result, second.code, second.job_id) == (
        Fate.REFUSED, ErrorCode.QUEUE_FULL, None,
    )  # fmt: skip
    shown = await world.store.schedules.get("default", "s")
    assert (shown.last, shown.counts.refused) == (second, 1)
    assert (shown.last_job_id, await world.states(await jobs(world))) == (
        first.job_id, [State.QUEUED],
    )  # fmt: skip


@pytest.mark.req("SCH-6")
async def test_a_template_that_is_no_longer_allowed_is_refused_and_its_times_go_on(
    world: World,
) -> None:
    await world.pool()
    await world.store.schedules.put(schedule(spec=spec(priority="interactive")))
    at_ms = await due_since(world, 0)
    table = await read(world)
    world.policy = type(world.policy)(world.policy.classes[1:], "batch", strict=False, aging_ms=1)
    made = await carry_out(world, table)
    assert made is not None
    assert (made.result, made.code) == (Fate.REFUSED, ErrorCode.INVALID_SPEC)
    shown = await world.store.schedules.get("default", "s")
    assert shown.next_fire_at_ms == at_ms + MINUTE_MS


# ---------------------------------------------------------------- runs that were missed


@pytest.mark.req("SCH-6")
@pytest.mark.first_answers
@pytest.mark.parametrize(
    ("policy", "away", "made", "missed"),
    [
        ("last", 7, 1, 7),
        ("all", 7, 8, 0),
        ("all", MISSED_RUNS_MAX + 50, MISSED_RUNS_MAX, 1),
        ("last", MISSED_RUNS_MAX + 50, 1, MISSED_RUNS_MAX),
    ],
)
async def test_missed_runs_are_made_up_for_as_the_schedule_says(
    world: World, policy: str, away: int, made: int, missed: int
) -> None:
    await world.pool()
    await world.store.schedules.put(schedule(overlap="queue", missed_runs=policy))
    started = await due_since(world, away)
    while (table := await read(world)).next_ms is not None and table.next_ms <= table.read_at_ms:
        assert await carry_out(world, table) is not None
    shown = await world.store.schedules.get("default", "s")
    late = ((await world.now_ms()) // MINUTE_MS * MINUTE_MS - started) // MINUTE_MS - away
    assert len(await jobs(world)) - late * (policy == "all") in {made, made + late}
    assert shown.counts.missed in {missed, missed + late}


@pytest.mark.req("SCH-6")
@pytest.mark.first_answers
async def test_a_schedule_that_skips_missed_runs_makes_none_that_is_late(world: World) -> None:
    await world.pool()
    await world.store.schedules.put(schedule(cron="0 0 1 1 *", missed_runs="skip"))
    keys = world.connection.keys
    new_year = 1_767_225_600_000  # 2026-01-01T00:00Z
    await world.redis("HSET", keys.schedule("default", "s"), "next", new_year)
    made = await carry_out(world, await read(world))
    assert made is not None
    assert (made.result, made.job_id, await jobs(world)) == (Fate.MISSED, None, [])
    shown = await world.store.schedules.get("default", "s")
    assert (shown.counts.missed >= 1, shown.counts.fired) == (True, 0)
    assert (shown.next_fire_at_ms or 0) > await world.now_ms()


@pytest.mark.req("SCH-6")
@pytest.mark.first_answers
async def test_the_last_time_before_the_end_is_carried_out_and_none_is_set_after_it(
    world: World,
) -> None:
    await world.pool()
    end_at_ms = await world.now_ms() + 2 * MINUTE_MS
    await world.store.schedules.put(schedule(missed_runs="last", end_at_ms=end_at_ms))
    table = await read(world)
    spec_now = table.spec.model_copy(update={"end_at_ms": table.read_at_ms})
    at_ms = await due_since(world, 0)
    over = firing_of(spec_now, expected_ms=at_ms, now_ms=table.read_at_ms + MINUTE_MS)
    assert over is not None
    assert over.next_at_ms is None
    assert await world.store.schedules.fire(await read(world), over) is not None
    shown = await world.store.schedules.get("default", "s")
    assert (shown.next_fire_at_ms, shown.last_fire_at_ms) == (None, at_ms)
    assert await world.store.timers.due(most=9) == (0, -1, ())


@pytest.mark.req("SCH-6")
@pytest.mark.first_answers
async def test_a_changed_schedule_does_not_come_again_at_a_time_it_had(world: World) -> None:
    """The clock went back after a time was carried out."""
    await world.pool()
    await world.store.schedules.put(schedule())
    ahead = (await world.now_ms() // MINUTE_MS + 5) * MINUTE_MS
    await world.redis("HSET", world.connection.keys.schedule("default", "s"), "last", ahead)
    changed = await world.store.schedules.put(schedule(cron="*/1 * * * *"))
    assert changed.next_fire_at_ms == ahead + MINUTE_MS
