"""Which measurements a run takes, how large they are, and in which order.

Repetitions are interleaved: every peer once, then every peer again, so that a slow minute of the machine
meets all of them. Sizes follow from what was measured before: a fast peer gets more jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from bench.measures.floor import floor
from bench.measures.front import front, overload
from bench.measures.http import fan_out, submissions
from bench.measures.latency import latency, requests_door, under_backlog
from bench.measures.rest import idle, recovery
from bench.measures.throughput import Load, backlog, drain
from bench.room import Room
from bench.roster import Peer
from bench.rows import Sample, rows_of
from bench.server import Mode, Server

FAMILIES: Final = "drain two wait latency backlog idle recovery http sse front floor".split()
MILLION: Final = 1_000_000
FASTEST: Final = 2
WAITING_AT_ONCE: Final = 10
UNKNOWN_RATE: Final = 8_000.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything."""

    sizing: int
    """Jobs of the first round, which says how fast a peer is; also the measure `drain_at_1000`."""
    seconds: float
    """What one drain should take."""
    jobs_min: int
    jobs_max: int
    repetitions: dict[Mode, int]
    busy: int
    idle: int
    """Jobs of the latency measure."""
    idle_s: float
    recovery_s: float
    backlogs: tuple[int, ...]
    million: int
    """Jobs of the longest line; 0 leaves it out."""
    http_s: float
    watchers: int
    floor: int
    compare_all: bool
    """Every measure for every peer; else only drains compare, the rest is ours and the best few."""


FULL: Final = Sizes(
    sizing=1_000, seconds=2.0, jobs_min=2_000, jobs_max=60_000, repetitions={"none": 3, "always": 3},
    busy=150, idle=6, idle_s=60, recovery_s=120, backlogs=(100_000,), million=MILLION,
    http_s=5, watchers=1_000, floor=20_000, compare_all=True,
)  # fmt: skip
QUICK: Final = Sizes(
    sizing=1_000, seconds=0.8, jobs_min=2_000, jobs_max=20_000, repetitions={"none": 1, "always": 1},
    busy=60, idle=2, idle_s=10, recovery_s=30, backlogs=(), million=0,
    http_s=1.5, watchers=1_000, floor=3_000, compare_all=False,
)  # fmt: skip


Act = Callable[[Room], list[Sample]]


@dataclass(frozen=True, slots=True)
class Step:
    """One measurement: of a peer in a room on the server of the mode, or without a peer."""

    family: str
    measure: str
    """The row that says why, should it fail."""
    peer: Peer | None = None
    act: Act | None = None
    raw: Callable[[Server], list[Sample]] | None = None
    alone: tuple[Peer, ...] = ()
    """Peers measured at once, each on a server of its own."""
    minutes: float = 0.25
    """What it may take; it is left out when so much is not left."""


