"""Sessions over HTTP: which have live jobs, and who runs or waits in one."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path, Response
from pydantic import AfterValidator

from actors.gateway.answers import (
    PAGE_DEFAULT,
    Gate,
    Limit,
    ListCursor,
    Tenant,
    json_answer,
    stored_refusals,
)
from contracts.errors import ErrorCode
from contracts.ids import ID_PATTERN, checked_id
from contracts.record import SessionList, SessionRecord

router: Final = APIRouter(tags=["sessions"])
_E: Final = ErrorCode


def _session(text: str) -> str:
    return checked_id(text, what="session")


SessionId = Annotated[
    str,
    AfterValidator(_session),
    Path(description="The session's id.", json_schema_extra={"pattern": ID_PATTERN}),
]


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
async def get_session(gate: Gate, session: SessionId, tenant: Tenant = None) -> Response:
    """The live jobs of one session; `tenant` is `default` unless it is said."""
    return json_answer(await gate.services.store.sessions.show(tenant or "default", session))
