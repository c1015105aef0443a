"""The runner's calls: when one is made, what it brings and takes; nothing is told twice or not at all."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from contracts.errors import ErrorCode, Refused
from tests.actors import bodies
from tests.actors.bodies import Board
from tests.actors.runner_stage import NoLeases, a_life, inline, settled, until


@pytest.fixture
def board() -> Board:
    bodies.board = Board()
    return bodies.board


@pytest.mark.req("RUN-1")
async def test_bodies_run_while_the_store_is_told_of_others(tmp_path: Path, board: Board) -> None:
    specs = [inline("quick", n) for n in range(320)]
    async with a_life(tmp_path, *specs, slots=64) as stage:
        await until(lambda: len(stage.claims.calls) == 1)
        stage.claims.gate = gate = anyio.Event()
        await until(lambda: len(board.ended) == 64)
        second = stage.claims.calls[1]
        # It left when half of the slots were free, and asks for as many jobs as it brings endings.
        assert 32 <= len(second.endings) == second.free < 64
        await settled()
        assert len(stage.claims.calls) == 2
        gate.set()
        await until(lambda: len(stage.claims.ended) == 320)
    sizes = [len(call.endings) for call in stage.claims.calls]
    assert max(sizes) <= 64
    assert len(sizes) <= 14


@pytest.mark.req("RUN-1")
async def test_an_end_is_told_at_once_while_others_still_run(tmp_path: Path, board: Board) -> None:
    specs = [inline("gated", n) for n in range(100)]
    async with a_life(tmp_path, *specs, slots=100) as stage:
        await until(lambda: len(board.began) == 100)
        board.gate(7).set()
        await stage.claims.result("job7")
        assert len(stage.claims.calls) == 2


@pytest.mark.req("RUN-1")
async def test_an_end_does_not_wait_for_a_body_that_began_after_it(
    tmp_path: Path, board: Board
) -> None:
    specs = [inline("quick", n) for n in range(4)] + [inline("gated", n) for n in range(4, 8)]
    for slots in (8, 64):
        board.began.clear()
        async with a_life(tmp_path, *specs, slots=slots) as stage:
            await until(lambda: len(stage.claims.ended) == 4)
            assert board.began == list(range(8))


@pytest.mark.req("RUN-1")
async def test_nobody_calls_without_a_reason(tmp_path: Path, board: Board) -> None:
    async with a_life(tmp_path, inline("quick", 0), slots=100) as stage:
        await stage.claims.result("job0")
        await settled()
        assert [(one.free, len(one.endings)) for one in stage.claims.calls] == [(100, 0), (100, 1)]
        stage.claims.specs.append(inline("gated", 1))
        stage.token()
        await until(lambda: board.began == [0, 1])
        await settled()
        assert len(stage.claims.calls) == 3


@pytest.mark.req("RUN-1")
async def test_a_line_that_filled_all_slots_is_asked_again_as_soon_as_one_is_free(
    tmp_path: Path, board: Board
) -> None:
    async with a_life(tmp_path, *[inline("gated", n) for n in range(3)], slots=2):
        await until(lambda: board.began == [0, 1])
        board.gate(0).set()
        await until(lambda: board.began == [0, 1, 2])


@pytest.mark.req("RUN-1")
async def test_a_token_that_comes_during_a_call_is_heard_after_it(
    tmp_path: Path, board: Board
) -> None:
    async with a_life(tmp_path, slots=2) as stage:
        stage.claims.gate = gate = anyio.Event()
        await until(lambda: len(stage.claims.calls) == 1)
        stage.token()
        await settled()
        gate.set()
        await until(lambda: len(stage.claims.calls) == 2)


@pytest.mark.req("LSE-2")
async def test_a_call_whose_answer_was_lost_is_made_again_and_nothing_is_done_twice(
    tmp_path: Path, board: Board
) -> None:
    specs = [inline("quick", n) for n in range(6)]
    async with a_life(tmp_path, *specs, slots=2) as stage:
        stage.claims.lost = 2
        await until(lambda: len(stage.claims.ended) == 6)
        await settled()
    assert board.began == list(range(6))
    assert [one.number for one in stage.claims.calls][:4] == [1, 1, 1, 2]


@pytest.mark.req("LSE-2")
async def test_endings_that_were_not_acknowledged_go_to_the_next_life(
    tmp_path: Path, board: Board
) -> None:
    specs = inline("gated", 0), inline("gated", 1)
    async with a_life(tmp_path, *specs, slots=2) as stage:
        await until(lambda: len(board.began) == 2)
        stage.claims.buried = True
        board.gate(0).set()
        await stage.over.wait()
    told = {one.job_id: one.verb for one in stage.life.undelivered()}
    assert told == {"job0": "settle", "job1": "handback"}


@pytest.mark.req("LSE-1")
async def test_a_life_whose_registration_comes_after_its_burial_ends_before_it_claims(
    tmp_path: Path, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def buried(*_: object, **__: object) -> None:
        raise Refused(ErrorCode.LEASE_OVER, "runner-1 was buried")

    monkeypatch.setattr(NoLeases, "register", buried)
    async with a_life(tmp_path, inline("quick", 0)) as stage:
        await stage.over.wait()
    assert (stage.claims.calls, board.began, stage.stop.wished) == ([], [], False)


@pytest.mark.req("LSE-2")
async def test_a_burial_is_heard_in_the_middle_of_the_heaviest_load(
    tmp_path: Path, board: Board
) -> None:
    # Every call brings as much as it asked for, so the next one is due at once.
    specs = [inline("quick", n) for n in range(20_000)]
    async with a_life(tmp_path, *specs, slots=20) as stage:
        await until(lambda: len(stage.claims.calls) > 10)
        stage.life.over()
        await stage.over.wait()
    assert stage.claims.specs


@pytest.mark.req("RUN-6")
async def test_a_runner_that_is_told_to_stop_begins_nothing_and_ends_what_runs(
    tmp_path: Path, board: Board
) -> None:
    specs = [inline("gated", n) for n in range(3)]
    async with a_life(tmp_path, *specs, slots=2) as stage:
        await until(lambda: len(board.began) == 2)
        stage.stop.event.set()
        await settled()
        board.gate(0).set()
        board.gate(1).set()
        await stage.over.wait()
    assert {one.verb for one in stage.claims.ended.values()} == {"settle"}
    assert len(stage.claims.specs) == 1
    assert stage.life.undelivered() == []


@pytest.mark.req("RUN-6")
async def test_what_no_lane_had_begun_when_the_runner_leaves_goes_back(
    tmp_path: Path, board: Board
) -> None:
    specs = [inline("gated", n) for n in range(4)]
    async with a_life(tmp_path, *specs, slots=4, grace_ms=10) as stage:
        await until(lambda: stage.life.attempts)
        stage.stop.event.set()
        await stage.over.wait()
    assert [one.verb for one in stage.claims.ended.values()] == ["handback"] * 4
    # The lane that had been woken already.
    assert board.began == [0]
