"""Did anything grow that must not? Pure: samples in, rows out.

The first quarter of the samples is warm-up. A measure has grown when the median of the last quarter is above
that of the second by more than its bound's ratio and by more than its slack.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, TypeAlias

from contracts.limits import FEED_ENTRIES_MAX, INBOX_ENTRIES_MAX, WEBHOOK_POSTS_KEPT

Sample: TypeAlias = Mapping[str, float]
"""One look: measure -> value. A name is `what` or `what:whose`."""
SAMPLES_MIN: Final = 40
"""Ten in each quarter. Fewer prove nothing about growth."""


@dataclass(frozen=True, slots=True)
class Bound:
    """How much a measure may grow, and why not less."""

    ratio: float
    slack: float
    """In the unit of the measure: below it a ratio of small numbers says nothing."""
    why: str


BOUNDS: Final[Mapping[str, Bound]] = {
    "rss_kib": Bound(
        1.10, 3_072, "an allocator keeps what a burst needed, in arenas of 256 KiB to 1 MiB"
    ),
    "rss_kib:server": Bound(
        1.20, 6_144, "rewriting its append-only file and fragmentation come and go"
    ),
    "fds": Bound(1.0, 4, "connections to come and agents' pipes vary by some; a leak has no end"),
    "threads": Bound(1.0, 3, "threads for files are started as needed and kept, a few of them"),
    "children": Bound(
        1.0, 6, "agents under way vary with the load; two processes, guard and agent, for each"
    ),
    "zombies": Bound(1.0, 2, "one that ended a moment ago has not been waited for yet"),
    "agents": Bound(
        1.0, 6, "as children: guards, agents and workers, of three long jobs more or less"
    ),
    "cpu_ms_per_s": Bound(
        1.5, 60, "a share of a shared machine; work that grows with age is more than that"
    ),
    "memory_kib": Bound(1.10, 512, "the server's own count; finished jobs vary by some tens"),
    "keys": Bound(
        1.25, 25, "jobs by chance: the square root of some hundreds, and the minute of removal"
    ),
    "size": Bound(1.25, 40, "as keys: most of these sets have one member for each job"),
    "files": Bound(1.0, 20, "files of agents under way, and those of a rewrite of the data"),
    "latency_ms": Bound(
        2.0, 20, "other work on the machine; lines that get longer are more than twice as long"
    ),
}
"""By the whole name of a measure, else by what stands before its colon."""
CEILINGS: Final[Mapping[str, int]] = {
    "size:feed": FEED_ENTRIES_MAX,
    "size:inbox": INBOX_ENTRIES_MAX,
    "size:delivered": WEBHOOK_POSTS_KEPT,
}
"""What is bounded by a number may fill up to it, and to a tenth above: streams are trimmed by whole nodes."""
_NEARLY: Final = 1.1
UNJUDGED: Final = {
    "home_kib": "the append-only file grows until it is rewritten",
    "keys:affinity": "one for each session, an hour long (AFFINITY_TTL_MS)",
    "open": "it is the load",
}
"""Measures that are told and not judged, and why."""


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one measure."""

    measure: str
    second: float
    """Median of the second quarter."""
    last: float
    """Median of the last quarter."""
    bound: Bound | None

    @property
    def ratio(self) -> float:
        """last / second; 1 of nothing to nothing."""
        if self.second:
            return self.last / self.second
        return 1.0 if not self.last else float("inf")

    @property
    def grew(self) -> bool:
        """Whether that is beyond its bound."""
        if self.measure in CEILINGS:
            return self.last > CEILINGS[self.measure] * _NEARLY
        return (
            self.bound is not None
            and self.last > self.second * self.bound.ratio
            and self.last - self.second > self.bound.slack
        )


def bound_of(measure: str) -> Bound | None:
    """None for what is not judged.

    Raises:
        KeyError: nobody has said how much it may grow.
    """
    family = measure.partition(":")[0]
    if {measure, family} & UNJUDGED.keys():
        return None
    return BOUNDS.get(measure) or BOUNDS[family]


def rows_of(samples: Sequence[Sample]) -> list[Row]:
    """One row for each measure; a measure that a sample lacks was nothing then."""
    names = sorted({name for sample in samples for name in sample})
    quarter = len(samples) // 4
    second, last = samples[quarter : 2 * quarter], samples[len(samples) - quarter :]
    return [Row(name, _median(name, second), _median(name, last), bound_of(name)) for name in names]


def _median(name: str, samples: Sequence[Sample]) -> float:
    return median([sample.get(name, 0.0) for sample in samples]) if samples else 0.0


def too_few(samples: Sequence[Sample]) -> bool:
    """Whether growth cannot be judged."""
    return len(samples) < SAMPLES_MIN
