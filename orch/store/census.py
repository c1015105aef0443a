"""What the whole shard does now, in one call that writes nothing: for the one who tells it to operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from contracts.limits import CENSUS_TENANTS_MAX, POOL_HEADS_MAX
from orch.store.connection import Connection

FEED_LOOKS: Final = 64
"""Entries of the feed that `moved` looks at; each names up to a thousand jobs."""


@dataclass(frozen=True, slots=True)
class Line:
    """Who waits in one pool and class."""

    depth: int
    oldest_age_ms: int
    """0 when nobody waits."""


@dataclass(frozen=True, slots=True)
class PoolCount:
    """One pool."""

    closed: Mapping[str, bool]
    """drain, intake, dispatch: whether operators keep it closed."""
    ready: int
    runners: int
    slots: int
    held: int
    free: int
    lines: Mapping[str, Line]
    """By class."""


@dataclass(frozen=True, slots=True)
class Counted:
    """One reading."""

    pools: Mapping[str, PoolCount]
    tenants: int
    dead_letters: int
    timers: int
    overdue_ms: int
    undecided: int
    undecided_age_ms: int
    requests: int
    commands: int
    commands_open: int
    webhooks_unsent: int
    burials: int
    """Instances that were declared dead, by whomever, since the data began."""
    recovered: int
    """Jobs that were taken from them."""
    calls: int
    """How many calls the shard has carried out: while it stands, no job moved."""


class Census:
    """Counts."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def take(self) -> Counted:
        """One reading; its work on the server is bounded by the pools, the runners and the bounds above."""
        reply = await self._connection.call("census", POOL_HEADS_MAX, CENSUS_TENANTS_MAX)
        tenants, dead, timers, late, undecided, age, *rest = (int(n) for n in reply[2])
        pools = {str(one[0]): _pool(one) for one in reply[1]}
        # The clock of a lost timer or outcome never runs backwards: nothing is late by less than nothing.
        return Counted(pools, tenants, dead, timers, max(0, late), undecided, max(0, age), *rest)

    async def moved(self, after: str) -> tuple[str, dict[str, int]]:
        """Where the feed stands, and the jobs that its newest entries after `after` name, with the highest
        number of their ledgers; of an empty `after` none, for the place is only to be remembered."""
        most = FEED_LOOKS if after else 1
        entries = await self._connection.execute(
            "XREVRANGE", self._connection.keys.feed, "+", after or "-", "COUNT", most
        )
        entries = [entry for entry in entries if entry[0] != after]
        if not entries:
            return after or "0-0", {}
        jobs: dict[str, int] = {}
        for word in (word for _, fields in entries if after for word in _said(fields).split(",")):
            job_id, _, seq = word.rpartition(":")
            jobs[job_id] = max(int(seq), jobs.get(job_id, 0))
        return str(entries[0][0]), jobs


def _said(fields: Any) -> str:
    pairs = (
        fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2], strict=True))
    )
    return str(pairs.get("j", ""))


def _pool(item: Sequence[Any]) -> PoolCount:
    _, drain, intake, dispatch, ready, runners, slots, held, free, lines = item
    return PoolCount(
        closed={"drain": bool(drain), "intake": bool(intake), "dispatch": bool(dispatch)},
        ready=int(ready),
        runners=int(runners),
        slots=int(slots),
        held=int(held),
        free=int(free),
        lines={
            str(name): Line(max(0, int(depth)), max(0, int(age)))
            for name, depth, age in _threes(lines)
        },
    )


def _threes(flat: Sequence[Any]) -> list[tuple[Any, Any, Any]]:
    words = iter(flat)
    return list(zip(words, words, words, strict=True))
