"""What is run in how many minutes?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from tests.chaos import disk, under_sentinels
from tests.chaos.shape import Servers, Shape

SHARES: Final[Mapping[str, float]] = {
    "always": 0.56, "everysec": 0.2, "full": 0.06, "sentinels": 0.09, "cluster": 0.09
}  # fmt: skip
"""What storms are run on, and how much of the time each has: one server with that `appendfsync`, one with
`always` on a disk that is full again and again, a primary with replicas under sentinels, a Cluster."""
_WHY_NOT: Final[Mapping[str, Callable[[], str]]] = {
    "full": disk.why_not, "sentinels": under_sentinels.why_not
}  # fmt: skip
JOBS_PER_SECOND_MIN = 1.0
"""A run in which fewer jobs completed proves nothing: faults alone are no load."""
SECONDS_MIN: Final[Mapping[str, float]] = {"full": 8.0, "sentinels": 20.0, "cluster": 20.0}
"""A disk stays full for two leases. An election takes two to five seconds, and the old primary needs as long
to come back."""
RECOVERY_S = 30.0
RECOVERY_SHARE = 0.06
"""Of a long campaign: one kill takes two seconds, and a quantile wants many."""
RECOVERY_MINUTES_MIN = 3.0
"""Shorter campaigns leave the measurement out."""
OTHERS: Final = 2
"""Of each replicated role, in a measurement."""
REPLICATED: Final = ("admission", "scheduler", "reaper", "fallback")
GATEWAYS: Final = 1
DEFAULT_LEASE_MS: Final = 15_000
KILLS_MIN: Final = 60
"""Of each measurement at the default lease: each gives about two jobs, and a p99 wants a hundred."""
FoundBy: TypeAlias = Literal["supervisor", "reaper", "new-reaper"]
"""Who finds a dead runner: the supervisor that saw it die, a reaper that lives, one that comes back after all
reapers died with the runner."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One recovery measurement: runners are killed for so long."""

    lease_ms: int
    seconds: float
    found_by: FoundBy
    runners: int = 4
    at_once: int = 1
    """So many are dead at a time."""
    kills_min: int = 1
    """Fewer prove too little."""

    def __post_init__(self) -> None:
        """Raises ValueError where more than half of all instances could be silent together."""
        reapers = OTHERS if self.found_by == "new-reaper" else 0
        instances = self.runners + OTHERS * len(REPLICATED) + GATEWAYS
        if 2 * (self.at_once + reapers) > instances:
            message = (
                f"{self.at_once + reapers} of {instances} instances die at once: a mass silence"
            )
            raise ValueError(message)


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
    time for, is left out. With `recovery` the default lease is measured too, and comes on top of them."""
    short = _short_recoveries(minutes, lease_ms, only, wanted=recovery)
    measured = (*short, *(_long_recoveries() if recovery else ()))
    left = minutes * 60 - sum(one.seconds for one in short)
    if left <= 0:
        return Plan((), measured)
    absent = lacking(on)
    able = [name for name in on if name not in absent]
    seconds = _divided(left, able)
    able = [name for name in able if seconds[name] >= SECONDS_MIN.get(name, 0)]
    seconds = _divided(left, able)
    storms = (_storm(name, engine, lease_ms, only, seconds[name]) for name in able)
    return Plan(tuple(storms), measured)


def lacking(on: Sequence[str]) -> dict[str, str]:
    """Which of these names of SHARES this machine cannot have, and why."""
    reasons = {name: _WHY_NOT[name]() for name in on if name in _WHY_NOT}
    return {name: reason for name, reason in reasons.items() if reason}


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
    if name in {"always", "everysec"}:
        return replace(usual, appendfsync=name)
    if name == "full":
        return replace(usual, small_disk=True, jobs_min=usual.jobs_min // 2)
    servers: Servers = "cluster" if name == "cluster" else "sentinels"
    # Rarer faults: an election takes seconds, and without progress there is nothing to lose.
    return replace(usual, servers=servers, pace=0.5, jobs_min=usual.jobs_min // 2)


def _short_recoveries(
    minutes: float, lease_ms: int, only: tuple[str, ...], *, wanted: bool
) -> tuple[Measurement, ...]:
    """Beside the storms, at their lease."""
    if only or (minutes < RECOVERY_MINUTES_MIN and not wanted):
        return ()
    seconds = max(RECOVERY_S, minutes * 60 * RECOVERY_SHARE)
    return (
        Measurement(lease_ms, seconds, "reaper"),
        Measurement(lease_ms, RECOVERY_S / 3, "supervisor"),
        Measurement(lease_ms, RECOVERY_S, "new-reaper", at_once=2),
    )


def _long_recoveries() -> tuple[Measurement, ...]:
    """At the default lease: a death takes twenty seconds there, so several at a time."""
    usual = Measurement(
        DEFAULT_LEASE_MS, 240.0, "reaper", runners=12, at_once=6, kills_min=KILLS_MIN
    )
    return (
        usual,
        replace(usual, found_by="supervisor", seconds=40.0),
        replace(usual, found_by="new-reaper"),
    )
