"""What the cluster as a whole does, in numbers: told by one reaper at a time, so that no sum counts it twice.

All reapers look who lives; the first of them by name is the one. No key is written for it, and who is in
doubt keeps silent: a new one waits until what an old one said is too old, and an old reading is not told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from actors.reaper.decide import TAKEOVER_LOOKS, looks_as_first
from actors.reaper.samples import Samples
from actors.reaper.sweep import Sweeper
from contracts.limits import POOLS_MAX, PRIORITY_CLASSES_MAX
from contracts.metrics import ROLES
from contracts.states import State
from orch.ports import Clock
from orch.store.census import Counted, Line
from orch.store.store import Store
from orch.telemetry.distribution import OTHER
from orch.telemetry.metrics import Metrics

LOOK_MS: Final = 5_000
READING_MS_MAX: Final = 2 * LOOK_MS
"""Older ones are not told any more."""
assert (TAKEOVER_LOOKS - 1) * LOOK_MS >= READING_MS_MAX, (
    "an old one is silent before a new one speaks"
)

Told = Mapping[tuple[str, ...], float]
Facts = Mapping[str, Told]
"""By metric: a number for each set of label values."""
NAMES: Final = (
    "orch_cluster_queue_depth",
    "orch_cluster_queue_oldest_age_seconds",
    "orch_cluster_ready",
    "orch_cluster_runners",
    "orch_cluster_slots",
    "orch_cluster_slots_held",
    "orch_cluster_slots_free",
    "orch_cluster_pool_closed",
    "orch_cluster_instances",
    "orch_cluster_tenants",
    "orch_cluster_jobs",
    "orch_cluster_dead_letters",
    "orch_cluster_timers",
    "orch_cluster_timers_overdue_seconds",
    "orch_cluster_undecided",
    "orch_cluster_undecided_oldest_age_seconds",
    "orch_cluster_requests",
    "orch_cluster_commands",
    "orch_cluster_commands_open",
    "orch_cluster_webhooks_unsent",
    "orch_cluster_burials_total",
    "orch_cluster_stale_recovered_total",
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read at one moment."""

    facts: Facts
    at_ms: int


class Exporter:
    """Of one reaper's process."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        samples: Samples,
        sweeper: Sweeper,
        *,
        instance_id: str,
    ) -> None:
        self._store = store
        self._clock = clock
        self._samples = samples
        self._sweeper = sweeper
        self._instance_id = instance_id
        self._looks = 0
        self._reading: Reading | None = None
        metrics.read("orch_cluster_exporting", lambda: {(): float(self._fresh() is not None)})
        metrics.read("orch_cluster_reading_age_seconds", self._age)
        for name in NAMES:
            metrics.read(name, partial(self._told, name))

    async def look(self) -> None:
        """Who is the one now; if it is this one, a reading."""
        living = await self._store.leases.beats()
        self._looks = looks_as_first(
            self._looks, self._instance_id, [one for one in living if role_of(one) == "reaper"]
        )
        if self._looks < TAKEOVER_LOOKS:
            self._reading = None
            return
        counted = await self._store.census.take()
        facts = facts_of(counted, Counter(map(role_of, living)), self._sweeper.states)
        self._reading = Reading(facts, self._clock.monotonic_ms())
        await self._samples.take(counted.calls)

    # -- in the scrape's thread

    def _fresh(self) -> Reading | None:
        reading = self._reading
        is_old = (
            reading is not None and self._clock.monotonic_ms() - reading.at_ms >= READING_MS_MAX
        )
        return None if is_old else reading

    def _age(self) -> Told:
        reading = self._fresh()
        return {} if reading is None else {(): (self._clock.monotonic_ms() - reading.at_ms) / 1000}

    def _told(self, name: str) -> Told:
        reading = self._fresh()
        return {} if reading is None else reading.facts[name]


def role_of(instance_id: str) -> str:
    """Of an instance, by how its name begins."""
    return instance_id.partition("-")[0]


def facts_of(
    counted: Counted, roles: Mapping[str, int], states: Mapping[State, int] | None
) -> Facts:
    """The reading as metrics, none with more values of a label than the contract allows."""
    pools = dict(sorted(counted.pools.items())[:POOLS_MAX])
    lines = {
        (name, class_name): line
        for name, pool in pools.items()
        for class_name, line in bounded_lines(pool.lines).items()
    }
    known = (*ROLES, "supervisor")
    return {
        "orch_cluster_queue_depth": {place: line.depth for place, line in lines.items()},
        "orch_cluster_queue_oldest_age_seconds": {
            place: line.oldest_age_ms / 1000 for place, line in lines.items()
        },
        "orch_cluster_ready": {(name,): pool.ready for name, pool in pools.items()},
        "orch_cluster_runners": {(name,): pool.runners for name, pool in pools.items()},
        "orch_cluster_slots": {(name,): pool.slots for name, pool in pools.items()},
        "orch_cluster_slots_held": {(name,): pool.held for name, pool in pools.items()},
        "orch_cluster_slots_free": {(name,): pool.free for name, pool in pools.items()},
        "orch_cluster_pool_closed": {
            (name, what): float(is_closed)
            for name, pool in pools.items()
            for what, is_closed in pool.closed.items()
        },
        "orch_cluster_instances": {(role,): roles.get(role, 0) for role in known},
        "orch_cluster_jobs": {(state.value,): states.get(state, 0) for state in State}
        if states is not None
        else {},
        **_single(counted),
    }  # fmt: skip


def _single(counted: Counted) -> Facts:
    numbers = {
        "orch_cluster_tenants": counted.tenants,
        "orch_cluster_dead_letters": counted.dead_letters,
        "orch_cluster_timers": counted.timers,
        "orch_cluster_timers_overdue_seconds": counted.overdue_ms / 1000,
        "orch_cluster_undecided": counted.undecided,
        "orch_cluster_undecided_oldest_age_seconds": counted.undecided_age_ms / 1000,
        "orch_cluster_requests": counted.requests,
        "orch_cluster_commands": counted.commands,
        "orch_cluster_commands_open": counted.commands_open,
        "orch_cluster_webhooks_unsent": counted.webhooks_unsent,
        "orch_cluster_burials_total": counted.burials,
        "orch_cluster_stale_recovered_total": counted.recovered,
    }
    return {name: {(): number} for name, number in numbers.items()}


def bounded_lines(lines: Mapping[str, Line]) -> dict[str, Line]:
    """As many classes as can be configured, those that hold jobs first; the rest is one line `other`."""
    ranked = sorted(lines, key=lambda name: (lines[name].depth == 0, name))
    told = {name: lines[name] for name in sorted(ranked[:PRIORITY_CLASSES_MAX])}
    rest = [lines[name] for name in ranked[PRIORITY_CLASSES_MAX:]]
    if rest:
        told[OTHER] = _together(rest)
    return told


def _together(lines: Iterable[Line]) -> Line:
    all_lines = list(lines)
    depth = sum(line.depth for line in all_lines)
    return Line(depth, max(line.oldest_age_ms for line in all_lines))
