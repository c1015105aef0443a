"""What a drain means for a runner: nothing new, an end in peace, and at the deadline an end all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.actors import bodies
from tests.actors.bodies import Board
from tests.actors.runner_stage import Stage, a_life, inline, settled, until


@pytest.fixture
def board() -> Board:
    bodies.board = Board()
    return bodies.board


def told(stage: Stage) -> dict[str, object]:
    """What the runner reported, by command."""
    return dict(stage.operators.reports)


@pytest.mark.req("CTL-3")
async def test_a_drained_runner_asks_for_nothing_and_reports_when_its_jobs_have_ended(
    tmp_path: Path, board: Board
) -> None:
    specs = [inline("gated", n) for n in range(4)]
    async with a_life(tmp_path, *specs, slots=2) as stage:
        await until(lambda: board.began == [0, 1])
        stage.operators.want(1, c1=None)
        board.gate(0).set()
        await stage.claims.result("job0")
        await settled()
        assert board.began == [0, 1], "the free slot is given to nobody"
        assert stage.claims.calls[-1].free == 0
        assert not stage.life.has_room()
        assert not stage.operators.reports, "one still runs"
        board.gate(1).set()
        await until(lambda: bool(stage.operators.reports))
    assert told(stage) == {"c1": {"force_stopped": 0, "left": 0}}


@pytest.mark.req("CTL-3")
async def test_an_idle_runner_reports_at_once_and_again_whenever_it_is_told_anew(
    tmp_path: Path, board: Board
) -> None:
    async with a_life(tmp_path, slots=2) as stage:
        await until(lambda: stage.operators.obey is not None)
        stage.operators.want(1, c1=None)
        await until(lambda: len(stage.operators.reports) == 1)
        await settled()
        # The server may have lost the report; where it has not, the second one changes nothing.
        stage.operators.want(2, c1=None, c2=60_000)
        await until(lambda: len(stage.operators.reports) == 3)
        await settled()
    assert [command for command, _ in stage.operators.reports] == ["c1", "c1", "c2"]


@pytest.mark.req("CTL-3")
async def test_at_the_deadline_what_is_left_goes_back_and_is_counted(
    tmp_path: Path, board: Board
) -> None:
    specs = [inline("gated", n) for n in range(3)]
    async with a_life(tmp_path, *specs, slots=3, grace_ms=50) as stage:
        await until(lambda: board.began == [0, 1, 2])
        stage.operators.want(1, c1=0)
        board.gate(0).set()
        await stage.claims.result("job0")
        await until(lambda: bool(stage.operators.reports))
        verbs = sorted(one.verb for one in stage.claims.ended.values())
    assert verbs == ["handback", "handback", "settle"]
    assert told(stage) == {"c1": {"force_stopped": 2, "left": 0}}


@pytest.mark.req("CTL-3")
async def test_an_undrained_runner_goes_on_at_once(tmp_path: Path, board: Board) -> None:
    async with a_life(tmp_path, *[inline("gated", n) for n in range(2)], slots=1) as stage:
        await until(lambda: board.began == [0])
        stage.operators.want(1, c1=None)
        board.gate(0).set()
        await stage.claims.result("job0")
        stage.operators.want(2)
        await until(lambda: board.began == [0, 1])
