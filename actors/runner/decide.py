"""How an attempt's ending is put to the store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from contracts.limits import EVENT_BYTES_MAX
from contracts.outcomes import Outcome, ReasonCode
from orch.adapters.protocol import Ending, Question
from orch.core.handover import ClaimEnding

_MESSAGE_CHARS = EVENT_BYTES_MAX // 5
"""A ledger entry has room for it even when every character takes four bytes."""
_COMPLETED: Mapping[str, Any] = {
    "outcome": Outcome.DONE.value,
    "reason": ReasonCode.COMPLETED.value,
}
"""Of nearly all jobs: made once."""


def payload_of(ending: Ending) -> Mapping[str, Any]:
    """The attempt record that goes into the ledger."""
    if ending.reason is ReasonCode.COMPLETED and ending.exit_code is None and not ending.message:
        return _COMPLETED
    payload: dict[str, Any] = {"outcome": ending.outcome.value, "reason": ending.reason.value}
    if ending.message:
        payload["message"] = ending.message[:_MESSAGE_CHARS]
    if ending.exit_code is not None:
        payload["exit_code"] = ending.exit_code
    if ending.retry_after_ms is not None:
        payload["retry_after_ms"] = ending.retry_after_ms
    return payload


def question_json(question: Question) -> str:
    """The question as the job hash keeps it."""
    return json.dumps(
        {
            "question_id": question.question_id,
            "text": question.text,
            "kind": question.kind,
            "options": list(question.options) if question.options is not None else None,
            "step_id": question.step_id,
            "block_reason": question.block_reason,
        }
    )


def closing(
    job_id: str, claim: str, ending: Ending, *, result_json: str, question_ttl_ms: int
) -> ClaimEnding:
    """The ending of a claim for what an adapter returned."""
    payload = payload_of(ending)
    match ending:
        case Ending(outcome=Outcome.DONE):
            return ClaimEnding("settle", job_id, claim, payload, result_json)
        case Ending(outcome=Outcome.HUMAN, question=Question() as question):
            return ClaimEnding(
                "ask", job_id, claim, payload, question_json(question), question_ttl_ms
            )
        case Ending(outcome=Outcome.HUMAN, reason=ReasonCode.PAUSED):
            return ClaimEnding("stop", job_id, claim, payload)
        case Ending(reason=ReasonCode.INTERRUPTED):
            return ClaimEnding("handback", job_id, claim, payload)
        case _:
            return ClaimEnding("release", job_id, claim, payload)


CANCELED = Ending(Outcome.CANCELED, ReasonCode.CANCELED)
"""For a job that was canceled: the store answers `over` and frees the slot."""
REFUSED = Ending(Outcome.TRANSIENT, ReasonCode.INTERRUPTED, "the claim was refused")
"""For a claim that was refused. Where it is over, so is this ending; where a server that had gone back only
knew it again when it was reclaimed, the job goes back to its queue."""
PAUSED = Ending(Outcome.HUMAN, ReasonCode.PAUSED)
INTERRUPTED = Ending(Outcome.TRANSIENT, ReasonCode.INTERRUPTED, "the runner left")


def handed_over(ending: Ending) -> Ending:
    """For an attempt that stopped at its next step though nobody pauses it: its runner drains or leaves."""
    return replace(INTERRUPTED, message=ending.message or INTERRUPTED.message)


def handed_back(job_id: str, claim: str) -> ClaimEnding:
    """For a claim that the server gave us and whose attempt is not here."""
    return ClaimEnding("handback", job_id, claim, payload_of(INTERRUPTED))
