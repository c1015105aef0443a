"""How a reply becomes a value or an error of the catalogue; the one place that translates HTTP failures.

A code from a newer server that this client does not know is mapped by its HTTP status. The body as it
came is kept in `answer`, so that `--json` can show it unchanged.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import httpx2

from contracts.errors import CATALOGUE, ErrorCode, OrchError, Refused, Unavailable
from orch.client.calls import Call
from orch.client.endpoint import START_HINT

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful reply as it came."""

    status: int
    body: bytes


class RefusedByServer(Refused):
    """The server understood and said no; `answer` is its body."""

    answer: dict[str, Any]


class UnavailableServer(Unavailable):
    """The server could not; `answer` is its body. Whether a write happened is unknown."""

    answer: dict[str, Any]


_BY_STATUS: Final = {
    400: ErrorCode.INVALID_REQUEST,
    401: ErrorCode.UNAUTHENTICATED,
    403: ErrorCode.FORBIDDEN,
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
    409: ErrorCode.INVALID_TRANSITION,
    413: ErrorCode.PAYLOAD_TOO_LARGE,
    415: ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    429: ErrorCode.RATE_LIMITED,
    500: ErrorCode.INTERNAL,
}


def error_of(status: int, body: bytes, url: str) -> OrchError:
    """The exception for a reply with an error status."""
    document = _error_document(body)
    if document is None:
        return _stranger(status, url)
    return error_of_body(document, _by_status(status))


def error_of_body(
    document: dict[str, Any], fallback: ErrorCode = ErrorCode.UNAVAILABLE
) -> RefusedByServer | UnavailableServer:
    """The exception for an error body; `fallback` stands for a code that this client does not know."""
    named = str(document["code"])
    code = ErrorCode(named) if named in CATALOGUE else fallback
    message = str(document.get("message", ""))
    http_status = CATALOGUE[code].http_status
    kind = UnavailableServer if http_status is not None and http_status >= 500 else RefusedByServer
    error = kind(
        code,
        message if code == named else f"{named}: {message}",
        details=_typed(document.get("details"), dict),
        retry_after_ms=_typed(document.get("retry_after_ms"), int),
        policy_label=_typed(document.get("policy_label"), str),
        hint=_typed(document.get("hint"), str),
    )
    error.answer = document
    return error


def _by_status(status: int) -> ErrorCode:
    fallback = ErrorCode.UNAVAILABLE if status >= 500 else ErrorCode.INVALID_REQUEST
    return _BY_STATUS.get(status, fallback)


def _stranger(status: int, url: str) -> OrchError:
    """A reply without our error body: a proxy, or some other server."""
    return Unavailable(
        ErrorCode.UNAVAILABLE,
        f"{url} answered HTTP {status} without an error body of Orch",
        hint="Is this the address of an Orch gateway? `orch doctor` looks.",
    )


def _error_document(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return (
        document if isinstance(document, dict) and isinstance(document.get("code"), str) else None
    )


def _typed(value: object, kind: type[T]) -> T | None:
    return value if isinstance(value, kind) else None


def checked(status: int, body: bytes, url: str) -> Answer:
    """The reply when it is a success.

    Raises:
        Refused, Unavailable: the error that the body names.
    """
    if 200 <= status < 300:
        return Answer(status, body)
    raise error_of(status, body, url)


def value_of(call: Call[T], answer: Answer, url: str) -> T:
    """The typed value of a success; a success that is none of ours is UNAVAILABLE."""
    try:
        return call.read(answer.body)
    except (ValueError, RecursionError) as error:
        first = str(error).partition("\n")[0]
        raise Unavailable(
            ErrorCode.UNAVAILABLE,
            f"{url}{call.path} answered something that is no body of Orch ({first})",
            hint="Is this the address of an Orch gateway of the same version?",
        ) from error


def unreachable(error: httpx2.TransportError, url: str) -> Unavailable:
    """The exception for a request that got no reply."""
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return Unavailable(ErrorCode.UNAVAILABLE, f"no Orch answers at {url}", hint=START_HINT)
    return Unavailable(
        ErrorCode.UNAVAILABLE,
        f"{url} did not reply ({type(error).__name__}); whether the request took effect is unknown",
        hint="Repeat it: a submission with an idempotency key is never doubled.",
    )
