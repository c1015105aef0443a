"""Dead letters: listed with their reason, replayed once, both jobs naming each other."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.errors import ErrorCode
from contracts.events import EventType
from contracts.record import Replayed
from contracts.states import State
from orch.core.asks import LetterFilter
from tests.store.world import World, ending

REASON = {"last": "transient", "reason": "attempts_used"}


async def dead(world: World, *job_ids: str, **keys: Any) -> None:
    for job_id in job_ids:
        runner, offer = await world.running(job_id, **keys)
        await runner.end(ending("release", offer))
        await world.decide(job_id, "fail", payload=REASON)


async def replay(world: World, *job_ids: str) -> list[Replayed]:
    return await world.store.dead_letters.replay(job_ids, by="ops")


@pytest.mark.req("FBK-4")
async def test_a_dead_letter_is_listed_with_why_it_was_given_up(world: World) -> None:
    await dead(world, "one", "two")
    page = await world.store.dead_letters.page(LetterFilter(), limit=10, cursor=None)
    assert [(one.job_id, one.reason) for one in page.dead_letters] == [
        ("two", "attempts_used"),
        ("one", "attempts_used"),
    ]
    assert (await world.store.reading.job("one")).reason == "attempts_used"


@pytest.mark.req("FBK-4")
async def test_pages_of_dead_letters_lose_none_that_died_together(world: World) -> None:
    await dead(world, *(f"j{n}" for n in range(5)))
    seen: list[str] = []
    cursor = None
    while True:
        page = await world.store.dead_letters.page(LetterFilter(), limit=2, cursor=cursor)
        seen += [one.job_id for one in page.dead_letters]
        if (cursor := page.next_cursor) is None:
            break
    assert seen == ["j4", "j3", "j2", "j1", "j0"]


@pytest.mark.req("FBK-4")
async def test_a_filter_leaves_out_other_tenants_pools_and_reasons(world: World) -> None:
    await dead(world, "one")
    letters = world.store.dead_letters
    for which in (
        LetterFilter(tenant="other"),
        LetterFilter(pool="other"),
        LetterFilter(reason="poison"),
    ):
        assert (await letters.page(which, limit=10, cursor=None)).dead_letters == []
    fitting = LetterFilter(tenant="default", pool="default", reason="attempts_used")
    assert len((await letters.page(fitting, limit=10, cursor=None)).dead_letters) == 1


@pytest.mark.req("FBK-4")
@pytest.mark.drives("replayed")
async def test_a_replay_is_a_new_job_and_both_name_each_other(world: World) -> None:
    await dead(world, "old")
    (made,) = await replay(world, "old")
    assert made.replayed_as is not None
    old, new = await world.store.reading.job("old"), await world.store.reading.job(made.replayed_as)
    assert (old.state, old.replayed_as) == (State.FAILED, new.job_id)
    assert (new.state, new.replay_of, new.attempt) == (State.READY, "old", 0)
    events = await world.store.reading.ledger("old", after=0, limit=100)
    assert (events[-1].type, events[-1].payload) == (
        EventType.REPLAYED,
        {"as": new.job_id, "by": "ops"},
    )
    first = (await world.store.reading.ledger(new.job_id, after=0, limit=1))[0]
    assert first.payload["replay_of"] == "old"
    page = await world.store.dead_letters.page(LetterFilter(), limit=10, cursor=None)
    assert page.dead_letters == []


@pytest.mark.req("FBK-4")
async def test_a_letter_is_replayed_once_and_answers_with_the_job_it_became(world: World) -> None:
    await dead(world, "old")
    (first,) = await replay(world, "old")
    before = await world.contents()
    assert await replay(world, "old", "old") == [first, first]
    assert await world.contents() == before


@pytest.mark.req("FBK-4", "ADM-6")
async def test_what_is_no_dead_letter_is_refused_and_costs_the_others_nothing(world: World) -> None:
    await dead(world, "old")
    await world.submit("alive")
    unknown, alive, made = await replay(world, "nobody", "alive", "old")
    assert unknown.error is not None
    assert unknown.error.code is ErrorCode.NOT_FOUND
    assert alive.error is not None
    assert alive.error.code is ErrorCode.INVALID_TRANSITION
    assert made.replayed_as is not None
