"""The lanes: what runs, in which order, side by side, and what a stop hits and what it does not."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from tests.actors import bodies
from tests.actors.bodies import Board
from tests.actors.runner_stage import Stage, a_life, inline, settled, until


@pytest.fixture
def board() -> Board:
    bodies.board = Board()
    return bodies.board


def outcomes(stage: Stage) -> dict[str, tuple[str, str]]:
    """Of what the store was told: job id -> verb and outcome."""
    ended = stage.claims.ended.items()
    return {job_id: (one.verb, one.payload["outcome"]) for job_id, one in ended}


@pytest.mark.req("RUN-1")
async def test_jobs_begin_in_the_order_of_the_line(tmp_path: Path, board: Board) -> None:
    specs = [inline("quick", n) for n in range(50)]
    async with a_life(tmp_path, *specs, slots=20) as stage:
        await until(lambda: len(stage.claims.ended) == 50)
    assert board.began == list(range(50))
    assert set(outcomes(stage).values()) == {("settle", "done")}
    assert [int(stage.claims.ended[f"job{n}"].data) for n in range(50)] == list(range(50))


@pytest.mark.req("RUN-1")
async def test_bodies_that_wait_run_in_all_slots_side_by_side(tmp_path: Path, board: Board) -> None:
    mixed = [inline("quick" if n % 3 else "gated", n) for n in range(300)]
    async with a_life(tmp_path, *mixed, slots=100) as stage:
        await until(lambda: len(board.began) - len(board.ended) == 100)
        for n in range(300):
            board.gate(n).set()
        await until(lambda: len(stage.claims.ended) == 300)


@pytest.mark.req("RUN-4")
async def test_a_stop_hits_its_attempt_and_no_other(tmp_path: Path, board: Board) -> None:
    specs = [inline("gated", n) for n in range(4)]
    async with a_life(tmp_path, *specs, slots=3) as stage:
        await until(lambda: len(board.began) == 3)
        stage.life.attempts["1.1.x"].cancel()
        # Its lane takes the next one, in a scope of its own.
        await until(lambda: len(board.began) == 4)
        for n in range(4):
            board.gate(n).set()
        await until(lambda: len(stage.claims.ended) == 4)
    assert outcomes(stage)["job1"] == ("release", "canceled")
    assert sorted(board.ended) == [0, 2, 3]


@pytest.mark.req("RUN-4")
async def test_a_stop_that_comes_after_the_end_does_not_hit_the_lane_s_next(
    tmp_path: Path, board: Board
) -> None:
    async with a_life(tmp_path, inline("gated", 0), inline("gated", 1), slots=1) as stage:
        await until(lambda: board.began == [0])
        first = stage.life.attempts["1.0.x"]
        board.gate(0).set()
        await until(lambda: board.began == [0, 1])
        first.refused()
        await settled()
        board.gate(1).set()
        await until(lambda: len(stage.claims.ended) == 2)
    assert set(outcomes(stage).values()) == {("settle", "done")}


@pytest.mark.req("RUN-4")
async def test_what_is_stopped_before_a_lane_began_it_never_begins(
    tmp_path: Path, board: Board
) -> None:
    async with a_life(tmp_path, inline("quick", 0)) as stage:
        await until(lambda: stage.life.attempts)
        stage.life.attempts["1.0.x"].cancel()
        await stage.claims.result("job0")
    assert outcomes(stage) == {"job0": ("release", "canceled")}
    assert board.began == []


@pytest.mark.req("RUN-4")
async def test_a_body_that_swallows_its_stop_and_returns_has_ended_by_itself(
    tmp_path: Path, board: Board
) -> None:
    async with a_life(tmp_path, inline("swallows", 0), inline("gated", 1), slots=1) as stage:
        await until(lambda: board.began == [0])
        stage.life.attempts["1.0.x"].cancel()
        assert (await stage.claims.result("job0")).data == '"all the same"'
        await until(lambda: board.began == [0, 1])
        board.gate(1).set()
        await stage.claims.result("job1")
    assert set(outcomes(stage).values()) == {("settle", "done")}


@pytest.mark.req("RUN-4")
async def test_a_swallowed_stop_does_not_reach_what_its_lane_takes_next(
    tmp_path: Path, board: Board
) -> None:
    async with a_life(tmp_path, inline("swallows", 0), slots=4) as stage:
        await until(lambda: board.began == [0])
        stage.claims.specs += [inline("gated", 1), inline("gated", 2)]
        stage.token()
        await until(lambda: len(stage.life.attempts) == 3)
        # Another lane is about to take the first of them; this one ends its job and takes the second.
        stage.life.attempts["1.0.x"].cancel()
        await until(lambda: len(board.began) == 3)
        await settled()
        board.gate(1).set()
        board.gate(2).set()
        await until(lambda: len(stage.claims.ended) == 3)
    assert set(outcomes(stage).values()) == {("settle", "done")}


@pytest.mark.req("RUN-1")
@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("Odd", "Odd: (its text cannot be made)"),
        ("SystemExit", "SystemExit: "),
        ("CancelledError", "CancelledError: "),
        ("surrogate", "ValueError: half \\udc80 a character"),
        ("result", "the result is not JSON: Type is not JSON serializable: object"),
    ],
)
async def test_whatever_a_body_raises_is_its_own_end_and_nobody_else_s(
    tmp_path: Path, board: Board, what: str, message: str
) -> None:
    specs = inline("gated", 0), inline("raises", what), inline("quick", 1)
    async with a_life(tmp_path, *specs, slots=2) as stage:
        ending = await stage.claims.result("job1")
        assert ending.payload == {"outcome": "logic", "reason": "exception", "message": message}
        assert orjson.dumps(ending.payload)
        await stage.claims.result("job2")
        board.gate(0).set()
        await stage.claims.result("job0")
    assert not stage.over.is_set()


@pytest.mark.req("RUN-1")
async def test_a_result_that_cannot_be_stored_ends_its_own_attempt_only(
    tmp_path: Path, board: Board
) -> None:
    """As on a full disk: what is too large for the job's record goes to a file."""
    no_folder = tmp_path / "file"
    no_folder.touch()
    async with a_life(no_folder, inline("large"), inline("quick", 1), slots=1) as stage:
        ending = await stage.claims.result("job0")
        message = "the result cannot be stored: Not a directory"
        assert ending.payload == {"outcome": "transient", "reason": "internal", "message": message}
        await stage.claims.result("job1")
    assert outcomes(stage)["job1"] == ("settle", "done")


