"""The door: which requests come in, under which id, with how much body; what leaves if all else fails.

Pure ASGI, outside of everything. It judges with `decide.py`, counts the body while it streams in,
stamps every answer with the correlation id, and turns an uncaught exception into an INTERNAL body.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from typing import Final

import anyio
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actors.gateway import decide
from actors.gateway.errors import (
    IS_GIVEN,
    REQUEST_ID,
    TRACEPARENT,
    cut_off,
    error_response,
    internal,
)
from actors.gateway.figures import Figures
from actors.gateway.refusals import Refusals
from contracts.errors import OrchError
from orch.core.tracing import Carried
from orch.ports import Ids
from orch.system import monotonic_s
from orch.telemetry.subject import works_for

CORRELATION: Final = "X-Correlation-Id"
PROBES: Final = frozenset({"/livez", "/readyz", "/metrics"})
"""What machines ask all day, and no caller: counted, they would thin the share of answers that fail."""
_CORRELATION_NAME: Final = CORRELATION.lower().encode()
_CORRELATION_ID: Final = re.compile(r"\A[\x21-\x7e]{1,128}\Z")
_LOG: Final = logging.getLogger("orch.gateway")


def _head_of(scope: Scope) -> decide.Head:
    server = scope.get("server")
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    return decide.Head(
        method=scope["method"],
        path=scope["path"],
        scheme=scope["scheme"],
        headers={key.decode("latin-1"): value.decode("latin-1") for key, value in headers},
        port=server[1] if server else None,
        address=server[0] if server else "",
        target_bytes=len(scope["raw_path"]) + len(scope["query_string"]),
        header_count=len(headers),
        header_bytes=sum(len(key) + len(value) for key, value in headers),
    )


class _Body:
    """`receive`, counted: a body that lies about its length is stopped where it passes the bound."""

    def __init__(self, receive: Receive, path: str) -> None:
        self._receive, self._path = receive, path
        self._left = decide.body_bytes_max(path)

    async def receive(self) -> Message:
        """The next message; Refused PAYLOAD_TOO_LARGE past the bound."""
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise decide.too_large(self._path)
        return message


class _Answer:
    """`send`, stamped with the headers that every answer carries."""

    def __init__(self, send: Send, scope: Scope, request_id: str, figures: Figures) -> None:
        self._send, self._scope, self._request_id = send, scope, request_id
        self._figures, self._began = figures, monotonic_s()
        self.started = False

    def about(self) -> tuple[str, Carried]:
        """For logs: the request, which is no job yet."""
        return "", Carried(self._scope["state"][TRACEPARENT] or "", self._request_id)

    async def send(self, message: Message) -> None:
        """Pass the message on, its head stamped."""
        if message["type"] == "http.response.start":
            self.started = True
            if self._scope["path"] not in PROBES:
                self._figures.answered(message["status"], monotonic_s() - self._began)
            message["headers"] = [*message["headers"], *self._stamps(message["headers"])]
        await self._send(message)

    def _stamps(self, headers: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        yield _CORRELATION_NAME, self._request_id.encode("latin-1")
        yield b"x-content-type-options", b"nosniff"
        if all(name != b"cache-control" for name, _ in headers):
            yield b"cache-control", b"no-store"
        if self._scope["state"].get("body_abandoned"):
            yield b"connection", b"close"


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        ids: Ids,
        hosts: frozenset[str],
        refusals: Refusals,
        figures: Figures,
    ) -> None:
        self._app, self._ids, self._hosts = app, ids, hosts
        self._refusals, self._figures = refusals, figures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge, then pass on; whatever happens, one answer with its id leaves."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        head = _head_of(scope)
        given = head.headers.get(CORRELATION.lower(), "")
        is_given = _CORRELATION_ID.match(given) is not None
        request_id = given if is_given else self._ids.token()
        state = scope.setdefault("state", {})
        state[REQUEST_ID], state[IS_GIVEN] = request_id, is_given
        state[TRACEPARENT] = head.headers.get(TRACEPARENT)
        answer = _Answer(send, scope, request_id, self._figures)
        works_for(answer)
        refused = decide.refusal(head, hosts=self._hosts)
        if refused is not None:
            self._refusals.note(refused.code)
            await error_response(refused, request_id)(scope, receive, answer.send)
            return
        body = _Body(receive, head.path)
        try:
            await self._app(scope, body.receive, answer.send)
        except ClientDisconnect:
            return
        except Exception as error:
            _LOG.exception("request %s failed", request_id)
            if answer.started:
                raise
            known = error if isinstance(error, OrchError) else internal(error)
            await error_response(known, request_id)(scope, receive, answer.send)
        except anyio.get_cancelled_exc_class():
            if not answer.started:
                # The server would say 500: a defect, and for the caller no reason to ask again.
                with anyio.CancelScope(shield=True):
                    await error_response(cut_off(), request_id)(scope, receive, answer.send)
            raise
