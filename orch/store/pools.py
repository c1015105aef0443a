"""Pools as operators and autoscalers see them; each look is one function call that writes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from contracts.errors import ErrorCode, Refused
from contracts.limits import POOL_HEADS_MAX
from contracts.pools import Pool, PoolHealth, PoolList, ReplicaSet, ReplicaSetList, RunnerView
from orch.store.connection import Connection


@dataclass(frozen=True, slots=True)
class _Runner:
    instance_id: str
    slots: int
    held: int
    draining: bool
    about: dict[str, Any]

    @property
    def free(self) -> int:
        return 0 if self.draining else max(0, self.slots - self.held)


@dataclass(frozen=True, slots=True)
class _Survey:
    pool: str
    draining: bool
    intake_paused: bool
    dispatch_paused: bool
    queued: int
    oldest_age_ms: int | None
    runners: tuple[_Runner, ...]

    @property
    def running(self) -> int:
        return sum(one.held for one in self.runners)

    @property
    def slots(self) -> int:
        return sum(one.slots for one in self.runners)

    @property
    def free(self) -> int:
        return sum(one.free for one in self.runners)


class Pools:
    """Looks at pools."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def pools(self) -> PoolList:
        """All of them, by name."""
        return PoolList(pools=[_pool(one) for one in await self._all()])

    async def health(self, pool: str) -> PoolHealth:
        """How one does.

        Raises:
            Refused: NOT_FOUND, there is no such pool.
        """
        return _health(await self._survey(pool, heads=POOL_HEADS_MAX))

    async def replica_sets(self) -> ReplicaSetList:
        """Runners of each pool, those that are equal taken together."""
        sets = [one for found in await self._all() for one in _replica_sets(found)]
        return ReplicaSetList(replicasets=sets)

    async def workload(self, pool: str) -> int:
        """Jobs that runners of the pool must work off: waiting ones and running ones.

        Raises:
            Refused: NOT_FOUND, there is no such pool.
        """
        found = await self._survey(pool, heads=0)
        return found.queued + found.running

    async def check(self, pool: str) -> None:
        """That there is such a pool.

        Raises:
            Refused: NOT_FOUND.
        """
        known = await self._connection.execute("SMEMBERS", self._connection.keys.pools)
        if pool not in known:
            raise _no_such_pool(pool)

    async def _all(self) -> list[_Survey]:
        names = await self._connection.execute("SMEMBERS", self._connection.keys.pools)
        return [await self._survey(name, heads=0) for name in sorted(names)]

    async def _survey(self, pool: str, *, heads: int) -> _Survey:
        reply = await self._connection.call("survey", pool, heads)
        if reply[0] == "unknown":
            raise _no_such_pool(pool)
        drained, intake, dispatch, queued, ready, age = (int(word) for word in reply[1:7])
        runners = tuple(
            _Runner(one[0], int(one[1]), int(one[2]), bool(drained or one[3]), orjson.loads(one[4]))
            for one in reply[7]
        )
        return _Survey(
            pool, bool(drained), bool(intake), bool(dispatch), queued + ready,
            None if age < 0 else age, runners,
        )  # fmt: skip


def _no_such_pool(pool: str) -> Refused:
    return Refused(
        ErrorCode.NOT_FOUND,
        f"there is no pool {pool[:80]!a}",
        hint="`orch pools` lists those that exist.",
        details={"pool": pool[:80]},
    )


def _pool(found: _Survey) -> Pool:
    is_draining = found.draining or (bool(found.runners) and all(r.draining for r in found.runners))
    return Pool(
        pool=found.pool,
        status="draining" if is_draining else "ready" if found.runners else "empty",
        intake="paused" if found.intake_paused else "open",
        dispatch="paused" if found.dispatch_paused else "open",
        runners=len(found.runners),
        slots=found.slots,
        free=found.free,
        queued=found.queued,
        running=found.running,
    )


def _health(found: _Survey) -> PoolHealth:
    at_work = [one for one in found.runners if not one.draining]
    return PoolHealth(
        pool=found.pool,
        live=bool(found.runners),
        ready=bool(at_work) and not found.dispatch_paused,
        draining=found.draining or (bool(found.runners) and not at_work),
        slots=found.slots,
        free=found.free,
        queued=found.queued,
        running=found.running,
        oldest_age_ms=found.oldest_age_ms,
        runners=[
            RunnerView(
                runner=one.instance_id,
                status="draining" if one.draining else "ready",
                slots=one.slots,
                held=one.held,
                host=one.about.get("host"),
                version=one.about.get("version"),
            )
            for one in found.runners
        ],
    )


def _replica_sets(found: _Survey) -> Iterable[ReplicaSet]:
    alike: dict[tuple[str, tuple[str, ...]], list[_Runner]] = {}
    for one in found.runners:
        version = str(one.about.get("version", ""))
        able = tuple(sorted(one.about.get("capabilities", ())))
        alike.setdefault((version, able), []).append(one)
    for (version, able), runners in sorted(alike.items()):
        slots = sum(one.slots for one in runners)
        yield ReplicaSet(
            pool=found.pool,
            version=version,
            capabilities=list(able),
            slots_total=slots,
            slots_free=sum(one.free for one in runners),
            load=round(sum(one.held for one in runners) / slots, 3) if slots else 0.0,
            ready=not found.dispatch_paused and any(not one.draining for one in runners),
        )
