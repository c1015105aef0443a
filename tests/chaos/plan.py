"""What is run in how many minutes?"""

from __future__ import annotations

from dataclasses import dataclass

from tests.chaos.failover import why_not
from tests.chaos.shape import Shape

JOBS_PER_SECOND_MIN = 1.0
"""A run in which fewer jobs completed proves nothing: faults alone are no load."""
FAILOVER_SHARE = 0.15
FAILOVER_S_MIN = 20.0
"""An election takes two to five seconds, and the old primary as long to come back."""
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
    minutes: float, *, mode: str, engine: str, lease_ms: int, only: tuple[str, ...], recovery: bool
) -> Plan:
    """The runs that fill so many minutes."""
    measured = _recoveries(minutes, lease_ms, only, default_lease=recovery)
    left = minutes * 60 - sum(one.seconds for one in measured)
    elected = _failover(left, mode, engine, lease_ms, only)
    if elected is not None and only == ("failover",):
        return Plan((elected,), measured)
    left -= 0 if elected is None else elected.seconds
    shares = {"always": {"always": 1.0}, "everysec": {"everysec": 1.0}}.get(
        mode, {"always": 0.75, "everysec": 0.25}
    )
    storms = tuple(
        Shape(
            f"{engine}-{name}",
            appendfsync=name,
            engine=engine,
            seconds=round(left * share, 1),
            lease_ms=lease_ms,
            only=only,
            jobs_min=int(left * share * JOBS_PER_SECOND_MIN),
        )
        for name, share in shares.items()
    )
    return Plan((*storms, *([elected] if elected else [])), measured)


def _failover(
    left: float, mode: str, engine: str, lease_ms: int, only: tuple[str, ...]
) -> Shape | None:
    """The run on a primary with replicas and sentinels, where this machine can have one."""
    alone = only == ("failover",)
    seconds = left if alone else round(left * FAILOVER_SHARE, 1)
    unwanted = mode != "both" or (only and "failover" not in only)
    if why_not() or unwanted or seconds < FAILOVER_S_MIN:
        return None
    return Shape(
        f"{engine}-failover",
        engine=engine,
        seconds=seconds,
        lease_ms=lease_ms,
        # Rarer faults: an election takes seconds, and without progress there is nothing to lose.
        pace=0.5,
        only=only,
        failover=True,
        jobs_min=int(seconds * JOBS_PER_SECOND_MIN / 2),
    )


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
