"""Schedules in the store: what is kept of them, how they are held, fired by hand and mended."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.errors import ErrorCode, Refused
from contracts.limits import FIRE_AGAIN_MS, HOUR_MS, SCHEDULES_PER_TENANT_MAX
from contracts.record import Submitted
from contracts.schedules import Fate
from orch.core.asks import Ask
from orch.core.bounds import Bounds
from tests.store.timetables import due_since, fired, jobs, schedule
from tests.store.world import World, spec

# ---------------------------------------------------------------- what is kept


@pytest.mark.req("SCH-6")
async def test_a_schedule_is_shown_as_it_was_written_with_its_next_time_in_words(
    world: World,
) -> None:
    await world.pool()
    made = await world.store.schedules.put(
        schedule(cron="30 2 * * 1", time_zone="Europe/Berlin", overlap="queue", missed_runs="all")
    )
    assert (made.cron, made.time_zone, made.overlap, made.missed_runs) == (
        "30 2 * * 1", "Europe/Berlin", "queue", "all",
    )  # fmt: skip
    assert made.sentence == "At 02:30 on Monday"
    assert (made.revision, made.tenant, made.paused, made.last) == (1, "default", False, None)
    assert made.next_fire_at_ms is not None
    assert made.next_fire_at_ms > await world.now_ms()
    assert await world.store.schedules.get("default", "s") == made
    assert made.spec == spec()


@pytest.mark.req("SCH-6")
async def test_the_same_schedule_again_changes_nothing(world: World) -> None:
    await world.pool()
    first = await world.store.schedules.put(schedule())
    before = await world.contents()
    assert await world.store.schedules.put(schedule(), if_revision=0) == first
    assert await world.contents() == before


@pytest.mark.req("SCH-6", "ADM-6")
@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ({"cron": "61 * * * *"}, "cron"),
        ({"cron": "* * * * * *"}, "cron"),
        ({"cron": "@reboot"}, "cron"),
        ({"cron": "0 0 30 2 *"}, "cron"),
        ({"cron": "0 0 * * ²L"}, "cron"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"time_zone": "../../etc/passwd"}, "time_zone"),
        ({"end_at_ms": 1}, "end_at_ms"),
        ({"start_at_ms": 9, "end_at_ms": 8}, "end_at_ms"),
        ({"overlap": "perhaps"}, "overlap"),
        ({"colour": "red"}, "colour"),
        ({"spec": {"name": "x"}}, "spec.adapter"),
        ({"spec": spec(adapter={"name": "command", "config": {}})}, "spec.adapter.config.argv"),
        ({"spec": spec(id="one")}, "spec.id"),
        ({"spec": spec(idempotency_key="one")}, "spec.idempotency_key"),
        ({"spec": spec(deadline_ms=4_000_000_000_000)}, "spec.deadline_ms"),
        ({"spec": spec(not_before_ms=1)}, "spec.not_before_ms"),
        ({"spec": spec(pool="nowhere")}, "spec.pool"),
        ({"spec": spec(priority="royal")}, "spec.priority"),
    ],
)
async def test_what_is_no_schedule_is_refused_by_name_and_nothing_is_stored(
    world: World, keys: dict[str, Any], path: str
) -> None:
    await world.pool()
    before = await world.contents()
    with pytest.raises(Refused) as caught:
        await world.store.schedules.put(schedule(**keys))
    assert caught.value.code is ErrorCode.INVALID_SPEC
    assert (caught.value.details or {})["path"] == path
    assert await world.contents() == before


@pytest.mark.req("SCH-6")
async def test_a_change_that_expects_another_revision_is_refused(world: World) -> None:
    await world.pool()
    put = world.store.schedules.put
    await put(schedule())
    changed = await put(schedule(cron="@daily"), if_revision=1)
    for wrong in (0, 1, 3):
        with pytest.raises(Refused) as caught:
            await put(schedule(cron="@weekly"), if_revision=wrong)
        assert caught.value.code is ErrorCode.REVISION_CONFLICT
        assert (caught.value.details or {})["revision"] == 2
    assert await world.store.schedules.get("default", "s") == changed


@pytest.mark.req("SCH-6")
async def test_a_tenant_has_so_many_schedules_and_no_more(world: World) -> None:
    world.half_written = True
    await world.pool()
    listed = world.connection.keys.schedules("default")
    rows = [word for n in range(SCHEDULES_PER_TENANT_MAX) for word in (n, f"x{n}")]
    await world.redis("ZADD", listed, *rows)
    await world.redis("SADD", world.connection.keys.tenants, "default")
    with pytest.raises(Refused, match="has 1000 schedules"):
        await world.store.schedules.put(schedule())
    assert await world.redis("EXISTS", world.connection.keys.schedule("default", "s")) == 0


@pytest.mark.req("SCH-6")
async def test_schedules_are_listed_newest_first_page_by_page_and_by_tenant(world: World) -> None:
    await world.pool()
    for n in range(3):
        await world.store.schedules.put(schedule(f"s{n}"))
    await world.store.schedules.put(schedule("other", spec=spec(tenant="acme")))
    page = world.store.schedules.page
    first = await page(tenant="default", limit=2, cursor=None)
    assert [one.schedule_id for one in first.schedules] == ["s2", "s1"]
    rest = await page(tenant="default", limit=2, cursor=first.next_cursor)
    assert ([one.schedule_id for one in rest.schedules], rest.next_cursor) == (["s0"], None)
    everyone = await page(tenant=None, limit=9, cursor=None)
    assert [one.schedule_id for one in everyone.schedules] == ["other", "s2", "s1", "s0"]


@pytest.mark.req("SCH-6")
async def test_a_paused_schedule_has_no_time_and_a_resumed_one_goes_on_from_now(
    world: World,
) -> None:
    await world.pool()
    await world.store.schedules.put(schedule())
    await due_since(world, 30)
    paused = await world.store.schedules.pause("default", "s")
    assert (paused.paused, paused.next_fire_at_ms) == (True, None)
    assert await world.store.timers.due(most=9) == (0, -1, ())
    again = await world.store.schedules.pause("default", "s")
    assert again.revision == paused.revision
    resumed = await world.store.schedules.resume("default", "s")
    assert (resumed.paused, resumed.revision) == (False, paused.revision + 1)
    assert resumed.next_fire_at_ms is not None
    assert resumed.next_fire_at_ms > await world.now_ms()


@pytest.mark.req("SCH-6")
async def test_a_deleted_schedule_leaves_its_jobs_and_nothing_else(world: World) -> None:
    await world.pool()
    before = set(await world.contents())
    await world.store.schedules.put(schedule())
    job = await fired(world)
    await world.store.schedules.delete("default", "s")
    left = set(await world.contents()) - before
    assert not [name for name in left if "schedule" in name or name.endswith(":due")]
    assert await jobs(world) == [job.job_id]
    with pytest.raises(Refused) as caught:
        await world.store.schedules.delete("default", "s")
    assert caught.value.code is ErrorCode.NOT_FOUND


# ---------------------------------------------------------------- by hand


@pytest.mark.req("SCH-6")
@pytest.mark.first_answers
async def test_a_schedule_fired_by_hand_makes_a_job_and_keeps_its_times(world: World) -> None:
    await world.pool()
    before = await world.store.schedules.put(schedule(overlap="queue"))
    made = await world.store.schedules.fire_now("default", "s")
    again = await world.store.schedules.fire_now("default", "s")
    assert (made.result, made.by_hand) == (Fate.FIRED, True)
    assert await jobs(world) == [made.job_id, again.job_id]
    after = await world.store.schedules.get("default", "s")
    assert (after.next_fire_at_ms, after.last_fire_at_ms) == (before.next_fire_at_ms, None)


@pytest.mark.req("SCH-6")
@pytest.mark.first_answers
async def test_by_hand_the_overlap_and_admission_have_their_say(world: World) -> None:
    await world.pool()
    await world.store.schedules.put(schedule(paused=True))
    made = await world.store.schedules.fire_now("default", "s")
    skipped = await world.store.schedules.fire_now("default", "s")
    assert (skipped.result, skipped.job_id) == (Fate.SKIPPED, made.job_id)
    await world.store.schedules.put(schedule(overlap="queue"))
    world.bounds = Bounds(0)
    with pytest.raises(Refused) as caught:
        await world.store.schedules.fire_now("default", "s")
    assert caught.value.code is ErrorCode.QUEUE_FULL
    assert (await world.store.schedules.get("default", "s")).counts.refused == 1


@pytest.mark.req("SCH-6", "JOB-3")
@pytest.mark.first_answers
async def test_a_fire_under_a_used_key_is_the_first_one_and_changes_nothing(world: World) -> None:
    await world.pool()
    await world.store.schedules.put(schedule(overlap="replace"))
    made = await world.store.schedules.fire_now("default", "s", key="k1")
    later = await world.store.schedules.fire_now("default", "s", key="k2")
    assert (made.duplicate, later.duplicate) == (False, False)
    assert later.job_id != made.job_id
    before = await world.contents()
    again = await world.store.schedules.fire_now("default", "s", key="k1")
    assert again == made.model_copy(update={"duplicate": True})
    assert await world.contents() == before
    assert (await world.store.schedules.get("default", "s")).last_job_id == later.job_id


@pytest.mark.req("SCH-6", "JOB-3")
@pytest.mark.first_answers
async def test_a_key_that_stands_for_something_else_makes_nothing_and_says_so(world: World) -> None:
    await world.pool()
    for name in ("s", "other"):
        await world.store.schedules.put(schedule(name, overlap="queue"))
    made = await world.store.schedules.fire_now("default", "s", key="k1")
    (own,) = await world.store.admission.admit([Ask(spec(), "k2")])
    assert isinstance(own, Submitted)
    changed = schedule(overlap="queue", spec=spec(objective="another"))

    async def refused(schedule_id: str, key: str) -> str:
        before = await world.contents()
        with pytest.raises(Refused) as caught:
            await world.store.schedules.fire_now("default", schedule_id, key=key)
        assert caught.value.code is ErrorCode.IDEMPOTENCY_CONFLICT
        assert {"digest", "other_digest"} <= set(caught.value.details or {})
        assert await world.contents() == before
        return str((caught.value.details or {})["job_id"])

    assert await refused("other", "k1") == made.job_id, "the same template, but another schedule's"
    assert await refused("s", "k2") == own.job_id, "the same content, but submitted"
    await world.store.schedules.put(changed)
    assert await refused("s", "k1") == made.job_id, "its template has changed"


@pytest.mark.req("SCH-6", "JOB-3")
@pytest.mark.first_answers
async def test_a_fire_that_made_no_job_leaves_its_key_free(world: World) -> None:
    await world.pool()
    await world.store.schedules.put(schedule())
    await world.store.schedules.fire_now("default", "s")
    skipped = await world.store.schedules.fire_now("default", "s", key="k1")
    assert (skipped.result, skipped.duplicate) == (Fate.SKIPPED, False)
    await world.store.schedules.put(schedule(overlap="queue"))
    made = await world.store.schedules.fire_now("default", "s", key="k1")
    assert (made.result, made.duplicate) == (Fate.FIRED, False)


@pytest.mark.req("SCH-6")
async def test_a_schedule_that_nobody_knows_is_not_found(world: World) -> None:
    calls = world.store.schedules
    for act in (calls.get, calls.pause, calls.resume, calls.delete, calls.fire_now):
        with pytest.raises(Refused) as caught:
            await act("default", "nobody")
        assert caught.value.code is ErrorCode.NOT_FOUND
    assert await calls.due("default", "nobody") is None


# ---------------------------------------------------------------- repair


@pytest.mark.req("SCH-6", "REA-3")
@pytest.mark.first_answers
async def test_a_lost_timer_and_a_lost_list_are_put_back_from_the_schedule(world: World) -> None:
    await world.pool()
    await world.store.schedules.put(schedule())
    await world.store.schedules.put(schedule("held", paused=True))
    before = await world.contents()
    keys = world.connection.keys
    await world.redis("DEL", keys.due, keys.schedules("default"))
    await world.redis("ZADD", keys.schedules("default"), 9, "gone")
    page = await world.store.repairs.page("0", most=1_000)
    found = sorted((one.index, one.name) for one in page.repairs)
    assert found == [
        ("due", "default:s"),
        ("schedules", "default:gone"),
        ("schedules", "default:held"),
        ("schedules", "default:s"),
    ]
    after = await world.contents()
    assert (after[keys.due], after[keys.schedules("default")]) == (
        before[keys.due], before[keys.schedules("default")],
    )  # fmt: skip


@pytest.mark.req("SCH-6", "REA-3", "LSE-6")
@pytest.mark.first_answers
async def test_a_schedule_that_was_handed_out_by_a_clock_that_was_ahead_is_not_left_until_then(
    world: World,
) -> None:
    await world.pool()
    await world.store.schedules.put(schedule())
    name, at_ms = "cron:default:s:0", await due_since(world, 1)
    keys, now_ms = world.connection.keys, await world.now_ms()
    await world.redis("ZADD", keys.due, now_ms + FIRE_AGAIN_MS // 2, name)
    assert (await world.store.repairs.page("0", most=1_000)).repairs == [], "it is in hand"
    await world.redis("ZADD", keys.due, now_ms + HOUR_MS, name)
    page = await world.store.repairs.page("0", most=1_000)
    assert [(one.index, one.name) for one in page.repairs] == [("due", "default:s")]
    assert int(await world.redis("ZSCORE", keys.due, name)) == at_ms
