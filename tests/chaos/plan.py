"""What is run in how many minutes?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tests.chaos.shape import Servers, Shape
from tests.chaos.under_sentinels import why_not

SHARES: Final[Mapping[str, float]] = {
    "always": 0.62, "everysec": 0.2, "sentinels": 0.09, "cluster": 0.09
}  # fmt: skip
"""What storms are run on, and how much of the time each has: one server with that `appendfsync`, a primary
with replicas under sentinels, a Cluster."""
JOBS_PER_SECOND_MIN = 1.0
"""A run in which fewer jobs completed proves nothing: faults alone are no load."""
FAILOVER_S_MIN = 20.0
"""An election takes two to five seconds, and the old primary as long to come back."""
_SINGLE: Final = frozenset({"always", "everysec"})
RECOVERY_S = 30.0
RECOVERY_SHARE = 0.06
"""Of a long campaign: one kill takes two seconds, and a quantile wants many."""
RECOVERY_MINUTES_MIN = 3.0
"""Shorter campaigns leave the measurement out."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One recovery measurement."""

    lease_ms: int
    seconds: float
    supervised: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """All runs of a campaign, in order."""

    storms: tuple[Shape, ...]
    recoveries: tuple[Measurement, ...] = ()


def plan_of(
    minutes: float,
    *,
    on: Sequence[str],
    engine: str,
    lease_ms: int,
    only: tuple[str, ...],
    recovery: bool,
) -> Plan:
    """The runs that fill so many minutes. `on`: names of SHARES; what this machine cannot have, or has no
    time for, is left out."""
    measured = _recoveries(minutes, lease_ms, only, default_lease=recovery)
    left = minutes * 60 - sum(one.seconds for one in measured)
    able = [name for name in on if name != "sentinels" or not why_not()]
    seconds = _divided(left, able)
    able = [name for name in able if name in _SINGLE or seconds[name] >= FAILOVER_S_MIN]
    seconds = _divided(left, able)
    storms = (_storm(name, engine, lease_ms, only, seconds[name]) for name in able)
    return Plan(tuple(storms), measured)


def _divided(seconds: float, names: Sequence[str]) -> dict[str, float]:
    whole = sum(SHARES[name] for name in names)
    return {name: round(seconds * SHARES[name] / whole, 1) for name in names}


def _storm(name: str, engine: str, lease_ms: int, only: tuple[str, ...], seconds: float) -> Shape:
    usual = Shape(
        f"{engine}-{name}",
        engine=engine,
        seconds=seconds,
        lease_ms=lease_ms,
        only=only,
        jobs_min=int(seconds * JOBS_PER_SECOND_MIN),
    )
    if name in _SINGLE:
        return replace(usual, appendfsync=name)
    servers: Servers = "cluster" if name == "cluster" else "sentinels"
    # Rarer faults: an election takes seconds, and without progress there is nothing to lose.
    return replace(usual, servers=servers, pace=0.5, jobs_min=usual.jobs_min // 2)


def _recoveries(
    minutes: float, lease_ms: int, only: tuple[str, ...], *, default_lease: bool
) -> tuple[Measurement, ...]:
    if only or (minutes < RECOVERY_MINUTES_MIN and not default_lease):
        return ()
    seconds = max(RECOVERY_S, minutes * 60 * RECOVERY_SHARE)
    short = (
        Measurement(lease_ms, seconds, supervised=False),
        Measurement(lease_ms, RECOVERY_S / 3, supervised=True),
    )
    long = (
        Measurement(15_000, 75.0, supervised=False),
        Measurement(15_000, 10.0, supervised=True),
    )
    return (*short, *long) if default_lease else short
