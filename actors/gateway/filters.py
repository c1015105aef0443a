"""Which jobs does a list ask for? The query's words, judged one by one, as a filter."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query

from actors.gateway.answers import Tenant
from contracts import limits
from contracts.adapters import AtMs, Id
from contracts.errors import ErrorCode, Refused
from contracts.states import State
from orch.core.asks import JobFilter

Labels = Annotated[
    list[str] | None,
    Query(
        max_length=limits.LIST_LABELS_MAX,
        description="Only jobs with this label, as `key=value`; may be given several times.",
        json_schema_extra={"items": {"type": "string", "pattern": r"^[A-Za-z0-9._-]+=.*$"}},
    ),
]


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise Refused(
            ErrorCode.INVALID_REQUEST,
            "query.label: a label is given as key=value",
            details={"path": "query.label"},
        )
    return key, value


async def _which(
    tenant: Tenant = None,
    state: Annotated[State | None, Query(description="Only jobs in this state.")] = None,
    pool: Annotated[Id | None, Query(description="Only jobs of this pool.")] = None,
    name: Annotated[
        str | None,
        Query(max_length=limits.NAME_CHARS_MAX, description="Only jobs of exactly this name."),
    ] = None,
    session: Annotated[Id | None, Query(description="Only jobs of this session.")] = None,
    label: Labels = None,
    created_from_ms: Annotated[
        AtMs | None, Query(description="Only jobs created at this time or later.")
    ] = None,
    created_to_ms: Annotated[
        AtMs | None, Query(description="Only jobs created before this time.")
    ] = None,
) -> JobFilter:
    return JobFilter(
        tenant=tenant,
        state=state,
        pool=pool,
        name=name,
        session=session,
        labels=tuple(sorted({_label(one) for one in label or ()})),
        created_from_ms=created_from_ms,
        created_to_ms=created_to_ms,
    )


Which = Annotated[JobFilter, Depends(_which)]
