"""What readers see: pages that lose and repeat nothing, views in every state, refusals with a reason."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from contracts.errors import ErrorCode, Refused
from contracts.states import State
from tests.store.test_steering import BRING
from tests.store.world import World, spec


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


async def pages(world: World, **keys: object) -> list[list[str]]:
    """All pages of a list, each as job ids."""
    found, cursor = [], None
    while True:
        page = await world.store.reading.jobs(
            **{"tenant": None, "state": None, "limit": 3, **keys},  # type: ignore[arg-type]  # the test's own words
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


@pytest.mark.req("JOB-2")
async def test_a_cursor_of_nobody_is_refused(world: World) -> None:
    await world.pool()
    await world.ask(spec(id="job"))
    for cursor in ("?", "bm8", "é"):
        with pytest.raises(Refused) as refused:
            await world.store.reading.jobs(tenant=None, state=None, limit=3, cursor=cursor)
        assert refused.value.code is ErrorCode.INVALID_REQUEST
