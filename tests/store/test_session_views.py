"""Which sessions have live jobs, in pages, and who runs or waits in one."""

from __future__ import annotations

import pytest

from contracts.errors import ErrorCode, Refused
from contracts.states import State
from tests.store.world import World, ending, spec


async def test_a_session_shows_who_runs_who_waits_in_order_and_who_else_lives(world: World) -> None:
    runner = await world.runner(slots=1)
    await world.ask(*(spec(id=one, session="chat") for one in ("asks", "runs", "third")))
    (offer,) = (await runner.cycle()).offers
    await runner.cycle(ending("ask", offer))
    await world.ask(spec(id="next", session="chat", session_policy="interrupt"))
    found = await world.store.sessions.show("default", "chat")
    assert found.running == "runs"
    assert [(job.job_id, job.state) for job in found.jobs] == [
        ("runs", State.RUNNING),
        ("next", State.QUEUED),
        ("third", State.QUEUED),
        ("asks", State.BLOCKED),
    ]


async def test_a_session_without_a_live_job_is_not_found(world: World) -> None:
    await world.pool()
    await world.ask(spec(id="job", session="chat"))
    await world.store.steering.cancel("job", by="me")
    with pytest.raises(Refused) as refused:
        await world.store.sessions.show("default", "chat")
    assert refused.value.code is ErrorCode.NOT_FOUND
    page = await world.store.sessions.page(tenant=None, limit=9, cursor=None)
    assert (page.sessions, page.next_cursor) == ([], None)


async def test_sessions_are_listed_by_tenant_in_pages_the_youngest_first(world: World) -> None:
    await world.pool()
    for n in range(5):
        await world.ask(spec(session=f"s{n}", tenant="ab"[n % 2]))
    await world.ask(spec(session="s0", tenant="a"))
    names, cursor = [], None
    while True:
        page = await world.store.sessions.page(tenant=None, limit=2, cursor=cursor)
        names += [(one.session, one.live_jobs) for one in page.sessions]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert names == [("s0", 2), ("s4", 1), ("s3", 1), ("s2", 1), ("s1", 1)]
    of_b = await world.store.sessions.page(tenant="b", limit=9, cursor=None)
    assert [one.session for one in of_b.sessions] == ["s3", "s1"]
