"""How an instance hears what operators want: each revision once, and again when data may have gone back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

import anyio
import pytest

from actors.desired import follow
from contracts.errors import ErrorCode, Unavailable
from orch.store.connection import BlockingReader
from orch.store.control import Wanted
from orch.store.keys import Keys
from orch.store.leases import Instance
from orch.store.store import Store
from orch.system import SystemClock
from tests.actors.runner_stage import until

Stands = tuple[int, int]
"""Incarnation and revision."""


@dataclass
class Server:
    """Announces one thing after the other; between two it stands as the last one said."""

    stands: list[Stands | None]
    """None: not reached."""
    told: list[int] = field(default_factory=list)
    """Revisions that were acknowledged."""
    asked: int = 0

    def __post_init__(self) -> None:
        # Whoever asks has registered, so it was greeted.
        watermark = SimpleNamespace(incarnation=1)
        self.connection = SimpleNamespace(watermark=watermark, keys=Keys(0))
        self.control = self

    async def newest(self) -> str:
        return "0-0"

    async def wanted(self, **_: object) -> Wanted:
        if self.asked == len(self.stands):
            await anyio.sleep_forever()
        now = self.stands[self.asked]
        self.asked += 1
        if now is None:
            raise Unavailable(ErrorCode.UNAVAILABLE, "away")
        self.connection.watermark.incarnation, revision = now
        return Wanted(revision, {})

    async def acknowledge(self, _: str, revision: int) -> None:
        self.told.append(revision)

    async def read(self, *_: object) -> dict[str, list[tuple[str, dict[str, str]]]]:
        return {}


async def heard(stands: Sequence[Stands | None]) -> list[int]:
    """What it obeyed, and acknowledged, of that."""
    server, obeyed = Server(list(stands)), list[int]()
    instance = Instance("runner-1", "runner", {}, pool="default")
    async with anyio.create_task_group() as tasks:
        run = lambda: follow(  # noqa: E731 - start_soon takes no keywords
            instance,
            lambda wanted: obeyed.append(wanted.revision),
            store=cast(Store, server),
            reader=cast(BlockingReader, server),
            clock=SystemClock(),
        )
        tasks.start_soon(run)
        await until(lambda: server.asked == len(stands))
        await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert server.told == obeyed
    return obeyed


@pytest.mark.req("CTL-2", "CTL-5")
async def test_each_revision_is_obeyed_once() -> None:
    assert await heard([(1, 4), (1, 4), (1, 5), (1, 5)]) == [4, 5]


@pytest.mark.req("CTL-2")
async def test_a_number_that_is_given_again_after_a_loss_is_another_revision() -> None:
    # The announcement between the two may be missed: the same number stands for what was said since.
    assert await heard([(1, 1), (1, 2), (2, 2), (2, 2)]) == [1, 2, 2]


@pytest.mark.req("CTL-5")
async def test_after_an_outage_it_is_told_again() -> None:
    assert await heard([(1, 2), None, (1, 2)]) == [2, 2]
