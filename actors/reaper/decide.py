"""Who is silent, judged only by counters that do not move on the observer's own clock (LSE-6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

GAP_MS_MAX = 2_000
"""Two looks further apart than this add only this much: a reaper that slept saw nothing meanwhile."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What was seen of one instance."""

    counter: int
    lease_ms: int
    silent_ms: int = 0

    @property
    def is_silent(self) -> bool:
        """Its counter did not move for the lease it registered with."""
        return self.silent_ms >= self.lease_ms


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything a reaper remembers between two looks."""

    looked_at_ms: int | None = None
    instances: Mapping[str, Watched] = field(default_factory=dict)
    grace_ms: int = 0
    """Silence of most instances together is the server's; for so long nobody is judged."""


def observe(
    before: Observation, beats: Mapping[str, int], leases_ms: Mapping[str, int], *, now_ms: int
) -> Observation:
    """The observation after one more successful look at the counters; `leases_ms` has every instance."""
    gap_ms = 0 if before.looked_at_ms is None else min(now_ms - before.looked_at_ms, GAP_MS_MAX)
    seen: dict[str, Watched] = {}
    for instance_id, counter in beats.items():
        known = before.instances.get(instance_id)
        if known is None or known.counter != counter:
            seen[instance_id] = Watched(counter, leases_ms[instance_id])
        else:
            # One gap alone never makes silence of a short lease.
            watched_ms = min(gap_ms, known.lease_ms // 2)
            seen[instance_id] = replace(known, silent_ms=known.silent_ms + watched_ms)
    grace_ms = max(0, before.grace_ms - gap_ms)
    newly = [w for i, w in seen.items() if w.is_silent and not before.instances[i].is_silent]
    if len(newly) > 1 and 2 * len(newly) > len(seen) and before.grace_ms == 0:
        # Over half fell silent in the same look: the server stalled, not they. One more lease.
        grace_ms = max(w.lease_ms for w in newly)
    return Observation(now_ms, seen, grace_ms)


def absent(
    before: Mapping[str, int], without_beat: Iterable[str], *, now_ms: int
) -> dict[str, int]:
    """Since when each instance has had no beat; one that is there again is forgotten.

    No beat brings it back, so it is buried already, or its beat was lost and it will be told so: either way
    its agents are stopped a lease later.
    """
    return {instance_id: before.get(instance_id, now_ms) for instance_id in without_beat}


def silent(observation: Observation) -> list[tuple[str, Watched]]:
    """Instances to bury now, longest silent first."""
    if observation.grace_ms > 0:
        return []
    found = [(i, w) for i, w in observation.instances.items() if w.is_silent]
    return sorted(found, key=lambda pair: (-pair[1].silent_ms, pair[0]))
