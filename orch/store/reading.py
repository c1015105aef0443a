"""What readers ask: one job, a page of jobs, a ledger, output, artifacts, why a job waits."""

from __future__ import annotations

import orjson

from contracts import limits
from contracts.errors import ErrorCode, Refused
from contracts.ids import checked_id
from contracts.record import (
    Artifact,
    Explanation,
    JobList,
    JobRecord,
    LedgerEvent,
    LogLine,
    Question,
)
from contracts.states import State
from orch.core.asks import JobFilter
from orch.core.explain import Facts, explain
from orch.core.ledger import parse_entry, parse_ledger, state_of
from orch.core.scheduling import SchedulingPolicy, TiePolicy
from orch.core.tracing import Carried, Moments, split_carried
from orch.core.views import artifacts_of, job_record, question_of
from orch.store.connection import Connection
from orch.store.listing import list_jobs
from orch.store.obstacles import obstacles
from orch.store.output import Output

_LINE_LOOKED_AT = 1_000
"""Entries of a line searched for one job's place."""
_MOMENTS = (
    "state", "attempt", "made_at", "queued_at", "claimed_at", "finished_at", "outcome",
)  # fmt: skip


def _at(text: str | None) -> int | None:
    return None if text is None else int(text)


def no_such_job(job_id: str) -> Refused:
    """The refusal for an id nobody knows."""
    return Refused(ErrorCode.NOT_FOUND, f"there is no job {job_id}", details={"job_id": job_id})