@dataclass(slots=True)
class Plan:
    """The steps of a run; sizes are read from the samples taken so far."""

    peers: list[Peer]
    sizes: Sizes
    families: frozenset[str]
    samples: list[Sample]

    def steps(self, mode: Mode) -> Iterator[Step]:
        """In order, for one mode."""
        for step in self._all(mode):
            if step.family in self.families:
                yield step

    def _all(self, mode: Mode) -> Iterator[Step]:
        yield Step("floor", "xadd_1", raw=partial(floor, count=self.sizes.floor))
        if mode == "none":
            yield from (self._sizing(peer) for peer in self.peers)
        for repetition in range(self.sizes.repetitions[mode]):
            yield from self._drains(mode, repetition)
        yield from self._latencies(mode)
        yield from self._fronts()
        if mode == "none":
            yield from self._rests()
            yield from self._doors()
            yield from self._backlogs()

    # -- who

    @property
    def ours(self) -> list[Peer]:
        """Orch's variants."""
        return [peer for peer in self.peers if peer.is_ours]

    def fastest(self, mode: Mode, count: int, *, storing: bool = False) -> list[Peer]:
        """The peers with the highest drain rate so far."""
        others = [p for p in self.peers if not p.is_ours and (p.stores_result or not storing)]
        rated = [p for p in others if self.rate(p, mode) > 0]
        return sorted(rated, key=lambda peer: -self.rate(peer, mode))[:count]

    def rate(self, peer: Peer, mode: str, measure: str = "drain_1") -> float:
        """Jobs a second as known so far; 0 when unknown."""
        wanted = (measure, f"drain_at_{self.sizes.sizing}") if measure == "drain_1" else (measure,)
        found = [s for s in self.samples if s.peer == peer.name and s.mode == mode]
        for name in wanted:
            rows = rows_of(s for s in found if s.measure == name)
            if rows and rows[0].value:
                return rows[0].value
        return 0.0

    def _count(self, peer: Peer, mode: str, measure: str = "drain_1") -> int:
        ways = ((mode, measure), (mode, "drain_1"), ("none", "drain_1"))
        rate = next((found for way in ways if (found := self.rate(peer, *way))), 0.0)
        workers = 2 if measure.endswith("2") else 1
        wished = int(rate * self.sizes.seconds * workers)
        return max(self.sizes.jobs_min, min(wished, self.sizes.jobs_max * workers))

    # -- what

    def _sizing(self, peer: Peer) -> Step:
        few = self.sizes.sizing
        return Step("drain", f"drain_at_{few}", peer, partial(backlog, queued=few))

    def _drains(self, mode: Mode, repetition: int) -> Iterator[Step]:
        for peer in self._drained(mode):
            yield self._drain("drain", peer, mode, "noop", 1)
        for peer in self.peers:
            if not self._is_compared(peer) or (mode == "always" and repetition):
                continue
            yield self._drain("two", peer, mode, "noop", 2)
            if mode == "none":
                yield self._drain("wait", peer, mode, "wait", 1)
                yield self._drain("wait", peer, mode, "wait", 2)

    def _drain(self, family: str, peer: Peer, mode: str, job: str, workers: int) -> Step:
        measure = f"drain_{workers}" if job == "noop" else f"drain_{job}_{workers}"
        at_once = WAITING_AT_ONCE if job == "wait" else None

        def act(room: Room) -> list[Sample]:
            count = self._count(peer, mode, measure)
            return drain(room, Load(job, workers, count, at_once))

        return Step(family, measure, peer, act)

    def _drained(self, mode: Mode) -> list[Peer]:
        if self.sizes.compare_all or mode == "none":
            return self.peers
        best = [*self.fastest("none", 1), *self.fastest("none", 1, storing=True)]
        return [peer for peer in self.peers if peer.is_ours or peer in best]

    def _is_compared(self, peer: Peer) -> bool:
        return self.sizes.compare_all or peer.name == "orch"

    def _latencies(self, mode: Mode) -> Iterator[Step]:
        silent = self.sizes.idle if mode == "none" else 0
        for peer in self.peers:
            if mode == "always" and not (peer.quick and self.sizes.compare_all):
                continue
            if peer.is_ours and peer is not self.ours[0] and not self.sizes.compare_all:
                continue
            act = partial(latency, busy=self.sizes.busy, idle=silent)
            yield Step("latency", "start_busy_p50", peer, act)
        for peer in self.ours if self.sizes.compare_all else self.ours[:1]:

            def crowded(room: Room, peer: Peer = peer) -> list[Sample]:
                batch = 2_000 + int(2.5 * (self.rate(peer, mode) or UNKNOWN_RATE))
                return under_backlog(room, batch=batch, few=40)

            if mode == "none":
                yield Step("latency", "start_backlog_p50", peer, crowded)
                yield Step("latency", "requests_door_p50", peer, requests_door)

    def _rests(self) -> Iterator[Step]:
        who = tuple(self.peers if self.sizes.compare_all else self.ours)
        yield Step(
            "idle", "idle_commands_per_s", act=partial(idle, seconds=self.sizes.idle_s), alone=who
        )
        act = partial(recovery, within_s=self.sizes.recovery_s)
        yield Step("recovery", "recovery", act=act, alone=who)

    def _doors(self) -> Iterator[Step]:
        for peer in self.ours[:1]:
            act = partial(submissions, seconds=self.sizes.http_s)
            yield Step("http", "http_submit", peer, act)
            watch = partial(fan_out, watchers=self.sizes.watchers)
            yield Step("sse", f"sse_{self.sizes.watchers}_watchers_last", peer, watch)

    def _fronts(self) -> Iterator[Step]:
        for peer in self.ours[:1]:
            for measure, act in (("front_submit", front), ("front_refused", overload)):
                yield Step("front", measure, peer, partial(act, seconds=self.sizes.http_s))

    def _backlogs(self) -> Iterator[Step]:
        for queued in self.sizes.backlogs:
            for peer in self.peers:
                yield Step("backlog", f"drain_at_{queued}", peer, partial(backlog, queued=queued))
        if not self.sizes.million:
            return
        for peer in [*self.ours[:1], *self.fastest("none", FASTEST)]:
            act = partial(backlog, queued=self.sizes.million)
            yield Step("backlog", f"drain_at_{self.sizes.million}", peer, act, minutes=4)
        for peer in self.ours[:1]:
            act = partial(backlog, queued=6_000, canceled=self.sizes.million)
            name = f"drain_past_{self.sizes.million}_canceled"
            yield Step("backlog", name, peer, act, minutes=10)
