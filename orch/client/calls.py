"""What each call of the HTTP API looks like: verb, path, query, body and how its answer is read.

Nothing here does I/O; `client.py` and `sync.py` send these, so the two clients cannot disagree. Ids are
checked before they become part of a path.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypedDict, TypeVar, Unpack

from pydantic import BaseModel

from contracts import limits
from contracts.control import Commanded, ControlList, ControlRecord
from contracts.errors import ErrorCode, Misuse, Refused
from contracts.ids import checked_id
from contracts.pools import PoolHealth, PoolList, ReplicaSetList, Scale
from contracts.record import (
    ArtifactList,
    BatchAnswer,
    DeadLetterList,
    Explanation,
    JobList,
    JobRecord,
    LedgerPage,
    LogPage,
    ReplayAnswer,
    SessionList,
    SessionRecord,
    Submitted,
)
from contracts.schedules import FireAnswer, Schedule, ScheduleList, ScheduleSpec
from contracts.spec import JobSpec
from contracts.states import State

T = TypeVar("T")

Spec = JobSpec | Mapping[str, Any]
"""A spec as a model, or as the parsed document that the gateway will judge."""

Timetable = ScheduleSpec | Mapping[str, Any]
"""A schedule, likewise."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request, and how a successful answer's body becomes a value."""

    verb: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    read: Callable[[bytes], T]
    query: Mapping[str, str | list[str]] = field(default_factory=dict)
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def _body(value: object) -> bytes:
    try:
        return json.dumps(
            value, ensure_ascii=False, separators=(",", ":"), allow_nan=False
        ).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise Refused(
            ErrorCode.INVALID_SPEC, f"$: not expressible as JSON: {error}", details={"path": "$"}
        ) from None


def _document(spec: Spec | Timetable) -> object:
    """Only what the caller wrote: defaults stay the server's business."""
    return spec.model_dump(mode="json", exclude_unset=True) if isinstance(spec, BaseModel) else spec


def _query(**given: object) -> dict[str, str]:
    return {name: str(value) for name, value in given.items() if value is not None}


def _job_path(job_id: str, below: str = "") -> str:
    return f"/v1/jobs/{checked_id(job_id)}{below}"


def submit(spec: Spec, idempotency_key: str | None = None) -> Call[Submitted]:
    """POST /v1/jobs. The key may also stand in the spec; two that differ are refused."""
    body = _body(_document(spec))
    if len(body) > limits.BODY_BYTES_MAX:
        raise Refused(
            ErrorCode.PAYLOAD_TOO_LARGE,
            f"the spec has {len(body)} bytes, at most {limits.SPEC_BYTES_MAX} are allowed",
            details={"bytes_max": limits.SPEC_BYTES_MAX},
        )
    headers = _key_header(idempotency_key)
    return Call("POST", "/v1/jobs", Submitted.model_validate_json, body=body, headers=headers)


def _key_header(key: str | None) -> dict[str, str]:
    if key is None:
        return {}
    if not re.fullmatch(r"[\x21-\x7e]{1,200}", key):
        raise Refused(
            ErrorCode.INVALID_REQUEST,
            "an idempotency key is 1 to 200 printable ASCII characters without spaces",
        )
    return {"Idempotency-Key": key}


def submit_batch(specs: Sequence[Spec]) -> Call[BatchAnswer]:
    """POST /v1/jobs:batch; answers come in the order of `specs`."""
    if len(specs) > limits.BATCH_ITEMS_MAX:
        raise Misuse(
            ErrorCode.PAYLOAD_TOO_LARGE,
            f"a batch holds at most {limits.BATCH_ITEMS_MAX} specs",
            details={"items_max": limits.BATCH_ITEMS_MAX},
        )
    body = _body({"items": [_document(spec) for spec in specs]})
    return Call("POST", "/v1/jobs:batch", BatchAnswer.model_validate_json, body=body)


def job(job_id: str) -> Call[JobRecord]:
    """GET /v1/jobs/{id}."""
    return Call("GET", _job_path(job_id), JobRecord.model_validate_json)


class JobQuery(TypedDict, total=False):
    """Which jobs are meant; every filter that is given must fit."""

    tenant: str | None
    state: State | str | None
    pool: str | None
    name: str | None
    session: str | None
    labels: Mapping[str, str] | None
    created_from_ms: int | None
    """Created then or later."""
    created_to_ms: int | None
    """Created before."""


