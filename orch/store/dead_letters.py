"""Jobs that fallback gave up on: listed, and tried again as new jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from contracts import limits
from contracts.errors import ErrorCode, Refused
from contracts.ids import checked_id
from contracts.outcomes import Outcome
from contracts.record import DeadLetter, DeadLetterList, Replayed
from orch.core.asks import LetterFilter
from orch.core.bounds import Bounds
from orch.core.ledger import state_of
from orch.core.scheduling import SchedulingPolicy
from orch.ports import Ids
from orch.store.connection import Connection
from orch.store.cursors import check_age, cursor_in, cursor_out, newest_of_tenants
from orch.store.reading import no_such_job
from orch.store.refusals import refused_of
from orch.store.submissions import Submissions


class DeadLetters:
    """The dead letters of all tenants."""

    def __init__(
        self,
        connection: Connection,
        ids: Ids,
        policy: SchedulingPolicy,
        *,
        actor: str,
        bounds: Bounds,
        submissions: Submissions,
    ) -> None:
        self._connection = connection
        self._ids = ids
        self._policy = policy.text()
        self._actor = actor
        self._bounds = bounds.text()
        self._submissions = submissions

    async def page(self, which: LetterFilter, *, limit: int, cursor: str | None) -> DeadLetterList:
        """A page, newest first; it may be short while `next_cursor` still leads on.

        Raises:
            Refused: INVALID_REQUEST, a cursor of another list or none of ours; EXPIRED_CURSOR.
        """
        limit = max(1, min(limit, limits.PAGE_ITEMS_MAX))
        before = cursor_in(which, cursor)
        if before is not None:
            meta = self._connection.keys.meta
            check_age(before, int(await self._connection.execute("HGET", meta, "deaths") or 0))
        looked_at = await newest_of_tenants(
            self._connection, which.tenant, self._connection.keys.dead, before, limit
        )
        letters = [await self._letter(job_id) for _, _, job_id in looked_at]
        found = [one for one in letters if one is not None and which.fits(one)]
        more = len(looked_at) == limit
        return DeadLetterList(
            dead_letters=found,
            next_cursor=cursor_out(which, looked_at[-1][0]) if more else None,
        )

    async def replay(self, job_ids: Sequence[str], *, by: str) -> list[Replayed]:
        """Makes a new job of each; a letter that was replayed answers with the job it became.

        A letter that cannot be replayed carries its error and costs the others nothing.
        """
        answers: list[Replayed] = []
        for at in range(0, len(job_ids), limits.BATCH_ITEMS_MAX):
            answers += await self._replay_batch(job_ids[at : at + limits.BATCH_ITEMS_MAX], by)
        return answers

    async def _replay_batch(self, job_ids: Sequence[str], by: str) -> list[Replayed]:
        pairs = [(checked_id(job_id), self._ids.job_id()) for job_id in job_ids]
        head = (self._actor, self._policy, self._bounds, orjson.dumps(by).decode())
        flat = [word for pair in pairs for word in pair]
        reply = await self._connection.call("replay", *head, len(pairs), *flat)
        self._count(reply[1], reply[2])
        self._connection.ended(reply[3])
        return [_answer(job_id, one) for job_id, one in zip(job_ids, reply[1], strict=True)]

    def _count(self, answers: Sequence[list[Any]], evicted: Sequence[Any]) -> None:
        """A letter that is none was not brought to admission."""
        self._submissions.gave_way(evicted)
        for one in answers:
            if one[0] in {"new", "replayed"}:
                self._submissions.by_result["accepted" if one[0] == "new" else "duplicate"] += 1
            elif one[0] == "refused":
                self._submissions.answered([refused_of(one)])

    async def _letter(self, job_id: str) -> DeadLetter | None:
        key = self._connection.keys.job(job_id)
        spec, tenant, pool, outcome, why, attempt, finished = await self._connection.execute(
            "HMGET", key, "spec", "tenant", "pool", "outcome", "why", "attempt", "finished_at"
        )
        if spec is None:
            return None
        return DeadLetter(
            job_id=job_id,
            name=orjson.loads(spec)["name"],
            tenant=tenant,
            pool=pool,
            died_at_ms=int(finished),
            outcome=Outcome(outcome),
            reason=why or "",
            attempts=int(attempt or 0),
        )


def _answer(job_id: str, reply: list[Any]) -> Replayed:
    match reply[0]:
        case "new" | "replayed":
            return Replayed(job_id=job_id, replayed_as=reply[1])
        case "unknown":
            error = no_such_job(job_id)
        case "alive":
            state = state_of(reply[1]).value
            error = Refused(
                ErrorCode.INVALID_TRANSITION,
                f"job {job_id} is {state}: only a dead letter is replayed",
                details={"state": state, "refusal": "not_dead"},
            )
        case _:
            error = refused_of(reply)
    return Replayed.model_validate({"job_id": job_id, "replayed_as": None, "error": error.body()})
