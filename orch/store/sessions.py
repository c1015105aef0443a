"""Sessions that have live jobs: which there are, and who runs or waits in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from contracts import limits
from contracts.errors import ErrorCode, Refused
from contracts.ids import checked_id
from contracts.record import SessionJob, SessionList, SessionRecord, SessionSummary
from contracts.states import State
from orch.core.asks import SessionFilter
from orch.core.ledger import state_of
from orch.store.connection import Connection
from orch.store.cursors import cursor_in, cursor_out, newest_of_tenants

_FIELDS = ("state", "spec", "pool", "class", "made_at")
_ACTIVE = frozenset((State.READY, State.RUNNING))


class Sessions:
    """Views of sessions; nothing here writes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def page(self, *, tenant: str | None, limit: int, cursor: str | None) -> SessionList:
        """Sessions with live jobs, the one that got a job last first; of all tenants without `tenant`.

        Raises:
            Refused: INVALID_REQUEST, a cursor that is none of ours.
        """
        which = SessionFilter(tenant)
        before, limit = cursor_in(which, cursor), max(1, min(limit, limits.PAGE_ITEMS_MAX))
        found = await newest_of_tenants(
            self._connection, tenant, self._connection.keys.sessions, before, limit
        )
        summaries = [await self._summary(of_tenant, session) for _, of_tenant, session in found]
        more = len(found) == limit
        return SessionList(
            sessions=summaries, next_cursor=cursor_out(which, found[-1][0]) if more else None
        )

    async def show(self, tenant: str, session: str) -> SessionRecord:
        """The live jobs of one session.

        Raises:
            Refused: INVALID_ID; NOT_FOUND, it has none.
        """
        checked_id(tenant, what="tenant")
        checked_id(session, what="session")
        keys, tie = self._connection.keys, f"s:{session}"
        live = await self._connection.execute("ZRANGE", keys.session(tenant, session), 0, -1)
        waiting = await self._connection.execute("LRANGE", keys.aside(tenant, tie), 0, -1)
        jobs = {job_id: await self._job(job_id) for job_id in live}
        known = {job_id: job for job_id, job in jobs.items() if job is not None}
        if not known:
            raise Refused(
                ErrorCode.NOT_FOUND,
                f"session {session} of tenant {tenant} has no live job",
                details={"session": session, "tenant": tenant},
            )
        holders = sorted(await self._connection.execute("SMEMBERS", keys.active(tenant, tie)))
        order = _order(holders, [entry.partition(":")[0] for entry in waiting], known)
        return SessionRecord(
            session=session,
            tenant=tenant,
            running=next((one for one in order if known[one].state in _ACTIVE), None),
            jobs=[known[job_id] for job_id in order],
        )

    async def _summary(self, tenant: str, session: str) -> SessionSummary:
        keys = self._connection.keys
        live = await self._connection.execute("ZCARD", keys.session(tenant, session))
        holders = await self._connection.execute("SMEMBERS", keys.active(tenant, f"s:{session}"))
        jobs = {job_id: await self._job(job_id) for job_id in sorted(holders)}
        active = (one for one, job in jobs.items() if job is not None and job.state in _ACTIVE)
        return SessionSummary(
            session=session, tenant=tenant, live_jobs=int(live), running=next(active, None)
        )

    async def _job(self, job_id: str) -> SessionJob | None:
        key = self._connection.keys.job(job_id)
        state, spec, pool, class_name, made_at = await self._connection.execute(
            "HMGET", key, *_FIELDS
        )
        if state is None:
            return None
        return SessionJob(
            job_id=job_id,
            name=orjson.loads(spec)["name"],
            state=state_of(state),
            pool=pool,
            priority=class_name,
            created_at_ms=int(made_at),
        )


def _order(
    holders: Sequence[str], waiting: Sequence[str], known: Mapping[str, SessionJob]
) -> list[str]:
    """Everybody once: who has the session, who waits for it, the others as they came."""
    ranked = dict.fromkeys([*holders, *waiting, *known])
    return [job_id for job_id in ranked if job_id in known]
