"""What placement has to know of the pools, and where a session ran last.

A choice is made on what was read a moment ago and is not taken back: a pool that fails meanwhile keeps its
jobs until a runner serves it again, as with a pool that was named.
"""

from __future__ import annotations

from dataclasses import replace

from contracts.limits import AFFINITY_TTL_MS
from contracts.spec import JobSpec
from orch.core.placement import Placed, PoolFacts, place
from orch.store.connection import Connection
from orch.store.surveys import Survey, Surveys


class Placements:
    """Choices for the submissions of one call; what it placed counts as load for the next of them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pools: dict[str, PoolFacts] | None = None
        self._last: dict[tuple[str, str], str] = {}

    async def choose(self, spec: JobSpec) -> Placed:
        """The pool for a spec with a placement.

        Raises:
            Refused: NO_POOL.
        """
        assert spec.placement is not None
        if self._pools is None:
            surveys = await Surveys(self._connection).all()
            self._pools = {one.pool: _facts_of(one) for one in surveys}
        last_pool = await self._last_pool(spec)
        placed = place(spec.placement, self._pools.values(), last_pool=last_pool)
        chosen = self._pools[placed.pool]
        self._pools[placed.pool] = replace(chosen, load=chosen.load + 1)
        if spec.session is not None:
            self._last[spec.tenant, spec.session] = placed.pool
        return placed

    async def remember(self) -> None:
        """A session's next job is drawn to where its last one went. A hint: it may be lost or be late."""
        for (tenant, session), pool in self._last.items():
            key = self._connection.keys.affinity(tenant, session)
            await self._connection.execute("SET", key, pool, "PX", AFFINITY_TTL_MS)

    async def _last_pool(self, spec: JobSpec) -> str | None:
        if spec.session is None:
            return None
        known = self._last.get((spec.tenant, spec.session))
        key = self._connection.keys.affinity(spec.tenant, spec.session)
        found: str | None = known or await self._connection.execute("GET", key)
        return found


def _facts_of(found: Survey) -> PoolFacts:
    able = [frozenset(one.about.get("capabilities", ())) for one in found.at_work]
    return PoolFacts(
        found.pool,
        slots=sum(one.slots for one in found.at_work),
        load=found.running + found.queued,
        capabilities=frozenset.intersection(*able) if able else frozenset(),
        draining=found.is_closed,
    )
