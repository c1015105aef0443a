"""A tiny slice of `python -m tests.chaos.restarts`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import mkdtemp

import pytest

from tests.chaos.ground import ground
from tests.chaos.restarts import LOSSES, Score, clean, judge, lose, table

pytestmark = pytest.mark.req("LSE-1")


@pytest.fixture
def root() -> Iterator[Path]:
    """A short path: it holds a socket."""
    folder = Path(mkdtemp(prefix="orch-restarts-"))
    yield folder
    shutil.rmtree(folder)


async def test_clean_restarts_are_noticed_and_raise_no_alarm(root: Path) -> None:
    score = await clean(root, Random("slice"), 5)
    assert (score.misses, score.injected, score.noticed, score.counted) == ([], 5, 5, 0)


@pytest.mark.parametrize("kind", ["cut", "twice in a row", "reused, then cut"])
async def test_a_loss_of_acknowledged_writes_is_counted(root: Path, kind: str) -> None:
    score = await lose(root, Random("slice"), kind, 1)
    assert (score.misses, score.injected, score.noticed) == ([], 1, 1)
    assert score.counted >= 1
    assert score.gone >= 1


async def test_a_loss_that_a_client_does_not_count_is_a_miss(root: Path) -> None:
    async with ground(root, Random(1)) as here:
        here.down()
        here.keep()
        await here.up()
        await here.write(here.clients)
        here.down()
        here.go_back()
        await here.up()
        forgetful = here.clients[2]
        # As a client that never looks: what it was told stands nowhere.
        forgetful.mark.seq = forgetful.mark.incarnation = 0
        score = Score()
        assert await judge(here, score, "once")
    assert [miss.partition(" acknowledged")[0].rpartition(" ")[0] for miss in score.misses] == [
        "once: c2:"
    ]


def test_the_table_names_every_kind() -> None:
    shown = table({kind: Score(injected=7) for kind in LOSSES})
    assert all(kind in shown for kind in LOSSES)
