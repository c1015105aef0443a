"""What people do to a job: cancel, pause, resume, answer. A repeat changes nothing."""

from __future__ import annotations

from typing import Any

import orjson

from contracts.errors import ErrorCode, Refused
from contracts.ids import checked_id
from contracts.limits import EVENT_BYTES_MAX
from contracts.record import JobRecord
from contracts.states import Event, step
from orch.core.ledger import state_of
from orch.core.questions import checked_answer
from orch.core.scheduling import SchedulingPolicy
from orch.ports import Ids
from orch.store.connection import Connection
from orch.store.reading import Reading, no_such_job


def _json(text: str | None) -> str:
    return orjson.dumps(text).decode()


def _who(by: str, note: str | None) -> str:
    """Members of the event's payload: who, and why if they said it (cut to what an event has room for)."""
    members = {"by": by} if note is None else {"by": by, "note": note[:NOTE_CHARS_MAX]}
    return orjson.dumps(members).decode()[1:-1]


def _raise_for(reply: list[Any], job_id: str, event: Event) -> None:
    if reply[0] == "unknown":
        raise no_such_job(job_id)
    if reply[0] == "refused":
        state = state_of(reply[1])
        raise Refused(
            ErrorCode.INVALID_TRANSITION,
            f"job {job_id} is {state.value}: {event.value} is refused",
            details={
                "state": state.value,
                "event": event.value,
                "refusal": str(step(state, event)),
            },
        )


NOTE_CHARS_MAX = EVENT_BYTES_MAX // 5
"""A ledger entry has room for it even when every character takes four bytes."""


class Steering:
    """Operators' verbs; each answers with the record after it."""

    def __init__(
        self, connection: Connection, reading: Reading, policy: SchedulingPolicy, *, actor: str
    ) -> None:
        self._connection = connection
        self._reading = reading
        self._policy = policy.text()
        self._actor = actor

    async def cancel(self, job_id: str, *, by: str, note: str | None = None) -> JobRecord:
        """Ends the job at once; a running agent is stopped within a second.

        Raises:
            Refused: INVALID_ID; NOT_FOUND; INVALID_TRANSITION, when the job is over in another way.
        """
        reply = await self._connection.call(
            "cancel", checked_id(job_id), _who(by, note), self._actor, self._policy
        )
        _raise_for(reply, job_id, Event.CANCEL)
        self._connection.ended([job_id])
        return await self._reading.job(job_id)

    async def pause(self, job_id: str, *, by: str, note: str | None = None) -> JobRecord:
        """Stops a waiting job now, a running one at its next step.

        Raises:
            Refused: INVALID_ID; NOT_FOUND; INVALID_TRANSITION, when it is over or waits for an answer.
        """
        reply = await self._connection.call(
            "pause", checked_id(job_id), _who(by, note), self._actor, self._policy
        )
        _raise_for(reply, job_id, Event.PAUSE)
        return await self._reading.job(job_id)

    async def resume(self, job_id: str, *, by: str, note: str | None = None) -> JobRecord:
        """Lets a paused job go on; one that is not paused is left as it is.

        Raises:
            Refused: INVALID_ID; NOT_FOUND; INVALID_TRANSITION, when it is over or waits for an answer.
        """
        reply = await self._connection.call(
            "resume", checked_id(job_id), _who(by, note), self._actor, self._policy
        )
        _raise_for(reply, job_id, Event.RESUME)
        return await self._reading.job(job_id)


class Questions:
    """Answers to what agents ask."""

    def __init__(
        self,
        connection: Connection,
        reading: Reading,
        ids: Ids,
        policy: SchedulingPolicy,
        *,
        actor: str,
    ) -> None:
        self._connection = connection
        self._reading = reading
        self._ids = ids
        self._policy = policy.text()
        self._actor = actor

    async def answer(
        self, job_id: str, question_id: str, value: object, *, by: str, reason: str | None = None
    ) -> JobRecord:
        """Gives the waiting step its answer; it is consumed once.

        Raises:
            Refused: NOT_FOUND; INVALID_ANSWER, it does not fit; ALREADY_ANSWERED, it has an answer or
                is not the question asked now; INVALID_TRANSITION, the job does not wait.
        """
        question = await self._reading.question(job_id)
        if question is not None and question.question_id == question_id:
            value = checked_answer(question, value)
        reply = await self._connection.call(
            "answer",
            job_id,
            question_id,
            orjson.dumps(value).decode(),
            _json(by),
            _json(reason),
            self._actor,
            self._policy,
            self._ids.token(),
        )
        if reply[0] == "answered":
            raise Refused(
                ErrorCode.ALREADY_ANSWERED,
                f"question {question_id} of job {job_id} is not open",
                details={
                    "question_id": question_id,
                    "open": question.question_id if question else None,
                },
            )
        _raise_for(reply, job_id, Event.ANSWER)
        return await self._reading.job(job_id)
