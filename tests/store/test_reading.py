"""What readers see: pages that lose and repeat nothing, views in every state, refusals with a reason."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from contracts.errors import ErrorCode, Refused
from contracts.states import State
from orch.core.asks import JobFilter, LetterFilter
from tests.store.test_steering import BRING
from tests.store.world import HOUR_MS, World, spec


@pytest.mark.req("JOB-2", "LSE-7")
@pytest.mark.parametrize("state", list(State))
async def test_a_job_is_shown_and_explained_in_every_state(world: World, state: State) -> None:
    await BRING[state](world)
    record = await world.store.reading.job("job")
    told = await world.store.reading.explain("job")
    assert (record.state, told.state, told.job_id) == (state, state, "job")
    assert (record.lease is not None) == (state is State.RUNNING)
    assert (record.question is not None) == (state is State.BLOCKED)
    assert (record.due_at_ms is not None) == (state is State.SCHEDULED)
    assert told.reason
    assert told.unblocks


async def pages(world: World, *, limit: int = 3, **keys: Any) -> list[list[str]]:
    """All pages of a list, each as job ids."""
    found, cursor = [], None
    while True:
        page = await world.store.reading.jobs(
            JobFilter(**keys),
            limit=limit,
            cursor=cursor,
        )
        found.append([job.job_id for job in page.jobs])
        cursor = page.next_cursor
        if cursor is None:
            return found


@pytest.mark.req("JOB-2")
async def test_pages_go_from_the_newest_on_and_lose_and_repeat_nothing(world: World) -> None:
    await world.pool()
    ids = [f"job{n}" for n in range(10)]
    for n, job_id in enumerate(ids):
        await world.submit(job_id, tenant="ab"[n % 2])
    await world.store.steering.cancel("job4", by="me")
    newest_first = ids[::-1]
    assert [one for page in await pages(world) for one in page] == newest_first
    assert [one for page in await pages(world, tenant="a") for one in page] == newest_first[1::2]
    assert [one for page in await pages(world, limit=500) for one in page] == newest_first
    assert [one for page in await pages(world, state=State.CANCELED) for one in page] == ["job4"]
    assert [one for page in await pages(world, tenant="nobody") for one in page] == []


@pytest.mark.req("JOB-4")
async def test_a_ledger_is_read_in_pages(world: World) -> None:
    await world.running("job")
    read = world.store.reading.ledger
    assert [event.seq for event in await read("job", after=0, limit=2)] == [1, 2]
    assert [event.seq for event in await read("job", after=2, limit=2)] == [3]
    assert await read("job", after=3, limit=2) == []


@pytest.mark.req("SEC-3")
@pytest.mark.parametrize(
    ("job_id", "code"),
    [
        ("nobody", ErrorCode.NOT_FOUND),
        ("a:b", ErrorCode.INVALID_ID),
        ("..", ErrorCode.INVALID_ID),
        ("x" * 65, ErrorCode.INVALID_ID),
        ("", ErrorCode.INVALID_ID),
        ("job\n", ErrorCode.INVALID_ID),
    ],
)
async def test_an_id_of_nobody_or_none_at_all_is_refused_at_every_door(
    world: World, job_id: str, code: ErrorCode
) -> None:
    reading, steering = world.store.reading, world.store.steering
    doors: list[Callable[[], Awaitable[object]]] = [
        lambda: reading.job(job_id),
        lambda: reading.question(job_id),
        lambda: reading.explain(job_id),
        lambda: reading.artifacts(job_id),
        lambda: reading.ledger(job_id, after=0, limit=1),
        lambda: reading.output(job_id, after=0, limit=1),
        lambda: steering.cancel(job_id, by="me"),
        lambda: steering.pause(job_id, by="me"),
        lambda: steering.resume(job_id, by="me"),
        lambda: world.store.questions.answer(job_id, "q1", "approve", by="me"),
    ]
    before = await world.contents()
    for door in doors:
        with pytest.raises(Refused) as refused:
            await door()
        assert refused.value.code is code
    assert await world.contents() == before


@pytest.mark.req("API-1")
async def test_every_filter_finds_its_jobs_and_all_given_must_fit(world: World) -> None:
    await world.pool()
    await world.pool("gpu")
    asked: list[dict[str, Any]] = [
        {"name": "red", "labels": {"team": "a", "kind": "x"}},
        {"name": "red", "labels": {"team": "b"}, "session": "s1"},
        {"name": "blue", "labels": {"team": "a"}, "pool": "gpu"},
        {"name": "blue", "tenant": "acme", "session": "s1"},
    ]
    for n, keys in enumerate(asked):
        await world.ask(spec(id=f"job{n}", **keys))

    async def found(**keys: Any) -> list[str]:
        return [one for page in await pages(world, limit=1, **keys) for one in page]

    assert await found(name="red") == ["job1", "job0"]
    assert await found(session="s1") == ["job3", "job1"]
    assert await found(pool="gpu") == ["job2"]
    assert await found(labels=(("team", "a"),)) == ["job2", "job0"]
    assert await found(labels=(("kind", "x"), ("team", "a"))) == ["job0"]
    assert await found(labels=(("team", "a"),), name="red", state=State.CANCELED) == []
    assert await found(tenant="acme", name="red") == []


@pytest.mark.req("API-1")
async def test_a_list_of_a_time_begins_and_ends_at_that_time(world: World) -> None:
    await world.pool()
    key = world.connection.keys.job
    for n in range(6):
        await world.ask(spec(id=f"job{n}"))
        await world.redis("HSET", key(f"job{n}"), "made_at", 1_000_000_000 + n * 4 * HOUR_MS)

    def at(n: int) -> int:
        return 1_000_000_000 + n * 4 * HOUR_MS

    async def found(**keys: Any) -> list[str]:
        return [one for page in await pages(world, **keys) for one in page]

    assert await found(created_from_ms=at(3)) == ["job5", "job4", "job3"]
    assert await found(created_to_ms=at(2)) == ["job1", "job0"]
    assert await found(created_from_ms=at(2), created_to_ms=at(4)) == ["job3", "job2"]
    assert await found(created_from_ms=at(9)) == []


@pytest.mark.req("API-1")
async def test_a_page_ends_where_enough_was_looked_at_and_its_cursor_goes_on(world: World) -> None:
    await world.pool()
    await world.ask(spec(id="wanted", name="wanted"))
    await world.ask(*(spec(id=f"job{n}") for n in range(1_000)))
    await world.ask(*(spec(id=f"more{n}", inputs={"fat": "x" * 40_000}) for n in range(450)))

    found = await pages(world, limit=500, name="wanted")

    assert found == [[], ["wanted"]], "16 MiB of specs end the first page"


@pytest.mark.req("API-1")
async def test_a_cursor_is_good_for_the_list_it_came_from_and_for_no_other(world: World) -> None:
    await world.pool()
    for n in range(4):
        await world.ask(spec(id=f"job{n}"))
    jobs, letters = world.store.reading.jobs, world.store.dead_letters.page
    cursor = (await jobs(JobFilter(), limit=2, cursor=None)).next_cursor
    foreign = [
        jobs(JobFilter(tenant="default"), limit=2, cursor=cursor),
        letters(LetterFilter(), limit=2, cursor=cursor),
    ]
    for asked in foreign:
        with pytest.raises(Refused) as refused:
            await asked
        assert refused.value.code is ErrorCode.INVALID_REQUEST
    assert len((await jobs(JobFilter(), limit=9, cursor=cursor)).jobs) == 2, (
        "a page of another size"
    )

    await world.redis("HSET", world.connection.keys.meta, "arrivals", 1)  # the data went back
    with pytest.raises(Refused) as refused:
        await jobs(JobFilter(), limit=2, cursor=cursor)
    assert refused.value.code is ErrorCode.EXPIRED_CURSOR


@pytest.mark.req("API-1")
async def test_a_record_s_tag_changes_with_its_ledger_and_with_nothing_else(world: World) -> None:
    await world.running("job")
    record, tag = await world.store.reading.tagged("job")
    assert (record, tag) == await world.store.reading.tagged("job")
    await world.store.steering.cancel("job", by="me")
    assert (await world.store.reading.tagged("job"))[1] != tag


@pytest.mark.req("API-1")
@pytest.mark.parametrize("cursor", ["?", "bm8", "é", "", "MS4wLjA", "x" * 64, "MQ"])
async def test_a_cursor_of_nobody_is_refused(world: World, cursor: str) -> None:
    await world.pool()
    await world.ask(spec(id="job"))
    with pytest.raises(Refused) as refused:
        await world.store.reading.jobs(JobFilter(), limit=3, cursor=cursor)
    assert refused.value.code is ErrorCode.INVALID_REQUEST
