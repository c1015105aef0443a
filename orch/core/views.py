"""A job hash as the record that readers get."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from contracts.events import EventType
from contracts.outcomes import Outcome
from contracts.record import Artifact, Attempt, JobRecord, Lease, LedgerEvent, Question
from contracts.states import BlockReason, State
from orch.core.ledger import attempts, parse_ledger, state_of, usage


def _number(fields: Mapping[str, str], name: str) -> int | None:
    return int(fields[name]) if name in fields else None


def _json(fields: Mapping[str, str], name: str) -> Any:
    return json.loads(fields[name]) if name in fields else None


def question_of(fields: Mapping[str, str]) -> Question | None:
    """The open question of a blocked job."""
    asked = _json(fields, "question")
    return Question.model_validate(asked) if asked else None


def lease_of(
    fields: Mapping[str, str], heartbeat_at_ms: int | None, lease_ms: int | None
) -> Lease | None:
    """The lease behind the claim in force, derived from the runner's last beat (LSE-7)."""
    if "claim" not in fields:
        return None
    expires = (
        heartbeat_at_ms + lease_ms if heartbeat_at_ms is not None and lease_ms is not None else None
    )
    return Lease(
        worker_id=fields["runner"],
        lease_id=fields["claim"],
        acquired_at_ms=int(fields["claimed_at"]),
        heartbeat_at_ms=heartbeat_at_ms,
        expires_at_ms=expires,
    )


def job_record(
    job_id: str,
    fields: Mapping[str, str],
    *,
    heartbeat_at_ms: int | None = None,
    lease_ms: int | None = None,
) -> JobRecord:
    """The whole record of one job, attempts from its ledger."""
    spec = json.loads(fields["spec"])
    events = parse_ledger(fields)
    history: list[Attempt] = attempts(events)
    state = state_of(fields["state"])
    return JobRecord(
        job_id=job_id,
        name=spec["name"],
        state=state,
        block_reason=BlockReason(fields["block_reason"]) if "block_reason" in fields else None,
        tenant=fields["tenant"],
        pool=fields["pool"],
        priority=fields["class"],
        attempt=int(fields.get("attempt", 0)),
        epoch=int(fields.get("epoch", 0)),
        created_at_ms=int(fields["made_at"]),
        started_at_ms=history[0].started_at_ms if history else None,
        finished_at_ms=_number(fields, "finished_at"),
        outcome=Outcome(fields["outcome"]) if "outcome" in fields else None,
        result=_json(fields, "result"),
        question=question_of(fields),
        lease=lease_of(fields, heartbeat_at_ms, lease_ms),
        attempts=history,
        labels=spec.get("labels"),
        due_at_ms=_number(fields, "due_at") if state is State.SCHEDULED else None,
        pause_wished=fields.get("wish") == "pause",
        reason=fields.get("why"),
        replay_of=fields.get("replay_of"),
        replayed_as=fields.get("replayed_as"),
        usage=usage(events),
        session=tie_of(fields, "s"),
        concurrency_key=tie_of(fields, "k"),
    )


def tie_of(fields: Mapping[str, str], letter: str) -> str | None:
    """The concurrency key (`k`) or the session (`s`) that a job is bound to."""
    found = (word[2:] for word in fields.get("ties", "").split() if word[:2] == f"{letter}:")
    return next(found, None)


OUTPUT_NAME: Final = "output.log"
"""What the whole output of the last attempt that stored one is called among the artifacts."""


RESULT_NAME: Final = "result.json"
"""What a result is called among the artifacts that was too large for the job's record."""


def artifacts_of(events: list[LedgerEvent], result: Any = None) -> list[Artifact]:
    """What the ledger says was stored; a later file of the same name and step replaces the earlier. A result
    that is a reference is one more, made by the last attempt."""
    found: dict[tuple[str, str | None], Artifact] = {}
    for event in events:
        if event.type in (EventType.ARTIFACT_RECORDED, EventType.OUTPUT_STORED):
            named = {"name": OUTPUT_NAME, "step_id": None, "attempt": event.attempt}
            artifact = Artifact.model_validate({**named, **event.payload})
            found[artifact.name, artifact.step_id] = artifact
    if isinstance(result, dict) and result.keys() == {"$blob"}:
        made_by = max((event.attempt for event in events), default=0)
        named = {"name": RESULT_NAME, "step_id": None, "attempt": made_by}
        found[RESULT_NAME, None] = Artifact.model_validate({**named, **result["$blob"]})
    return list(found.values())