def jobs(
    *, limit: int | None = None, cursor: str | None = None, **which: Unpack[JobQuery]
) -> Call[JobList]:
    """GET /v1/jobs, newest first. Ask for the next page with the same filters."""
    labels = which.pop("labels", None) or {}
    query: dict[str, str | list[str]] = {**_query(**which, limit=limit, cursor=cursor)}
    if labels:
        query["label"] = [f"{key}={value}" for key, value in labels.items()]
    return Call("GET", "/v1/jobs", JobList.model_validate_json, query)


def ledger(
    job_id: str, *, after: str | int | None = None, limit: int | None = None
) -> Call[LedgerPage]:
    """GET /v1/jobs/{id}/ledger; `after` is a seq or a next_cursor."""
    query = _query(after=after, limit=limit)
    return Call("GET", _job_path(job_id, "/ledger"), LedgerPage.model_validate_json, query)


def logs(job_id: str, *, after: str | int | None = None, limit: int | None = None) -> Call[LogPage]:
    """GET /v1/jobs/{id}/logs; `after` is a line's `i` or a next_cursor."""
    query = _query(after=after, limit=limit)
    return Call("GET", _job_path(job_id, "/logs"), LogPage.model_validate_json, query)


def artifacts(job_id: str) -> Call[ArtifactList]:
    """GET /v1/jobs/{id}/artifacts."""
    return Call("GET", _job_path(job_id, "/artifacts"), ArtifactList.model_validate_json)


def artifact_bytes(job_id: str, sha256: str) -> Call[bytes]:
    """GET /v1/jobs/{id}/artifacts/{sha256}."""
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise Refused(ErrorCode.INVALID_ID, f"not a sha256 in lower-case hex: {sha256[:80]!r}")
    return Call("GET", _job_path(job_id, f"/artifacts/{sha256}"), bytes)


def explain(job_id: str) -> Call[Explanation]:
    """GET /v1/jobs/{id}/explain."""
    return Call("GET", _job_path(job_id, "/explain"), Explanation.model_validate_json)


def command(
    job_id: str, verb: Literal["cancel", "pause", "resume"], reason: str | None = None
) -> Call[JobRecord]:
    """POST /v1/jobs/{id}/cancel, pause or resume; a repeat adds no event."""
    body = _body({} if reason is None else {"reason": reason})
    return Call("POST", _job_path(job_id, f"/{verb}"), JobRecord.model_validate_json, body=body)


