"""Sessions over HTTP: which have live jobs, and who runs or waits in one."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Response

from actors.gateway.answers import (
    PAGE_DEFAULT,
    Gate,
    Limit,
    ListCursor,
    Tenant,
    id_path,
    json_answer,
    legal_id,
    owner,
    stored_refusals,
)
from contracts.errors import ErrorCode
from contracts.record import SessionList, SessionRecord

router: Final = APIRouter(tags=["sessions"])
_E: Final = ErrorCode


SessionId = Annotated[str, legal_id("session"), id_path("The session's id.")]
Owner = Annotated[str, Depends(owner("Only this tenant's jobs."))]


@router.get(
    "/v1/sessions",
    response_model=SessionList,
    responses=stored_refusals(_E.INVALID_REQUEST, _E.INVALID_ID),
)
async def list_sessions(
    gate: Gate,
    tenant: Tenant = None,
    limit: Limit = PAGE_DEFAULT,
    cursor: ListCursor = None,
) -> Response:
    """Sessions with live jobs, the one that got a job last first."""
    sessions = gate.services.store.sessions
    return json_answer(await sessions.page(tenant=tenant, limit=limit, cursor=cursor))


@router.get(
    "/v1/sessions/{session}",
    response_model=SessionRecord,
    responses=stored_refusals(_E.INVALID_ID, _E.NOT_FOUND),
)
async def get_session(gate: Gate, session: SessionId, tenant: Owner) -> Response:
    """The live jobs of one session; `tenant` is `default` unless it is said."""
    return json_answer(await gate.services.store.sessions.show(tenant, session))
