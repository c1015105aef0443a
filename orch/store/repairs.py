"""The sweep that rebuilds every index from the job hashes: a page a call, then the counters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from contracts.limits import BATCH_ITEMS_MAX
from contracts.states import State
from orch.core.ledger import state_of
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
    """Jobs that wait, by line `pool:class:tenant`, among those of the page; who stands aside counts for
    `pool:class:tenant~tie`."""
    gaps: Sequence[str]
    """Lines from which a job is missing."""
    parked: Counter[str]
    """Scheduled jobs by tenant, among those of the page."""
    """Lines from which a job is missing: `pool:class:tenant`, or `tenant~tie` of who stands aside."""
    waits: Sequence[str]
    """`tenant~tie` for which jobs stand aside."""
    states: Counter[State]
    """Jobs by state, among those of the page."""


class Repairs:
    """Any number of sweeps may run at once: each call compares and mends in one step."""

    def __init__(self, connection: Connection, policy: SchedulingPolicy) -> None:
        self._connection = connection
        self._policy = policy.text()

    async def page(self, cursor: str, *, most: int, gathers: Sequence[str] = ()) -> Page:
        """Looks at about `most` keys and mends what disagrees with the jobs; collects jobs of the lines
        `gathers` for `realign`."""
        reply = await self._connection.call("repair", cursor, most, self._policy, *gathers)
        repairs, gaps, waits = _repairs(reply[2]), list(reply[4]), list(reply[6])
        states = Counter({state_of(code): n for code, n in _counts(reply[7]).items()})
        return Page(
            str(reply[1]), repairs, _counts(reply[3]), gaps, _counts(reply[5]), waits, states
        )

    async def realign(self, *, most: int, waits: Sequence[str] = ()) -> tuple[int, list[Repair]]:
        """Puts collected jobs back into their lines, and calls in who stands aside for a tie of `waits` that
        has room; how many collected ones are left, and which had lost their place."""
        reply = await self._connection.call("realign", most, self._policy, *waits)
        return (0, []) if reply[0] == "none" else (int(reply[1]), _repairs(reply[2]))

    async def moves(self) -> int:
        """A count that grows whenever a job begins or ends to wait."""
        found = await self._connection.execute("HGET", self._connection.keys.counters, "moves")
        return int(found or 0)

    async def short_lines(self, depths: Counter[str]) -> list[str]:
        """Lines that have fewer entries than jobs were counted."""
        counted = Counter[str]()
        for line, queued in depths.items():
            counted[_list_name(line)] += queued
        return [name for name in sorted(counted) if await self._length(name) < counted[name]]

    async def _length(self, name: str) -> int:
        keys, (tenant, _, tie) = self._connection.keys, name.partition("~")
        line = keys.aside(tenant, tie) if tie else keys.line(name)
        return int(await self._connection.execute("LLEN", line))

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
        pool, class_name, owner = line.split(":", 2)
        counters[f"depth:{pool}:{class_name}"] += queued
        counters[f"waits:{owner.partition('~')[0]}"] += queued
    return counters


def _counts(flat: Sequence[Any]) -> Counter[str]:
    words = iter(flat)
    return Counter({name: int(count) for name, count in zip(words, words, strict=True)})


def _list_name(line: str) -> str:
    """Of `pool:class:tenant~tie` the list is `tenant~tie`: it holds jobs of any pool and class."""
    return line.split(":", 2)[2] if "~" in line else line


def _repairs(pairs: Sequence[tuple[str, str]]) -> list[Repair]:
    return [Repair(index, name) for index, name in pairs]
