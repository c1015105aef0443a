"""What Orch needs from the world, as protocols: time, ids, chance.

Actors take these as constructor arguments, so that the simulation owns them. The real ones are in
`orch/system.py`; the store's verbs are `orch/store`, whose fake is the same Lua on fakeredis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Time. Monotonic readings never leave the host; wall readings are for people."""

    def monotonic_ms(self) -> int:
        """Milliseconds of a clock that never jumps."""
        ...

    def wall_ms(self) -> int:
        """Unix milliseconds. May jump; never judge a lease by it."""
        ...

    async def sleep_ms(self, duration_ms: float) -> None:
        """Wait; a cancel point."""
        ...


@dataclass(frozen=True, slots=True)
class Heard:
    """What a runner does about what its keeper hears; called from the keeper's thread, must not block."""

    confirm: Callable[[int, int], None]
    """(sent_ms, lease_ms): the beat sent then was acknowledged."""
    over: Callable[[], None]
    """The runner was buried."""
    forgotten: Callable[[], None]
    """The server lost what it knew of the runner: it must register again."""


class Beating(Protocol):
    """The keeper: what beats for one runner while the runner does other things."""

    def start(self) -> None:
        """Begins to beat; the first beat goes out at once."""
        ...

    def stop(self) -> None:
        """Ends it; no callback comes after this returned."""
        ...


class Ids(Protocol):
    """Fresh identifiers."""

    def job_id(self) -> str:
        """A new job id: about 20 base32 characters, time-ordered, unique (JOB-3)."""
        ...

    def token(self) -> str:
        """Ten random base32 characters: the unguessable part of a claim or of an instance's name."""
        ...


class Rng(Protocol):
    """Chance."""

    def uniform(self, low: float, high: float) -> float:
        """A number in [low, high]."""
        ...
