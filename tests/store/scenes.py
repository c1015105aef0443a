"""What one entry of `calls.py` consists of: a scene, a call, what a repeat may answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from orch.core.handover import Offer
from orch.store.store import Store
from tests.store.world import Runner, World


@dataclass(slots=True)
class Scene:
    """What stands before the call."""

    world: World
    runner: Runner | None = None
    offer: Offer | None = None
    found: Any = None

    @property
    def claim(self) -> str:
        """The claim of the running job."""
        assert self.offer is not None
        return self.offer.claim

    @property
    def runner_id(self) -> str:
        """Who runs it."""
        assert self.runner is not None
        return self.runner.runner_id


@dataclass(frozen=True, slots=True)
class Call:
    """A method's entry. `again` is what the store may say when the call was carried out before."""

    arrange: Callable[[World], Awaitable[Scene]]
    act: Callable[[Store, Scene], Awaitable[Any]]
    again: Callable[[Any], Any] = lambda first: first
    """From the first answer to the one of a repeat: a count may be lower, a `new` a `duplicate`."""
    twice: frozenset[str] = field(default=frozenset())
    """Key families that a repeat may add to: hints, and the count of beats."""
    waits: bool = False
    """It ends in a blocking read, which its caller repeats."""


async def empty(world: World) -> Scene:
    await world.pool()
    return Scene(world)
