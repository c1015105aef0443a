"""What does a caller see when something is wrong? One flat body, whatever raised it (API-3).

Refusals of ours carry their code; the framework's exceptions are translated here, once. The guard
answers what no handler caught.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from contracts.errors import ErrorCode, OrchError, Refused, Unavailable
from contracts.limits import RETRY_AFTER_MS_START

Methods = Callable[[str], frozenset[str]]
REQUEST_ID: Final = "request_id"
IS_GIVEN: Final = "request_id_is_given"
"""Whether the caller named the id of the request."""
TRACEPARENT: Final = "traceparent"
"""As the caller sent it, unjudged."""


def request_id_of(request: Request) -> str:
    """The id of this request, as the guard echoed or made it."""
    return str(request.scope["state"][REQUEST_ID])


def status_of(error: OrchError) -> int:
    """The HTTP status of an error's code; 500 for a code that HTTP cannot meet."""
    return error.entry.http_status or 500


def _own_headers(error: OrchError) -> dict[str, str]:
    if error.code is ErrorCode.RANGE_NOT_SATISFIABLE and error.details:
        return {"Content-Range": f"bytes */{error.details['bytes']}"}
    return _waiting_headers(error)


def _waiting_headers(error: OrchError) -> dict[str, str]:
    status = status_of(error)
    if status == 401:
        return {"WWW-Authenticate": "Bearer"}
    wait_ms = error.retry_after_ms
    if status == 429 and wait_ms is None:
        wait_ms = RETRY_AFTER_MS_START  # its headers are never absent
    if status not in {429, 503} or wait_ms is None:
        return {}
    # Whole seconds, rounded up: who comes back then is not too early.
    headers = {"Retry-After": str(max(1, -(-wait_ms // 1000)))}
    headers["X-Backoff-Ms"] = str(wait_ms)
    return headers


def error_response(
    error: OrchError, request_id: str, *, headers: Mapping[str, str] | None = None
) -> Response:
    """The error as an HTTP answer."""
    return Response(
        orjson.dumps(error.body(request_id), default=str),
        status_code=status_of(error),
        headers={**_own_headers(error), **(headers or {})},
        media_type="application/json",
    )


def internal(error: Exception) -> OrchError:
    """What a caller learns of a defect: its kind, never its words."""
    return OrchError(ErrorCode.INTERNAL, f"unexpected {type(error).__name__}")


def cut_off() -> Unavailable:
    """What a caller learns whose request outlasted the grace of a gateway that stops."""
    message = "the gateway stops; whether the request was carried out is not known"
    return Unavailable(ErrorCode.UNAVAILABLE, message)


def _refuse(
    request: Request, refused: OrchError, headers: Mapping[str, str] | None = None
) -> Response:
    """The answer; operators hear of a refusal, whichever route it came from."""
    if isinstance(refused, Refused):
        request.app.state.shards.commons.refusals.note(refused.code)
    return error_response(refused, request_id_of(request), headers=headers)


async def _on_orch_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, OrchError)
    return _refuse(request, error)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = error.errors()
    path = ".".join(str(part) for part in faults[0]["loc"]) if faults else "$"
    message = faults[0]["msg"] if faults else "invalid"
    refused = Refused(
        ErrorCode.INVALID_REQUEST,
        f"{path}: {message}",
        details={"path": path, "faults": len(faults)},
    )
    return _refuse(request, refused)


def _on_http(methods_of: Methods) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code, message = {
            404: (ErrorCode.NOT_FOUND, "no such path"),
            405: (ErrorCode.METHOD_NOT_ALLOWED, "this path has no such method"),
        }.get(error.status_code, (ErrorCode.INVALID_REQUEST, "not a valid request"))
        headers = error.headers
        if code is ErrorCode.METHOD_NOT_ALLOWED:
            # The framework names the methods of the first route that it found, not of the path.
            headers = {"Allow": ", ".join(sorted(methods_of(request.url.path)))}
        refused = Refused(code, message, hint="contracts/openapi.json lists the paths.")
        return _refuse(request, refused, headers)

    return on_http


def install(app: FastAPI, methods_of: Methods) -> None:
    """Make every exception of a route an error body; `methods_of` a path is what it could be asked."""
    app.add_exception_handler(OrchError, _on_orch_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http(methods_of))
