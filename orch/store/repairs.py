"""The sweep that rebuilds every index from the job hashes: a page a call, then the counters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from contracts.limits import BATCH_ITEMS_MAX
from orch.core.scheduling import SchedulingPolicy
from orch.store.connection import Connection

START = "0"
_COUNTED: Final = ("depth:", "waits:")


@dataclass(frozen=True, slots=True)
class Repair:
    """One disagreement that was mended."""

    index: str
    """One of contracts.metrics.REPAIRED_INDEXES."""
    name: str
    """The job, the instance or the key."""


@dataclass(frozen=True, slots=True)
class Page:
    """What one call looked at."""

    cursor: str
    """Where the next page begins; START when the sweep is over."""
    repairs: Sequence[Repair]
    depths: Counter[str]
    """Jobs that wait, by line `pool:class:tenant`, among those of the page."""
    gaps: Sequence[str]
    """Lines from which a job is missing."""
    parked: Counter[str]
    """Scheduled jobs by tenant, among those of the page."""


class Repairs:
    """Any number of sweeps may run at once: each call compares and mends in one step."""

    def __init__(self, connection: Connection, policy: SchedulingPolicy) -> None:
        self._connection = connection
        self._policy = policy.text()

    async def page(self, cursor: str, *, most: int, gathers: Sequence[str] = ()) -> Page:
        """Looks at about `most` keys and mends what disagrees with the jobs; collects jobs of the lines
        `gathers` for `realign`."""
        reply = await self._connection.call("repair", cursor, most, self._policy, *gathers)
        repairs, gaps = _repairs(reply[2]), list(reply[4])
        return Page(str(reply[1]), repairs, _counts(reply[3]), gaps, _counts(reply[5]))

    async def realign(self, *, most: int) -> tuple[int, list[Repair]]:
        """Puts collected jobs back into their lines; how many are left, and which had lost their place."""
        reply = await self._connection.call("realign", most, self._policy)
        return (0, []) if reply[0] == "none" else (int(reply[1]), _repairs(reply[2]))

    async def moves(self) -> int:
        """A count that grows whenever a job begins or ends to wait."""
        found = await self._connection.execute("HGET", self._connection.keys.counters, "moves")
        return int(found or 0)

    async def short_lines(self, depths: Counter[str]) -> list[str]:
        """Lines that have fewer entries than jobs were counted."""
        lengths = {
            line: int(await self._connection.execute("LLEN", self._connection.keys.line(line)))
            for line in sorted(depths)
        }
        return [line for line, length in lengths.items() if length < depths[line]]

    async def wrong(self, depths: Counter[str], parked: Counter[str]) -> dict[str, int]:
        """Counters that do not say what was counted, with what they ought to say."""
        found = await self._connection.execute("HGETALL", self._connection.keys.counters)
        said = {name: int(n) for name, n in found.items() if name.startswith(_COUNTED)}
        counted = _counters(depths, parked)
        return {
            name: counted[name]
            for name in sorted(said.keys() | counted.keys())
            if said.get(name, 0) != counted[name]
        }

    async def recount(self, moves: int, counters: Mapping[str, int]) -> list[Repair] | None:
        """Sets counters to what a sweep counted; None when jobs moved since `moves` was read."""
        mended: list[Repair] = []
        names = sorted(counters)
        for at in range(0, len(names), BATCH_ITEMS_MAX):
            page = names[at : at + BATCH_ITEMS_MAX]
            flat = [word for name in page for word in (name, counters[name])]
            reply = await self._connection.call("recount", moves, len(page), *flat)
            if reply[0] == "moved":
                return None
            mended += [Repair("counters", name) for name in reply[1]]
        return mended


def _counters(depths: Counter[str], parked: Counter[str]) -> Counter[str]:
    """What a sweep's counts make of the counters: places by their queue, tenants by all that waits."""
    counters = Counter({f"waits:{tenant}": waiting for tenant, waiting in parked.items()})
    for line, queued in depths.items():
        place, _, tenant = line.rpartition(":")
        counters[f"depth:{place}"] += queued
        counters[f"waits:{tenant}"] += queued
    return counters


def _counts(flat: Sequence[Any]) -> Counter[str]:
    words = iter(flat)
    return Counter({name: int(count) for name, count in zip(words, words, strict=True)})


def _repairs(pairs: Sequence[tuple[str, str]]) -> list[Repair]:
    return [Repair(index, name) for index, name in pairs]
