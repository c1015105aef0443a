"""Jobs over HTTP: submit them, look at them, steer them, answer them.

Each route is the call of one store verb; admission and every judgement about a job are the store's,
so that each door gives the same answer (ADM-1).
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Final

import orjson
from fastapi import APIRouter, Request, Response

from actors.gateway.answers import (
    PAGE_DEFAULT,
    Gate,
    IdempotencyKey,
    JobId,
    Limit,
    ListCursor,
    json_answer,
    stored_refusals,
    takes,
)
from actors.gateway.body import as_model, parse_json, read_body, read_json
from actors.gateway.callers import Caller
from actors.gateway.errors import request_id_of
from actors.gateway.filters import Which
from actors.gateway.models import AnswerRequest, BatchRequest, SteerRequest
from actors.gateway.services import Gateway
from actors.gateway.submission import submit, submitting_of
from actors.gateway.validators import UNCHANGED, IfNoneMatch, names, unchanged, validators
from contracts.errors import ErrorCode, Refused
from contracts.record import BatchAnswer, JobList, JobRecord, Submitted
from contracts.spec import JobSpec
from orch.core.asks import Ask

router: Final = APIRouter(tags=["jobs"])

_E: Final = ErrorCode
_ADMISSION: Final = (
    _E.INVALID_SPEC, _E.INVALID_ID, _E.DEADLINE_UNMET, _E.IDEMPOTENCY_CONFLICT,
    _E.SESSION_BUSY,
    _E.UNSUPPORTED_MEDIA_TYPE, _E.QUEUE_FULL, _E.RATE_LIMITED, _E.INTAKE_PAUSED, _E.NO_POOL,
)  # fmt: skip


@router.post(
    "/v1/jobs",
    status_code=202,
    response_model=Submitted,
    responses={
        **stored_refusals(*_ADMISSION),
        200: {"model": Submitted, "description": "The same key and content was there before."},
    },
    openapi_extra=takes(JobSpec),
)
async def submit_job(
    gate: Gate, caller: Caller, request: Request, idempotency_key: IdempotencyKey = None
) -> Response:
    """Submit one job."""
    return await submit(gate, caller, request, idempotency_key)


@router.post(
    "/v1/jobs:batch",
    response_model=BatchAnswer,
    responses=stored_refusals(_E.UNSUPPORTED_MEDIA_TYPE),
    openapi_extra=takes(BatchRequest),
)
async def submit_batch(gate: Gate, caller: Caller, request: Request) -> Response:
    """Submit several jobs; each is admitted or refused on its own, answered in order."""
    document = await read_json(request, wait_ms=gate.services.timing.body_wait_ms)
    batch = as_model(document, BatchRequest)
    with submitting_of(gate, request) or nullcontext() as going:
        asks = [
            Ask(item, tenant=caller.tenant, carried=None if going is None else going.carried())
            for item in batch.items
        ]
        admitted = await gate.services.store.admission.admit(asks)
        answers = [await gate.told_to(caller, answer) for answer in admitted]
        if going is not None:
            going.told(answers)
    request_id = request_id_of(request)
    items: list[dict[str, Any]] = [
        {"error": answer.body(request_id)}
        if isinstance(answer, Refused)
        else {"job": answer.model_dump(mode="json")}
        for answer in answers
    ]
    return Response(orjson.dumps({"items": items}, default=str), media_type="application/json")


@router.get(
    "/v1/jobs",
    response_model=JobList,
    responses=stored_refusals(_E.INVALID_ID, _E.INVALID_REQUEST, _E.EXPIRED_CURSOR),
)
async def list_jobs(
    gate: Gate,
    which: Which,
    limit: Limit = PAGE_DEFAULT,
    cursor: ListCursor = None,
) -> Response:
    """Jobs, newest first; a filtered page may be short while next_cursor still leads on."""
    return json_answer(await gate.services.store.reading.jobs(which, limit=limit, cursor=cursor))


@router.get(
    "/v1/jobs/{job_id}",
    response_model=JobRecord,
    responses={**stored_refusals(_E.INVALID_ID, _E.NOT_FOUND), **UNCHANGED},
)
async def get_job(gate: Gate, job_id: JobId, if_none_match: IfNoneMatch = None) -> Response:
    """One job as it is now. Its ETag changes with its ledger, not with a heartbeat of its lease."""
    record, tag = await gate.services.store.reading.tagged(job_id)
    headers = validators(f'W/"{tag}"')
    if names(if_none_match, headers["ETag"]):
        return unchanged(headers)
    return json_answer(record, headers=headers)


_STEER: Final[dict[str, Any]] = {
    "status_code": 202,
    "response_model": JobRecord,
    "responses": stored_refusals(
        _E.INVALID_ID, _E.NOT_FOUND, _E.INVALID_TRANSITION, _E.UNSUPPORTED_MEDIA_TYPE
    ),
    "openapi_extra": takes(SteerRequest, required=False),
}


async def _reason(gate: Gateway, request: Request) -> str | None:
    body = await read_body(request, wait_ms=gate.services.timing.body_wait_ms)
    return as_model(parse_json(body), SteerRequest).reason if body else None


@router.post("/v1/jobs/{job_id}/cancel", **_STEER)
async def cancel_job(gate: Gate, caller: Caller, request: Request, job_id: JobId) -> Response:
    """Cancel the job, wherever it stands."""
    reason = await _reason(gate, request)
    record = await gate.services.store.steering.cancel(job_id, by=caller.name, note=reason)
    return json_answer(record, status=202)


@router.post("/v1/jobs/{job_id}/pause", **_STEER)
async def pause_job(gate: Gate, caller: Caller, request: Request, job_id: JobId) -> Response:
    """Pause a job that waits; ask one that runs to stop at its next step."""
    reason = await _reason(gate, request)
    record = await gate.services.store.steering.pause(job_id, by=caller.name, note=reason)
    return json_answer(record, status=202)


@router.post("/v1/jobs/{job_id}/resume", **_STEER)
async def resume_job(gate: Gate, caller: Caller, request: Request, job_id: JobId) -> Response:
    """Let a paused job go on."""
    reason = await _reason(gate, request)
    record = await gate.services.store.steering.resume(job_id, by=caller.name, note=reason)
    return json_answer(record, status=202)


@router.post(
    "/v1/jobs/{job_id}/answer",
    status_code=202,
    response_model=JobRecord,
    responses=stored_refusals(
        _E.INVALID_ID, _E.NOT_FOUND, _E.INVALID_ANSWER, _E.ALREADY_ANSWERED,
        _E.INVALID_TRANSITION, _E.UNSUPPORTED_MEDIA_TYPE,
    ),
    openapi_extra=takes(AnswerRequest),
)  # fmt: skip
async def answer_question(gate: Gate, caller: Caller, request: Request, job_id: JobId) -> Response:
    """Answer the question that a blocked job waits for."""
    document = await read_json(request, wait_ms=gate.services.timing.body_wait_ms)
    given = as_model(document, AnswerRequest)
    record = await gate.services.store.questions.answer(
        job_id, given.question_id, given.value, by=caller.name, reason=given.reason
    )
    return json_answer(record, status=202)
