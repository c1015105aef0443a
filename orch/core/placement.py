"""Which pool takes a job whose spec describes one instead of naming it (SCH-5)?

The same facts and the same wish always give the same pool: what fits is ranked by the session's last pool,
by the order of preference, by load, then by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from contracts.errors import ErrorCode, Refused
from contracts.spec import Placement


class Why(StrEnum):
    """What decided between the pools that fit."""

    PINNED = "pinned"
    SESSION = "session"
    PREFERRED = "preferred"
    LEAST_LOADED = "least_loaded"
    ONLY_ONE = "only_one"


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """A pool as placement sees it."""

    name: str
    slots: int
    """Of its live runners that are not drained; 0: it is not ready."""
    load: int
    """Jobs that run, or that wait for it."""
    capabilities: frozenset[str]
    """What every one of these runners has."""
    draining: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """The choice, and what decided it."""

    pool: str
    why: Why
    fitting: tuple[str, ...]
    """All pools that would have done, best first."""


def _misfit(pool: PoolFacts, wish: Placement) -> str | None:
    """Why the pool cannot take the job; None when it can."""
    if pool.name in wish.avoid:
        return "avoided"
    if wish.mode != "prefer" and wish.pools and pool.name not in wish.pools:
        return "not asked for"
    lacking = sorted(set(wish.requires) - pool.capabilities)
    if pool.draining:
        return "it drains"
    if pool.slots == 0:
        return "no runner serves it"
    return f"it lacks {', '.join(lacking)}" if lacking else None


def _reason(best: PoolFacts, wish: Placement, last_pool: str | None, fitting: int) -> Why:
    if wish.mode == "pin":
        return Why.PINNED
    if best.name == last_pool:
        return Why.SESSION
    if wish.mode == "prefer" and best.name in wish.pools:
        return Why.PREFERRED
    return Why.LEAST_LOADED if fitting > 1 else Why.ONLY_ONE


def place(wish: Placement, pools: Iterable[PoolFacts], *, last_pool: str | None) -> Placed:
    """The pool for the job; `last_pool` is where its session ran before.

    Raises:
        Refused: NO_POOL; details.candidates says of each pool why not.
    """
    known = sorted(pools, key=lambda pool: pool.name)
    misfits = {pool.name: why for pool in known if (why := _misfit(pool, wish))}
    fitting = [pool for pool in known if pool.name not in misfits]
    if not fitting:
        raise _nobody(wish, misfits)

    def rank(pool: PoolFacts) -> tuple[bool, int, float, str]:
        preferred = wish.mode == "prefer" and pool.name in wish.pools
        order = wish.pools.index(pool.name) if preferred else len(wish.pools)
        return pool.name != last_pool, order, pool.load / pool.slots, pool.name

    ranked = sorted(fitting, key=rank)
    why = _reason(ranked[0], wish, last_pool, len(ranked))
    return Placed(ranked[0].name, why, tuple(pool.name for pool in ranked))


def _nobody(wish: Placement, misfits: dict[str, str]) -> Refused:
    unknown: Sequence[str] = [name for name in wish.pools if name not in misfits]
    candidates = {**misfits, **dict.fromkeys(unknown, "there is no such pool")}
    what = f"the pinned pool {wish.pools[0]} is" if wish.mode == "pin" else "no pool is"
    return Refused(
        ErrorCode.NO_POOL,
        f"{what} ready and able: " + "; ".join(f"{n}: {w}" for n, w in sorted(candidates.items())),
        details={"candidates": candidates},
    )