def dead_letters(
    *,
    tenant: str | None = None,
    pool: str | None = None,
    reason: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Call[DeadLetterList]:
    """GET /v1/dead-letters, newest first."""
    query = _query(tenant=tenant, pool=pool, reason=reason, limit=limit, cursor=cursor)
    return Call("GET", "/v1/dead-letters", DeadLetterList.model_validate_json, query)


def sessions(
    *, tenant: str | None = None, limit: int | None = None, cursor: str | None = None
) -> Call[SessionList]:
    """GET /v1/sessions: those with live jobs, the one that got a job last first."""
    query = _query(tenant=tenant, limit=limit, cursor=cursor)
    return Call("GET", "/v1/sessions", SessionList.model_validate_json, query)


def session(session_id: str, *, tenant: str | None = None) -> Call[SessionRecord]:
    """GET /v1/sessions/{id}."""
    path = f"/v1/sessions/{checked_id(session_id, what='session')}"
    return Call("GET", path, SessionRecord.model_validate_json, _query(tenant=tenant))


def replay(
    job_ids: Sequence[str] | None,
    which: Mapping[str, str | None] | None = None,
    *,
    dry_run: bool = False,
) -> Call[ReplayAnswer]:
    """POST /v1/dead-letters/replay: by ids, or by the filter tenant, pool, reason."""
    body = _body({"job_ids": job_ids, "filter": which, "dry_run": dry_run})
    return Call("POST", "/v1/dead-letters/replay", ReplayAnswer.model_validate_json, body=body)


def _schedule_path(schedule_id: str, below: str = "") -> str:
    return f"/v1/schedules/{checked_id(schedule_id, what='schedule')}{below}"


def put_schedule(schedule: Timetable, if_revision: int | None = None) -> Call[Schedule]:
    """PUT /v1/schedules/{id}; the id stands in the document."""
    document = _document(schedule)
    named = document.get("schedule_id") if isinstance(document, Mapping) else None
    if not isinstance(named, str):
        raise Refused(
            ErrorCode.INVALID_SPEC,
            "schedule_id: the schedule has none",
            details={"path": "schedule_id"},
        )
    query = _query(if_revision=if_revision)
    path = _schedule_path(named)
    return Call("PUT", path, Schedule.model_validate_json, query, body=_body(document))


def schedule(schedule_id: str, tenant: str | None = None) -> Call[Schedule]:
    """GET /v1/schedules/{id}."""
    query = _query(tenant=tenant)
    return Call("GET", _schedule_path(schedule_id), Schedule.model_validate_json, query)


def schedules(
    *, tenant: str | None = None, limit: int | None = None, cursor: str | None = None
) -> Call[ScheduleList]:
    """GET /v1/schedules, newest first."""
    query = _query(tenant=tenant, limit=limit, cursor=cursor)
    return Call("GET", "/v1/schedules", ScheduleList.model_validate_json, query)


def delete_schedule(schedule_id: str, tenant: str | None = None) -> Call[Schedule]:
    """DELETE /v1/schedules/{id}; answers with what it was."""
    query = _query(tenant=tenant)
    return Call("DELETE", _schedule_path(schedule_id), Schedule.model_validate_json, query)


def hold_schedule(
    schedule_id: str, verb: Literal["pause", "resume"], tenant: str | None = None
) -> Call[Schedule]:
    """POST /v1/schedules/{id}/pause or resume; a repeat changes nothing."""
    path = _schedule_path(schedule_id, f"/{verb}")
    return Call("POST", path, Schedule.model_validate_json, _query(tenant=tenant), body=b"{}")


def fire_schedule(
    schedule_id: str, tenant: str | None = None, idempotency_key: str | None = None
) -> Call[FireAnswer]:
    """POST /v1/schedules/{id}/fire. Each call is a fire of its own, but under the same key."""
    path, query = _schedule_path(schedule_id, "/fire"), _query(tenant=tenant)
    headers = _key_header(idempotency_key)
    return Call("POST", path, FireAnswer.model_validate_json, query, body=b"{}", headers=headers)


def control(
    command: str,
    target: str,
    args: Mapping[str, Any] | None = None,
    *,
    command_id: str | None = None,
    if_revision: int | None = None,
) -> Call[Commanded]:
    """POST /v1/control: any command; what became of it is read under the id that comes back."""
    given = {"id": command_id, "if_revision": if_revision}
    document = {"command": command, "target": target, "args": dict(args or {})}
    known = {name: value for name, value in given.items() if value is not None}
    body = _body(document | known)
    return Call("POST", "/v1/control", Commanded.model_validate_json, body=body)


def commanded(command_id: str) -> Call[ControlRecord]:
    """GET /v1/control/{id}."""
    path = f"/v1/control/{checked_id(command_id, what='command')}"
    return Call("GET", path, ControlRecord.model_validate_json)


def commands(*, limit: int | None = None) -> Call[ControlList]:
    """GET /v1/control, newest first."""
    return Call("GET", "/v1/control", ControlList.model_validate_json, _query(limit=limit))


def pools() -> Call[PoolList]:
    """GET /v1/pools."""
    return Call("GET", "/v1/pools", PoolList.model_validate_json)


def pool_health(pool: str) -> Call[PoolHealth]:
    """GET /v1/pools/{pool}/health."""
    path = f"/v1/pools/{checked_id(pool, what='pool')}/health"
    return Call("GET", path, PoolHealth.model_validate_json)


def replica_sets() -> Call[ReplicaSetList]:
    """GET /v1/replicasets."""
    return Call("GET", "/v1/replicasets", ReplicaSetList.model_validate_json)


def scale(pool: str) -> Call[Scale]:
    """GET /v1/scale/{pool}."""
    path = f"/v1/scale/{checked_id(pool, what='pool')}"
    return Call("GET", path, Scale.model_validate_json)


def answer(
    job_id: str, question_id: str, value: object, reason: str | None = None
) -> Call[JobRecord]:
    """POST /v1/jobs/{id}/answer."""
    checked_id(question_id, what="question")
    document: dict[str, object] = {"question_id": question_id, "value": value}
    if reason is not None:
        document["reason"] = reason
    body = _body(document)
    return Call("POST", _job_path(job_id, "/answer"), JobRecord.model_validate_json, body=body)


def events(job_id: str) -> Call[None]:
    """GET /v1/jobs/{id}/events, a stream; `frames.Follow` reads it."""
    return Call("GET", _job_path(job_id, "/events"), lambda _: None)


def ready() -> Call[dict[str, Any]]:
    """GET /readyz: what the gateway says of itself while it is ready, else UNAVAILABLE."""
    return Call("GET", "/readyz", _object)


def live() -> Call[dict[str, Any]]:
    """GET /livez."""
    return Call("GET", "/livez", _object)


def capabilities() -> Call[dict[str, Any]]:
    """GET /v1/capabilities."""
    return Call("GET", "/v1/capabilities", _object)


def _object(body: bytes) -> dict[str, Any]:
    document = json.loads(body)
    if not isinstance(document, dict):
        message = "not an object"
        raise ValueError(message)
    return document
