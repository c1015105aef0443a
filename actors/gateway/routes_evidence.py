"""What a job has left so far, over HTTP: ledger, stream, output, artifacts, and why it stands there."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final

from fastapi import APIRouter, Header, Path, Query, Request, Response

from actors.gateway import download, frames
from actors.gateway.answers import (
    PAGE_DEFAULT,
    After,
    Gate,
    JobId,
    Limit,
    PageCursor,
    json_answer,
    stored_refusals,
)
from actors.gateway.callers import Caller, header_of
from actors.gateway.errors import request_id_of
from actors.gateway.heads import is_head
from actors.gateway.stream import MEDIA_TYPE, EventStream, JobStream
from actors.gateway.validators import ETAG, UNCHANGED, IfNoneMatch
from contracts.errors import ErrorCode, Refused
from contracts.events import Frame
from contracts.record import ArtifactList, Explanation, LedgerPage, LogPage

router: Final = APIRouter(tags=["evidence"])
_OF_JOB: Final = stored_refusals(ErrorCode.INVALID_ID, ErrorCode.NOT_FOUND)


def _start(after: int | None, cursor: int | None) -> int:
    if after is not None and cursor is not None and after != cursor:
        raise Refused(ErrorCode.INVALID_REQUEST, "after and cursor name different places")
    return after or cursor or 0


@router.get("/v1/jobs/{job_id}/ledger", response_model=LedgerPage, responses=_OF_JOB)
async def get_ledger(
    gate: Gate,
    job_id: JobId,
    after: After = None,
    cursor: PageCursor = None,
    limit: Limit = PAGE_DEFAULT,
) -> Response:
    """The job's ledger, oldest entry first."""
    reading = gate.services.store.reading
    events = await reading.ledger(job_id, after=_start(after, cursor), limit=limit)
    following = str(events[-1].seq) if len(events) == limit else None
    return json_answer(LedgerPage(events=events, next_cursor=following))


@router.get("/v1/jobs/{job_id}/logs", response_model=LogPage, responses=_OF_JOB)
async def get_logs(
    gate: Gate,
    job_id: JobId,
    after: After = None,
    cursor: PageCursor = None,
    limit: Limit = PAGE_DEFAULT,
) -> Response:
    """The output kept for readers, oldest piece first."""
    reading = gate.services.store.reading
    lines, trimmed = await reading.output(job_id, after=_start(after, cursor), limit=limit)
    following = str(lines[-1].i) if len(lines) == limit else None
    return json_answer(LogPage(lines=lines, next_cursor=following, trimmed=trimmed))


_STREAM: Final = {
    "description": "Frames; exactly one `end` or `error` comes last, then the server closes.",
    "content": {
        MEDIA_TYPE: {
            "itemSchema": {
                "type": "object",
                "required": ["event", "id", "data"],
                "properties": {
                    "event": {"type": "string", "enum": [frame.value for frame in Frame]},
                    "id": {"type": "string"},
                    "data": {"type": "string", "contentMediaType": "application/json"},
                },
            }
        }
    },
}


@router.get(
    "/v1/jobs/{job_id}/events", response_class=Response, responses={**_OF_JOB, 200: _STREAM}
)
async def watch_job(
    gate: Gate,
    caller: Caller,
    request: Request,
    job_id: JobId,
    after: Annotated[
        str | None, Query(max_length=64, description="Resume after the frame of this id.")
    ] = None,
    last_event_id: Annotated[
        str | None, Header(max_length=64, description="As after, and stronger.")
    ] = None,
) -> Response:
    """Follow the job as server-sent events until it is over."""
    cursor = frames.parse_cursor(last_event_id) or frames.parse_cursor(after)
    reading = gate.services.store.reading
    record = await reading.job(job_id)
    opening = None
    if cursor is None:
        opening = frames.started(record, (await reading.explain(job_id)).facts)
    stream = JobStream(
        gate,
        record,
        cursor=cursor,
        opening=opening,
        request_id=request_id_of(request),
        ticket=header_of(request.scope),
    )
    return EventStream(stream.run, seat=partial(gate.streams.seat, caller.key))


@router.get("/v1/jobs/{job_id}/artifacts", response_model=ArtifactList, responses=_OF_JOB)
async def list_artifacts(gate: Gate, job_id: JobId) -> Response:
    """The files that the job left."""
    artifacts = await gate.services.store.reading.artifacts(job_id)
    return json_answer(ArtifactList(artifacts=artifacts))


_BYTES: Final = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_RANGED: Final = {
    **ETAG,
    "Accept-Ranges": {"schema": {"type": "string", "const": "bytes"}},
    "Content-Disposition": {"description": "Names the file.", "schema": {"type": "string"}},
}
_CONTENT_RANGE: Final = {"Content-Range": {"schema": {"type": "string"}}}


@router.get(
    "/v1/jobs/{job_id}/artifacts/{sha256}",
    response_class=Response,
    responses={
        **stored_refusals(
            ErrorCode.INVALID_ID, ErrorCode.NOT_FOUND, ErrorCode.RANGE_NOT_SATISFIABLE
        ),
        **UNCHANGED,
        200: {"description": "The file.", "content": _BYTES, "headers": _RANGED},
        206: {
            "description": "The range asked for.",
            "content": _BYTES,
            "headers": {**_RANGED, **_CONTENT_RANGE},
        },
    },
)
async def get_artifact(
    gate: Gate,
    request: Request,
    job_id: JobId,
    sha256: Annotated[
        str,
        Path(
            description="Digest of an artifact of this job.",
            json_schema_extra={"pattern": "^[0-9a-f]{64}$"},
        ),
    ],
    range_header: Annotated[
        str | None, Header(alias="Range", max_length=200, description="One range of bytes.")
    ] = None,
    if_range: Annotated[str | None, Header(max_length=200)] = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The content of one artifact; only digests that this job recorded are served."""
    wish = download.Wish(range_header, if_range, if_none_match, head_only=is_head(request))
    for artifact in await gate.services.store.reading.artifacts(job_id):
        if artifact.sha256 == sha256:
            return await download.answer(gate.services.blobs, artifact, wish)
    raise Refused(ErrorCode.NOT_FOUND, "this job has no artifact of that digest")


@router.get("/v1/jobs/{job_id}/explain", response_model=Explanation, responses=_OF_JOB)
async def explain_job(gate: Gate, job_id: JobId) -> Response:
    """Why the job stands where it stands, and what unblocks it."""
    return json_answer(await gate.services.store.reading.explain(job_id))