@pytest.mark.req("RUN-3")
async def test_a_call_past_its_limit_ends_and_its_lane_goes_on(
    tmp_path: Path, board: Board
) -> None:
    specs = inline("gated", 0, wall_ms=30), inline("quick", 1, wall_ms=10_000)
    async with a_life(tmp_path, *specs, slots=1) as stage:
        first, second = await stage.claims.result("job0"), await stage.claims.result("job1")
    assert (first.verb, first.payload["reason"]) == ("release", "wall_limit")
    timeout = {"limit": "wall_ms", "value_ms": 30}
    assert stage.claims.notes == [("job0", "job_timeout", timeout)]
    assert (second.verb, board.ended) == ("settle", [1])


@pytest.mark.req("RUN-4")
async def test_a_pause_reaches_a_job_that_no_lane_had_begun(tmp_path: Path, board: Board) -> None:
    async with a_life(tmp_path, inline("gated", 0), grace_ms=10) as stage:
        await until(lambda: stage.life.attempts)
        assert board.began == []
        stage.hint("pause", "1.0.x")
        ending = await stage.claims.result("job0")
    assert (ending.verb, ending.payload["reason"]) == ("stop", "paused")


@pytest.mark.req("RUN-1")
async def test_every_call_has_arguments_of_its_own(tmp_path: Path, board: Board) -> None:
    spec = inline("appends", [1])
    async with a_life(tmp_path, spec, spec, spec, slots=1) as stage:
        await until(lambda: len(stage.claims.ended) == 3)
    assert {one.data for one in stage.claims.ended.values()} == {"[1,2]"}