class Reading:
    """Views of jobs; nothing here writes."""

    def __init__(
        self, connection: Connection, output: Output, policy: SchedulingPolicy | None = None
    ) -> None:
        self._connection = connection
        self._output = output
        self._ties = policy.ties if policy is not None else TiePolicy()

    async def _fields(self, job_id: str) -> dict[str, str]:
        checked_id(job_id)
        fields: dict[str, str] = await self._connection.execute(
            "HGETALL", self._connection.keys.job(job_id)
        )
        if not fields:
            raise no_such_job(job_id)
        return fields

    async def _record(self, job_id: str, fields: dict[str, str]) -> JobRecord:
        heartbeat, lease_ms = None, None
        if "claim" in fields:
            keys = self._connection.keys
            seen = await self._connection.execute("HGET", keys.seen, fields["runner"])
            about = await self._connection.execute("HGET", keys.instances, fields["runner"])
            heartbeat = int(seen) if seen else None
            lease_ms = orjson.loads(about).get("lease_ms") if about else None
        return job_record(job_id, fields, heartbeat_at_ms=heartbeat, lease_ms=lease_ms)

    async def job(self, job_id: str) -> JobRecord:
        """The record.

        Raises:
            Refused: INVALID_ID, NOT_FOUND.
        """
        return await self._record(job_id, await self._fields(job_id))

    async def check_tenant(self, job_id: str, tenant: str) -> None:
        """Returns when the job is this tenant's.

        Raises:
            Refused: INVALID_ID; NOT_FOUND, the same for another tenant's job as for one that never was.
        """
        key = self._connection.keys.job(checked_id(job_id))
        if await self._connection.execute("HGET", key, "tenant") != tenant:
            raise no_such_job(job_id)

    async def claim_of(self, job_id: str) -> str | None:
        """The claim in force; None when there is none, or no such job.

        Raises:
            Refused: INVALID_ID.
        """
        key = self._connection.keys.job(checked_id(job_id))
        claim: str | None = await self._connection.execute("HGET", key, "claim")
        return claim

    async def moments(self, job_id: str) -> Moments | None:
        """When what happened to a job; None when nobody knows it (any more)."""
        state, attempt, made, queued, claimed, finished, outcome = await self._connection.execute(
            "HMGET", self._connection.keys.job(checked_id(job_id)), *_MOMENTS
        )
        if state is None:
            return None
        return Moments(
            state=state_of(state),
            attempt=int(attempt or 0),
            made_at_ms=int(made),
            queued_at_ms=_at(queued),
            claimed_at_ms=_at(claimed),
            finished_at_ms=_at(finished),
            outcome=outcome,
        )

    async def carried(self, job_id: str) -> Carried | None:
        """What travels with a job for traces and logs."""
        key = self._connection.keys.job(checked_id(job_id))
        return split_carried(await self._connection.execute("HGET", key, "spec") or "")[1]

    async def tagged(self, job_id: str) -> tuple[JobRecord, str]:
        """The record, and a word that changes with every entry of the ledger and with every other job that
        is given this id. A heartbeat of its lease does not change it.

        Raises:
            Refused: INVALID_ID, NOT_FOUND.
        """
        fields = await self._fields(job_id)
        return await self._record(job_id, fields), f"{fields['made_at']}-{fields['seq']}"

    async def question(self, job_id: str) -> Question | None:
        """The open question, if the job waits for one."""
        return question_of(await self._fields(job_id))

    async def ledger(self, job_id: str, *, after: int, limit: int) -> list[LedgerEvent]:
        """Entries with seq > `after`, oldest first, at most `limit`.

        Raises:
            Refused: INVALID_ID, NOT_FOUND.
        """
        checked_id(job_id)
        limit = min(limit, limits.PAGE_ITEMS_MAX)
        wanted = range(after + 1, after + limit + 1)
        key = self._connection.keys.job(job_id)
        values = await self._connection.execute("HMGET", key, "seq", *(str(n) for n in wanted))
        if values[0] is None:
            raise no_such_job(job_id)
        last = int(values[0])
        return [
            parse_entry(n, text) for n, text in zip(wanted, values[1:], strict=True) if n <= last
        ]

    async def output(self, job_id: str, *, after: int, limit: int) -> tuple[list[LogLine], int]:
        """Output pieces with i > `after`, and how many before the first are gone.

        Raises:
            Refused: INVALID_ID, NOT_FOUND.
        """
        checked_id(job_id)
        exists = await self._connection.execute("EXISTS", self._connection.keys.job(job_id))
        if not exists:
            raise no_such_job(job_id)
        return await self._output.read(job_id, after=after, limit=min(limit, limits.PAGE_ITEMS_MAX))

    async def artifacts(self, job_id: str) -> list[Artifact]:
        """Files the job left.

        Raises:
            Refused: INVALID_ID, NOT_FOUND.
        """
        fields = await self._fields(job_id)
        result = orjson.loads(fields["result"]) if "result" in fields else None
        return artifacts_of(parse_ledger(fields), result)

    async def explain(self, job_id: str) -> Explanation:
        """Why the job is where it is, and what unblocks it.

        Raises:
            Refused: INVALID_ID, NOT_FOUND.
        """
        fields = await self._fields(job_id)
        record = await self._record(job_id, fields)
        keys = self._connection.keys
        slots = await self._connection.execute("HGETALL", keys.slots(record.pool))
        depth = await self._connection.execute(
            "HGET", keys.counters, f"depth:{record.pool}:{record.priority}"
        )
        is_queued = record.state is State.QUEUED
        stopped_by = (
            await obstacles(self._connection, record, fields, list(slots), self._ties)
            if is_queued
            else {}
        )
        drained = stopped_by.pop("drained", frozenset())
        serving = {runner: count for runner, count in slots.items() if runner not in drained}
        held = [await self._connection.execute("HLEN", keys.held(runner)) for runner in serving]
        return explain(
            record,
            Facts(
                slots=sum(int(count.lstrip("?")) for count in serving.values()),
                runners=len(slots),
                runners_draining=len(drained),
                held=sum(int(count) for count in held),
                queued_in_class=int(depth or 0),
                undecided="undecided" in fields,
                placed=parse_entry(1, fields["1"]).payload.get("placed"),
                queue_position=await self._position(job_id, record, fields),
                **stopped_by,
            ),
        )

    async def _position(self, job_id: str, record: JobRecord, fields: dict[str, str]) -> int | None:
        if record.state is not State.QUEUED:
            return None
        keys, aside = self._connection.keys, fields.get("aside")
        line = keys.queue(record.pool, record.priority, record.tenant)
        if aside is not None:
            line = keys.aside(record.tenant, aside)
        entry = f"{job_id}:{fields['ticket']}"
        place = await self._connection.execute("LPOS", line, entry, "MAXLEN", _LINE_LOOKED_AT)
        return None if place is None else int(place)

    async def jobs(self, which: JobFilter, *, limit: int, cursor: str | None) -> JobList:
        """A page, newest first. It may be short while `next_cursor` still leads on.

        Raises:
            Refused: INVALID_REQUEST, a cursor of another list or none of ours; EXPIRED_CURSOR.
        """
        return await list_jobs(self._connection, which, self._record, limit=limit, cursor=cursor)
