"""Schedules over HTTP: store them, look at them, hold them, fire one now.

A schedule is named by its tenant and its id; without `tenant` the tenant `default` is meant, as in a spec.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response

from actors.gateway.answers import (
    PAGE_DEFAULT,
    Gate,
    IdempotencyKey,
    Limit,
    ListCursor,
    Tenant,
    id_path,
    json_answer,
    legal_id,
    owner,
    stored_refusals,
    takes,
)
from actors.gateway.body import read_json
from actors.gateway.callers import Caller
from actors.gateway.permits import Identity
from actors.gateway.submission import submitting_of
from contracts.errors import ErrorCode, Refused
from contracts.schedules import Fate, FireAnswer, Schedule, ScheduleList, ScheduleSpec

router: Final = APIRouter(tags=["schedules"])
_E: Final = ErrorCode


ScheduleId = Annotated[str, legal_id("schedule"), id_path("The schedule's id.")]
Owner = Annotated[str, Depends(owner("Whose schedule it is."))]
_KNOWN: Final[dict[str, Any]] = {
    "response_model": Schedule,
    "responses": stored_refusals(_E.INVALID_ID, _E.NOT_FOUND),
}


def _document(body: object, schedule_id: str, caller: Identity) -> object:
    """The body, which may leave out the id that the path says, and the tenant that the caller has."""
    if not isinstance(body, dict):
        return body
    named = body.get("schedule_id", schedule_id)
    if named != schedule_id:
        raise Refused(
            _E.INVALID_SPEC,
            "schedule_id: the path names another schedule",
            details={"path": "schedule_id"},
        )
    return {**body, "schedule_id": schedule_id, **_template(body.get("spec"), caller)}


def _template(spec: object, caller: Identity) -> dict[str, object]:
    """The spec of the jobs to come, which are of the caller's tenant; what is no spec is judged later."""
    if caller.tenant is None or not isinstance(spec, dict):
        return {}
    named = spec.get("tenant", caller.tenant)
    return {
        "spec": {**spec, "tenant": caller.tenant_for(named) if isinstance(named, str) else named}
    }


@router.put(
    "/v1/schedules/{schedule_id}",
    response_model=Schedule,
    responses=stored_refusals(
        _E.INVALID_SPEC, _E.INVALID_ID, _E.REVISION_CONFLICT, _E.UNSUPPORTED_MEDIA_TYPE
    ),
    openapi_extra=takes(ScheduleSpec),
)
async def put_schedule(
    gate: Gate,
    caller: Caller,
    request: Request,
    schedule_id: ScheduleId,
    if_revision: Annotated[
        int | None,
        Query(ge=0, le=2**53, description="Only if it has this revision; 0: only if it is new."),
    ] = None,
) -> Response:
    """Store a schedule, new or in place of the one of this id; the same again changes nothing."""
    body = await read_json(request, wait_ms=gate.services.timing.body_wait_ms)
    schedules = gate.services.store.schedules
    return json_answer(
        await schedules.put(_document(body, schedule_id, caller), if_revision=if_revision)
    )


@router.get(
    "/v1/schedules",
    response_model=ScheduleList,
    responses=stored_refusals(_E.INVALID_ID),
)
async def list_schedules(
    gate: Gate,
    tenant: Tenant = None,
    limit: Limit = PAGE_DEFAULT,
    cursor: ListCursor = None,
) -> Response:
    """Schedules, newest first."""
    schedules = gate.services.store.schedules
    return json_answer(await schedules.page(tenant=tenant, limit=limit, cursor=cursor))


@router.get("/v1/schedules/{schedule_id}", **_KNOWN)
async def get_schedule(gate: Gate, tenant: Owner, schedule_id: ScheduleId) -> Response:
    """One schedule as it is now."""
    return json_answer(await gate.services.store.schedules.get(tenant, schedule_id))


@router.delete("/v1/schedules/{schedule_id}", **_KNOWN)
async def delete_schedule(gate: Gate, tenant: Owner, schedule_id: ScheduleId) -> Response:
    """Take a schedule away; answers with what it was. Its jobs stay."""
    return json_answer(await gate.services.store.schedules.delete(tenant, schedule_id))


@router.post("/v1/schedules/{schedule_id}/pause", **_KNOWN)
async def pause_schedule(gate: Gate, tenant: Owner, schedule_id: ScheduleId) -> Response:
    """Let it make no jobs until it is resumed, and none later for the times between."""
    return json_answer(await gate.services.store.schedules.pause(tenant, schedule_id))


@router.post("/v1/schedules/{schedule_id}/resume", **_KNOWN)
async def resume_schedule(gate: Gate, tenant: Owner, schedule_id: ScheduleId) -> Response:
    """Let a paused schedule go on with its next time."""
    return json_answer(await gate.services.store.schedules.resume(tenant, schedule_id))


@router.post(
    "/v1/schedules/{schedule_id}/fire",
    status_code=202,
    response_model=FireAnswer,
    responses={
        **stored_refusals(
            _E.INVALID_ID, _E.NOT_FOUND, _E.INVALID_SPEC, _E.NO_POOL, _E.QUEUE_FULL, _E.RATE_LIMITED,
            _E.INTAKE_PAUSED, _E.SESSION_BUSY, _E.IDEMPOTENCY_CONFLICT,
        ),
        200: {"model": FireAnswer, "description": "The same key made this job before."},
    },
)  # fmt: skip
async def fire_schedule(
    gate: Gate,
    request: Request,
    tenant: Owner,
    schedule_id: ScheduleId,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Make a job now, as at one of its times, which stay as they are."""
    going = submitting_of(gate, request)
    carried = None if going is None else going.carried()
    schedules = gate.services.store.schedules
    fired = await schedules.fire_now(tenant, schedule_id, key=idempotency_key, carried=carried)
    if going is not None and fired.result is Fate.FIRED and not fired.duplicate:
        going.made(fired.job_id or "")
    return json_answer(fired, status=200 if fired.duplicate else 202)
