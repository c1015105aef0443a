"""A job that is claimed for a runner at rest: it begins before any call, once, never where it must not."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import anyio
import pytest

from orch.core.handover import Gone
from tests.actors import bodies
from tests.actors.bodies import Board
from tests.actors.runner_stage import Stage, a_life, inline, settled, until


@pytest.fixture
def board() -> Board:
    bodies.board = Board()
    return bodies.board


def _heard(stage: Stage, epoch: int) -> bool:
    return stage.claims.calls[-1].heard == epoch


@pytest.mark.req("RUN-1")
async def test_a_job_that_was_handed_over_begins_before_the_store_is_asked(
    tmp_path: Path, board: Board
) -> None:
    async with a_life(tmp_path) as stage:
        await until(lambda: len(stage.claims.calls) == 1)
        await settled()
        stage.claims.gate = anyio.Event()
        stage.hand(7, inline("quick", 0))
        await until(lambda: board.ended == [0])
        stage.claims.gate.set()
        await stage.claims.result("handed7")
        await settled()
    # One call told the end, and that it was heard of.
    assert [(one.heard, len(one.endings)) for one in stage.claims.calls[:2]] == [(0, 0), (7, 1)]


@pytest.mark.req("RUN-1")
async def test_who_works_on_what_was_handed_over_says_at_once_that_the_next_may_come(
    tmp_path: Path, board: Board
) -> None:
    async with a_life(tmp_path, slots=3) as stage:
        await until(lambda: len(stage.claims.calls) == 1)
        for n in (1, 2, 3):
            stage.hand(n, inline("gated", n))
            await until(partial(_heard, stage, n))
        assert [one.free for one in stage.claims.calls] == [3, 2, 1, 0]
        assert board.began == [1, 2, 3]


@pytest.mark.req("RUN-1", "LSE-1")
async def test_what_the_inbox_lost_is_told_by_the_next_call_and_what_is_told_twice_runs_once(
    tmp_path: Path, board: Board
) -> None:
    async with a_life(tmp_path) as stage:
        await until(lambda: len(stage.claims.calls) == 1)
        late = stage.claims.hand(7, inline("gated", 0))
        stage.token()
        await until(lambda: board.began == [0])
        stage.life._ear._heed(late, stage.tasks)
        await settled()
        assert board.began == [0]
        board.gate(0).set()
        await stage.claims.result("handed7")
        stage.life._ear._heed(late, stage.tasks)
        await settled()
    assert board.began == [0]


@pytest.mark.req("RUN-1", "LSE-1")
async def test_a_claim_that_was_over_before_it_was_heard_of_runs_nothing_and_goes_back(
    tmp_path: Path, board: Board
) -> None:
    async with a_life(tmp_path) as stage:
        await until(lambda: len(stage.claims.calls) == 1)
        stage.claims.handed = Gone("gone", "1.4.h", 4)
        stage.token()
        await until(lambda: any(one.endings for one in stage.claims.calls))
        told = [ending for one in stage.claims.calls for ending in one.endings]
        await settled()
    assert [(one.verb, one.job_id, one.claim) for one in told] == [("handback", "gone", "1.4.h")]
    assert board.began == []


@pytest.mark.req("RUN-6")
async def test_a_runner_that_leaves_says_so_first_and_gives_back_what_came_meanwhile(
    tmp_path: Path, board: Board
) -> None:
    async with a_life(tmp_path) as stage:
        await until(lambda: len(stage.claims.calls) == 1)
        stage.claims.hand(7, inline("quick", 0))
        stage.stop.event.set()
        await stage.over.wait()
    assert [one.free for one in stage.claims.calls[1:]] == [0] * (len(stage.claims.calls) - 1)
    assert stage.claims.ended["handed7"].verb == "handback"
    assert board.began == []


@pytest.mark.req("RUN-6")
async def test_a_runner_at_rest_does_not_wait_for_a_server_that_is_gone(
    tmp_path: Path, board: Board
) -> None:
    async with a_life(tmp_path, grace_ms=60_000) as stage:
        await until(lambda: len(stage.claims.calls) == 1)
        stage.claims.lost = 1_000
        stage.stop.event.set()
        with anyio.fail_after(10):
            await stage.over.wait()
