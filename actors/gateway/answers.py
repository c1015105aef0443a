"""The words that every route uses: its parameters, its answers, the refusals it declares.

Answers are written by the view itself and declared to OpenAPI beside the route; the framework does
not validate a second time what the contracts' models have built.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Path, Query, Request, Response
from pydantic import AfterValidator, BaseModel

from actors.gateway.callers import Caller, gate_of
from actors.gateway.services import Gateway
from contracts import limits
from contracts.errors import CATALOGUE, ErrorCode
from contracts.ids import ID_SCHEMA, checked_id
from contracts.record import ErrorBody

PAGE_DEFAULT: Final = 100
OWNER_DEFAULT: Final = "default"
"""The tenant of what is named without one, as in a spec."""
_ALWAYS: Final = (
    ErrorCode.INVALID_REQUEST,
    ErrorCode.FORBIDDEN,
    ErrorCode.PAYLOAD_TOO_LARGE,
    ErrorCode.INTERNAL,
)
_CALLED: Final = (
    ErrorCode.UNAUTHENTICATED,
    ErrorCode.LEASE_OVER,
    ErrorCode.RATE_LIMITED,
    ErrorCode.UNAVAILABLE,
)
"""What becomes of a caller before the route is asked."""


async def _gateway(request: Request) -> Gateway:
    return gate_of(request.scope)


def legal_id(what: str) -> AfterValidator:
    """The rule of ids; its refusal says what kind of id was meant."""
    return AfterValidator(partial(checked_id, what=what))


def id_path(description: str) -> Any:
    """An id in the path."""
    return Path(description=description, json_schema_extra=dict(ID_SCHEMA))


async def _tenant(
    caller: Caller,
    tenant: Annotated[
        str | None, Query(description="Only this tenant's jobs.", json_schema_extra=dict(ID_SCHEMA))
    ] = None,
) -> str | None:
    asked = None if tenant is None else checked_id(tenant, what="tenant")
    return caller.tenant_for(asked)


def owner(description: str) -> Callable[..., Awaitable[str]]:
    """A dependency: the query's tenant, narrowed to the caller's; where neither is one, `default`."""
    asked = Query(default=None, description=description, json_schema_extra=dict(ID_SCHEMA))

    async def narrowed(caller: Caller, tenant: str | None = asked) -> str:
        return await _tenant(caller, tenant) or OWNER_DEFAULT

    return narrowed


Gate = Annotated[Gateway, Depends(_gateway)]
JobId = Annotated[str, legal_id("job"), id_path("The job's id.")]
Tenant = Annotated[str | None, Depends(_tenant)]
"""The query's tenant, narrowed to the caller's."""
Limit = Annotated[
    int, Query(ge=1, le=limits.PAGE_ITEMS_MAX, description="Items of a page at most.")
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="Submitting again under the same key gives the first job back.",
    ),
]
After = Annotated[
    int | None, Query(ge=0, le=2**53, description="Items past this number; the same as cursor.")
]
PageCursor = Annotated[
    int | None, Query(ge=0, le=2**53, description="next_cursor of the page before.")
]
ListCursor = Annotated[
    str | None,
    Query(
        max_length=64,
        pattern=r"^[A-Za-z0-9_-]+$",
        description="next_cursor of the page before; opaque, and good for the same filters only.",
    ),
]


def json_answer(
    view: BaseModel, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A view as an HTTP answer."""
    return Response(
        view.model_dump_json(),
        status_code=status,
        headers=dict(headers or {}),
        media_type="application/json",
    )


def refusals(*codes: ErrorCode) -> dict[int | str, dict[str, Any]]:
    """The error answers of a route, for OpenAPI: these, and those that every route may give."""
    return open_refusals(*codes, *_CALLED)


def open_refusals(*codes: ErrorCode) -> dict[int | str, dict[str, Any]]:
    """As `refusals`, for a route that nobody needs a token for."""
    by_status: dict[int, list[ErrorCode]] = {}
    for code in dict.fromkeys((*codes, *_ALWAYS)):
        status = CATALOGUE[code].http_status
        assert status is not None, f"{code} has no HTTP status"
        by_status.setdefault(status, []).append(code)
    return {
        status: {
            "model": ErrorBody,
            "description": " ".join(f"{code}: {CATALOGUE[code].meaning}" for code in several),
        }
        for status, several in sorted(by_status.items())
    }


def stored_refusals(*codes: ErrorCode) -> dict[int | str, dict[str, Any]]:
    """As `refusals`, for a route that asks the store."""
    return refusals(*codes, ErrorCode.UNAVAILABLE)


def takes(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """The request body of a route that reads it itself, for OpenAPI."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {
        "requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}
    }
