"""Dead letters over HTTP: what fallback gave up on, and trying it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from actors.gateway.answers import (
    PAGE_DEFAULT,
    Gate,
    Limit,
    ListCursor,
    Tenant,
    json_answer,
    stored_refusals,
    takes,
)
from actors.gateway.body import as_model, read_json
from actors.gateway.callers import Caller
from actors.gateway.models import ReplayRequest
from actors.gateway.permits import Identity
from actors.gateway.services import Gateway
from contracts import limits
from contracts.adapters import Id
from contracts.errors import ErrorCode, Refused
from contracts.record import DeadLetterList, ReplayAnswer, Replayed
from orch.core.asks import LetterFilter

router: Final = APIRouter(tags=["dead letters"])
_E: Final = ErrorCode


@router.get(
    "/v1/dead-letters",
    response_model=DeadLetterList,
    responses=stored_refusals(_E.INVALID_REQUEST, _E.INVALID_ID, _E.EXPIRED_CURSOR),
)
async def list_dead_letters(
    gate: Gate,
    tenant: Tenant = None,
    pool: Annotated[Id | None, Query()] = None,
    reason: Annotated[str | None, Query(max_length=64)] = None,
    limit: Limit = PAGE_DEFAULT,
    cursor: ListCursor = None,
) -> Response:
    """Dead letters, newest first; `GET /v1/jobs/{id}` shows the evidence of one."""
    which = LetterFilter(tenant=tenant, pool=pool, reason=reason)
    letters = gate.services.store.dead_letters
    return json_answer(await letters.page(which, limit=limit, cursor=cursor))


@router.post(
    "/v1/dead-letters/replay",
    response_model=ReplayAnswer,
    responses=stored_refusals(
        _E.INVALID_REQUEST, _E.INVALID_ID, _E.UNSUPPORTED_MEDIA_TYPE, _E.PAYLOAD_TOO_LARGE
    ),
    openapi_extra=takes(ReplayRequest),
)
async def replay_dead_letters(gate: Gate, caller: Caller, request: Request) -> Response:
    """Make a new job of each letter named, or of each that the filter fits; linked both ways."""
    document = await read_json(request, wait_ms=gate.services.timing.body_wait_ms)
    asked = as_model(document, ReplayRequest)
    if (asked.job_ids is None) == (asked.filter is None):
        raise Refused(_E.INVALID_REQUEST, "give job_ids or filter, one of them")
    if asked.job_ids is not None:
        letters = await _replayed_one_by_one(gate, caller, asked.job_ids, dry_run=asked.dry_run)
    else:
        wish = asked.filter.model_dump() if asked.filter else {}
        which = LetterFilter(**{**wish, "tenant": caller.tenant_for(wish.get("tenant"))})
        page = await gate.services.store.dead_letters.page(
            which, limit=limits.PAGE_ITEMS_MAX, cursor=None
        )
        job_ids = [letter.job_id for letter in page.dead_letters]
        letters = await _replayed(gate, caller, job_ids, dry_run=asked.dry_run)
    return json_answer(ReplayAnswer(dry_run=asked.dry_run, letters=letters))


async def _replayed_one_by_one(
    gate: Gateway, caller: Identity, job_ids: Sequence[str], *, dry_run: bool
) -> list[Replayed]:
    """As `_replayed`; a job that the caller may not know of is told as one that never was."""
    strange: dict[str, Replayed] = {}
    for job_id in job_ids:
        try:
            await gate.own(caller, job_id)
        except Refused as error:
            told = {"job_id": job_id, "replayed_as": None, "error": error.body()}
            strange[job_id] = Replayed.model_validate(told)
    ours = [job_id for job_id in job_ids if job_id not in strange]
    made = iter(await _replayed(gate, caller, ours, dry_run=dry_run))
    return [strange.get(job_id) or next(made) for job_id in job_ids]


async def _replayed(
    gate: Gateway, caller: Identity, job_ids: Sequence[str], *, dry_run: bool
) -> list[Replayed]:
    if dry_run:
        return [Replayed(job_id=job_id, replayed_as=None) for job_id in job_ids]
    return await gate.services.store.dead_letters.replay(job_ids, by=caller.name)
