"""What stands in a pool now: its runners, what waits and what runs. Looking is one call that only reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from contracts.errors import ErrorCode, Refused
from orch.store.connection import Connection


@dataclass(frozen=True, slots=True)
class SurveyedRunner:
    """A live runner of a pool."""

    instance_id: str
    slots: int
    held: int
    draining: bool
    """Itself, its pool, or everything."""
    about: dict[str, Any]

    @property
    def free(self) -> int:
        """Slots that may still be filled."""
        return 0 if self.draining else max(0, self.slots - self.held)


@dataclass(frozen=True, slots=True)
class Survey:
    """What stands in one pool at one moment."""

    pool: str
    draining: bool
    intake_paused: bool
    dispatch_paused: bool
    queued: int
    """Jobs in its lines, and ready ones that no runner has claimed."""
    oldest_age_ms: int | None
    """Of the job that has waited longest; None when nothing waits, or nobody asked."""
    runners: tuple[SurveyedRunner, ...]

    @property
    def at_work(self) -> tuple[SurveyedRunner, ...]:
        """Its runners that take new jobs."""
        return tuple(one for one in self.runners if not one.draining)

    @property
    def is_closed(self) -> bool:
        """Whether it drains: by a command, or because each of its runners does."""
        return self.draining or (bool(self.runners) and not self.at_work)

    @property
    def running(self) -> int:
        """Jobs that its runners hold."""
        return sum(one.held for one in self.runners)

    @property
    def slots(self) -> int:
        """Of all its runners."""
        return sum(one.slots for one in self.runners)

    @property
    def free(self) -> int:
        """Slots that may still be filled."""
        return sum(one.free for one in self.runners)


class Surveys:
    """Looks at pools."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def all(self) -> list[Survey]:
        """All pools, by name; without ages."""
        names = await self._connection.execute("SMEMBERS", self._connection.keys.pools)
        return [await self.of(name, heads=0) for name in sorted(names)]

    async def of(self, pool: str, *, heads: int) -> Survey:
        """One pool; the age of what waits from the heads of so many of its lines.

        Raises:
            Refused: NOT_FOUND, there is no such pool.
        """
        reply = await self._connection.call("survey", pool, heads)
        if reply[0] == "unknown":
            raise no_such_pool(pool)
        drained, intake, dispatch, queued, ready, age = (int(word) for word in reply[1:7])
        runners = tuple(
            SurveyedRunner(
                one[0], int(one[1]), int(one[2]), bool(drained or one[3]), orjson.loads(one[4])
            )
            for one in reply[7]
        )
        return Survey(
            pool, bool(drained), bool(intake), bool(dispatch), queued + ready,
            None if age < 0 else age, runners,
        )  # fmt: skip


def no_such_pool(pool: str) -> Refused:
    """The refusal of a name that no pool has."""
    return Refused(
        ErrorCode.NOT_FOUND,
        f"there is no pool {pool[:80]!a}",
        hint="`orch pools` lists those that exist.",
        details={"pool": pool[:80]},
    )
