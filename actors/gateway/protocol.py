"""What does a stranger hear who does not even speak HTTP? The same error body as everybody else (API-3).

uvicorn answers bytes that are no request by itself, in plain text and before any application; here
that answer is ours.
"""

from __future__ import annotations

from typing import Final

import h11
import orjson
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

from contracts.errors import ErrorCode, Refused
from orch.ports import Ids

_CAN_ANSWER: Final = (h11.IDLE, h11.SEND_RESPONSE)


def _answer(request_id: str) -> tuple[h11.Response, h11.Data, h11.EndOfMessage]:
    refused = Refused(ErrorCode.INVALID_REQUEST, "this is no HTTP/1.1 request")
    body = orjson.dumps(refused.body(request_id))
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("X-Correlation-Id", request_id),
        ("X-Content-Type-Options", "nosniff"),
        ("Connection", "close"),
    ]
    return h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()


def protocol_with(ids: Ids) -> type[H11Protocol]:
    """uvicorn's HTTP/1.1 protocol, whose own refusals are error bodies with an id of ours."""

    class Protocol(H11Protocol):
        @override
        def send_400_response(self, msg: str) -> None:
            # Within a body that breaks off, the application may have begun its answer already.
            if self.conn.our_state in _CAN_ANSWER:
                for event in _answer(ids.token()):
                    self.transport.write(self.conn.send(event) or b"")
            self.transport.close()

    return Protocol
