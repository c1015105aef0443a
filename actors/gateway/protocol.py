"""What does a stranger hear who does not even speak HTTP? The same error body as everybody else (API-3).

uvicorn answers bytes that are no request by itself, in plain text and before any application; here
that answer is ours.
"""

from __future__ import annotations

import orjson
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from contracts.errors import ErrorCode, Refused
from orch.ports import Ids


def _answer(request_id: str) -> bytes:
    refused = Refused(ErrorCode.INVALID_REQUEST, "this is no HTTP/1.1 request")
    body = orjson.dumps(refused.body(request_id))
    head = (
        "HTTP/1.1 400 Bad Request",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"X-Correlation-Id: {request_id}",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
        "\r\n",
    )
    return "\r\n".join(head).encode() + body


def protocol_with(ids: Ids) -> type[H11Protocol]:
    """uvicorn's HTTP/1.1 protocol, whose own refusals are error bodies with an id of ours."""

    class Protocol(H11Protocol):
        @override
        def send_400_response(self, msg: str) -> None:
            # Where a body breaks off, the application may be within its answer: nothing fits there.
            cycle: RequestResponseCycle | None = self.cycle
            if cycle is None or cycle.response_complete or not cycle.response_started:
                self.transport.write(_answer(ids.token()))
            self.transport.close()

    return Protocol
