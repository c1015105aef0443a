"""Who is silent, judged only by counters that do not move on the observer's own clock (LSE-6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from contracts.events import EventType
from contracts.limits import LEASE_MS_MIN, LIBRARIES_REMEMBERED, LIBRARY_BACK_MS, TICK_MS
from contracts.record import LedgerEvent
from contracts.states import State

T = TypeVar("T")
TAKEOVER_LOOKS: Final = 3
"""So often one must be the first reaper of several before it tells of the cluster."""
GAP_MS_MAX = 2_000
"""Two looks further apart than this add only this much: a reaper that slept saw nothing meanwhile."""
LOOKS_A_LEASE: Final = 4
"""At least so many looks within the shortest lease. One gap counts for half a lease at most, so with looks a
whole lease apart two leases go by before anybody is silent."""


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

    @property
    def is_quiet(self) -> bool:
        """Its counter did not move for half its lease: it beats three times a lease, so a beat is missing."""
        return 2 * self.silent_ms >= self.lease_ms


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
    quiet = [w for i, w in seen.items() if w.is_quiet and not before.instances[i].is_silent]
    newly = any(watched.is_silent for watched in quiet)
    if newly and len(quiet) > 1 and 2 * len(quiet) > len(seen) and before.grace_ms == 0:
        # Over half missed a beat when the first of them fell silent: the server stalled, not they. One more
        # lease. They beat at different moments, so they fall silent in different looks.
        grace_ms = max(w.lease_ms for w in quiet)
    return Observation(now_ms, seen, grace_ms)


def look_again_ms(observation: Observation) -> int:
    """Until the next look: a second, or less where somebody has a short lease; never below a quarter of the
    shortest lease that there can be, whatever an instance says of itself."""
    leases_ms = (watched.lease_ms for watched in observation.instances.values())
    shortest_ms = max(min(leases_ms, default=LEASE_MS_MIN * LOOKS_A_LEASE), LEASE_MS_MIN)
    return min(TICK_MS, shortest_ms // LOOKS_A_LEASE)


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


# -- which function libraries nobody needs


@dataclass(frozen=True, slots=True)
class Shelf:
    """What a reaper remembers of the server's function libraries between two looks."""

    unused: Mapping[str, int] = field(default_factory=dict)
    """Since when each has had no user, on the reaper's own clock."""
    removed: tuple[str, ...] = ()
    """Those that it removed and that no instance has used since, oldest first."""

    def without(self, name: str) -> Shelf:
        """After its removal."""
        return replace(self, removed=(*self.removed, name)[-LIBRARIES_REMEMBERED:])


def libraries_used(abouts: Mapping[str, Mapping[str, Any]], own: str) -> frozenset[str] | None:
    """The libraries of all known instances; None while any may be in use: an instance is of a version that
    does not say, or the data were lost and not even `own`, the reaper asking, is known."""
    if own not in abouts or any("library" not in about for about in abouts.values()):
        return None
    return frozenset(str(about["library"]) for about in abouts.values())


def shelved(
    before: Shelf, stored: Iterable[str], used: frozenset[str] | None, *, now_ms: int
) -> Shelf:
    """What is remembered after one more look; in doubt all waiting begins anew."""
    if used is None:
        return replace(before, unused={})
    unused = {name: before.unused.get(name, now_ms) for name in stored if name not in used}
    return Shelf(unused, tuple(name for name in before.removed if name not in used))


def removable(shelf: Shelf, *, keep_ms: int, now_ms: int) -> list[str]:
    """Libraries to remove now. One that came back is used by somebody who is no instance, such as a producer
    of another version: it is left for longer, so that he does not load it all the time."""
    patience_ms = {name: max(keep_ms, LIBRARY_BACK_MS) for name in shelf.removed}
    return [
        name
        for name, since_ms in sorted(shelf.unused.items())
        if now_ms - since_ms >= patience_ms.get(name, keep_ms)
    ]


# -- who tells of the cluster, and what


def looks_as_first(before: int, own: str, reapers: Sequence[str]) -> int:
    """How many looks in a row this reaper is the first of those that live; the only one is it at once."""
    if own not in reapers or min(reapers) != own:
        return 0
    return TAKEOVER_LOOKS if len(reapers) == 1 else min(before + 1, TAKEOVER_LOOKS)


def spread(all_of_them: Sequence[T], *, most: int) -> list[T]:
    """At most so many, evenly from one end to the other."""
    step = max(1, -(-len(all_of_them) // most))
    return list(all_of_them[::step])


def stays(events: Sequence[LedgerEvent], *, since_ms: int) -> list[tuple[State, int]]:
    """Each state that a job left after `since_ms`, and how long it had been in it; `events` are the end of
    its ledger. What it was in before them is left out: nobody knows since when."""
    found: list[tuple[State, int]] = []
    began_ms: int | None = None
    for event in events:
        moved = event.type is EventType.STATUS_CHANGED
        if not moved or event.payload["from"] == event.payload["to"]:
            continue
        if began_ms is not None and event.at_ms > since_ms:
            found.append((State(event.payload["from"]), max(0, event.at_ms - began_ms)))
        began_ms = event.at_ms
    return found
