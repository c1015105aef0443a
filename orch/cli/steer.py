"""`orch cancel`, `pause`, `resume`, `answer`: what a human tells a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from contracts.errors import ErrorCode, Refused
from orch.cli.door import HERE, Door, JobId
from orch.cli.output import emit

if TYPE_CHECKING:
    from contracts.record import JobRecord
    from orch.client.calls import Call

Reason = Annotated[str | None, Parameter(help="Why; kept in the ledger.")]
QuestionId = Annotated[
    str | None, Parameter(name="--question", help="Which question; default: the open one.")
]


def cancel(job_id: JobId, /, *, reason: Reason = None, door: Door = HERE) -> int:
    """Cancel a job; a running agent is stopped. A repeat changes nothing."""
    return _command(job_id, "cancel", reason, door)


def pause(job_id: JobId, /, *, reason: Reason = None, door: Door = HERE) -> int:
    """Pause a job; a running one stops at its next step and keeps what it finished."""
    return _command(job_id, "pause", reason, door)


def resume(job_id: JobId, /, *, reason: Reason = None, door: Door = HERE) -> int:
    """Let a paused job go on."""
    return _command(job_id, "resume", reason, door)


def answer(
    job_id: JobId,
    value: Annotated[
        str, Parameter(name="VALUE", help="approve or deny, one of the options, or text.")
    ],
    /,
    *,
    question: QuestionId = None,
    reason: Reason = None,
    door: Door = HERE,
) -> int:
    """Answer the question that a blocked job asks. A value that begins with `-` goes after `--`."""
    from orch.client import calls

    asked = question or _open_question(job_id, door)
    return _send(calls.answer(job_id, asked, value, reason), door)


def approve(
    job_id: JobId, /, *, question: QuestionId = None, reason: Reason = None, door: Door = HERE
) -> int:
    """Answer an approval with `approve`."""
    return answer(job_id, "approve", question=question, reason=reason, door=door)


def deny(
    job_id: JobId, /, *, question: QuestionId = None, reason: Reason = None, door: Door = HERE
) -> int:
    """Answer an approval with `deny`."""
    return answer(job_id, "deny", question=question, reason=reason, door=door)


def _open_question(job_id: str, door: Door) -> str:
    with door.client() as client:
        record = client.job(job_id)
    if record.question is not None:
        return record.question.question_id
    raise Refused(
        ErrorCode.ALREADY_ANSWERED,
        f"job {job_id} is {record.state} and asks nothing",
        details={"job_id": job_id, "state": record.state.value},
    )


def _command(
    job_id: str, verb: Literal["cancel", "pause", "resume"], reason: str | None, door: Door
) -> int:
    from orch.client import calls

    return _send(calls.command(job_id, verb, reason), door)


def _send(call: Call[JobRecord], door: Door) -> int:
    record = door.ask(call)
    if record is not None:
        wished = record.pause_wished and record.state.value == "running"
        emit(f"{record.state}, will pause at its next step" if wished else record.state.value)
    return 0
