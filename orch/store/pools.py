"""Pools as operators and autoscalers see them."""

from __future__ import annotations

from collections.abc import Iterable

from contracts.limits import POOL_HEADS_MAX
from contracts.pools import Pool, PoolHealth, PoolList, ReplicaSet, ReplicaSetList, RunnerView
from orch.store.connection import Connection
from orch.store.surveys import Survey, SurveyedRunner, Surveys, no_such_pool


class Pools:
    """Looks at pools."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._surveys = Surveys(connection)

    async def pools(self) -> PoolList:
        """All of them, by name."""
        return PoolList(pools=[_pool(one) for one in await self._surveys.all()])

    async def health(self, pool: str) -> PoolHealth:
        """How one does.

        Raises:
            Refused: NOT_FOUND, there is no such pool.
        """
        return _health(await self._surveys.of(pool, heads=POOL_HEADS_MAX))

    async def replica_sets(self) -> ReplicaSetList:
        """Runners of each pool, those that are equal taken together."""
        sets = [one for found in await self._surveys.all() for one in _replica_sets(found)]
        return ReplicaSetList(replicasets=sets)

    async def workload(self, pool: str) -> int:
        """Jobs that runners of the pool must work off: waiting ones and running ones.

        Raises:
            Refused: NOT_FOUND, there is no such pool.
        """
        found = await self._surveys.of(pool, heads=0)
        return found.queued + found.running

    async def check(self, pool: str) -> None:
        """That there is such a pool.

        Raises:
            Refused: NOT_FOUND.
        """
        known = await self._connection.execute("SMEMBERS", self._connection.keys.pools)
        if pool not in known:
            raise no_such_pool(pool)


def _pool(found: Survey) -> Pool:
    return Pool(
        pool=found.pool,
        status="draining" if found.is_closed else "ready" if found.runners else "empty",
        intake="paused" if found.intake_paused else "open",
        dispatch="paused" if found.dispatch_paused else "open",
        runners=len(found.runners),
        slots=found.slots,
        free=found.free,
        queued=found.queued,
        running=found.running,
    )


def _health(found: Survey) -> PoolHealth:
    return PoolHealth(
        pool=found.pool,
        live=bool(found.runners),
        ready=bool(found.at_work) and not found.dispatch_paused,
        draining=found.is_closed,
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


def _replica_sets(found: Survey) -> Iterable[ReplicaSet]:
    alike: dict[tuple[str, tuple[str, ...]], list[SurveyedRunner]] = {}
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
