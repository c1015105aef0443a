"""What does a stranger hear who does not even speak HTTP, and how long do we listen to one who is slow?

uvicorn answers bytes that are no request by itself, in plain text and before any application; here that
answer is the error body that everybody gets (API-3). And it waits for ever: for headers that never end, for
the rest of a body that was refused. Here each phase has its time, and connections have their number (API-4).
And when it stops it cuts off who has just connected: here a request that is on its way is answered (API-5).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Protocol

import anyio
import h11
import orjson
from typing_extensions import override
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from actors.gateway.refusals import Refusals
from actors.gateway.services import Services, Timing
from contracts import limits
from contracts.errors import ErrorCode, Refused
from orch.ports import Ids

_REASONS: Final = {400: "Bad Request", 429: "Too Many Requests"}
_RETRY_MS: Final = 1_000
_LAST_MS: Final = 500
"""So long a connection without a request stays open when the server stops: what was sent before arrives in
that time, and the shortest grace is twice as long."""


class _Handle(Protocol):
    def cancel(self) -> None: ...


def _answer(refused: Refused, request_id: str) -> bytes:
    body = orjson.dumps(refused.body(request_id))
    status = refused.entry.http_status or 400
    head = [
        f"HTTP/1.1 {status} {_REASONS[status]}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"X-Correlation-Id: {request_id}",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
    ]
    if status == 429:
        head += [f"Retry-After: {_RETRY_MS // 1_000}", f"X-Backoff-Ms: {_RETRY_MS}"]
    return "\r\n".join([*head, "", ""]).encode() + body


@dataclass(slots=True)
class Connections:
    """Open connections of one server, by address."""

    total_max: int
    each_max: int
    by_address: Counter[str] = field(default_factory=Counter)
    total: int = 0

    def take(self, address: str) -> bool:
        """Whether there was room for one more."""
        if self.total >= self.total_max or self.by_address[address] >= self.each_max:
            return False
        self.total += 1
        self.by_address[address] += 1
        return True

    def leave(self, address: str) -> None:
        """One that was taken has gone."""
        self.total -= 1
        self.by_address[address] -= 1
        if not self.by_address[address]:
            del self.by_address[address]


_NO_REQUEST: Final = Refused(ErrorCode.INVALID_REQUEST, "this is no HTTP/1.1 request")
_TOO_SLOW: Final = Refused(ErrorCode.INVALID_REQUEST, "the request did not arrive in time")
_TOO_MANY: Final = Refused(
    ErrorCode.RATE_LIMITED, "too many connections are open", retry_after_ms=_RETRY_MS
)


class Patient(H11Protocol):
    """One connection; the class is made for one server by `protocol_with`."""

    ids: ClassVar[Ids]
    timing: ClassVar[Timing]
    among: ClassVar[Connections]
    refusals: ClassVar[Refusals]
    draining: ClassVar[anyio.Event]
    _head_timer: _Handle | None = None
    _address: str | None = None
    _unread = 0
    _last_timer: _Handle | None = None
    """Runs from when the server stops."""

    @override
    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        address = self.client[0] if self.client else "local"
        if self.among.take(address):
            self._address = address
            self._watch_head()
            if self.draining.is_set():
                self.shutdown()
        else:
            self._refuse(_TOO_MANY)

    @override
    def shutdown(self) -> None:
        if self._is_between():
            self._last_timer = self.loop.call_later(_LAST_MS / 1000, self._too_slow)
        else:
            self._be_last()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch_head()
        if self._last_timer is not None:
            self._last_timer.cancel()
        if self._address is not None:
            self.among.leave(self._address)
            self._address = None
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._is_between() and self.cycle is not None:
            self._unread += len(data)
        super().data_received(data)
        if self._is_between():
            self._watch_head()
            if self._unread > limits.UNREAD_BYTES_MAX:
                self.transport.abort()
        else:
            self._unread = 0

    @override
    def handle_events(self) -> None:
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self._unwatch_head()
            if self._last_timer is not None:
                self._be_last()

    @override
    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            self._watch_head()

    @override
    def send_400_response(self, msg: str) -> None:
        self._refuse(_NO_REQUEST)

    def _is_between(self) -> bool:
        """Whether no request is being worked on: what comes now is a head, or nobody's body."""
        cycle: RequestResponseCycle | None = self.cycle  # whatever its own annotation says
        return cycle is None or cycle.response_complete

    def _be_last(self) -> None:
        """The request that is worked on is the last one here, and its answer says so."""
        self.cycle.keep_alive = False
        scope = self.cycle.scope
        scope["headers"] = [*scope["headers"], CLOSE_HEADER]

    def _watch_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.timing.head_wait_ms / 1000, self._too_slow)

    def _unwatch_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        if not self._is_between() or self.transport.is_closing():
            return
        if self.conn.trailing_data[0]:
            self._refuse(_TOO_SLOW)
        else:  # nothing was asked, or all that was asked is answered: there is nothing to say
            self.transport.close()

    def _refuse(self, refused: Refused) -> None:
        self.refusals.note(refused.code)
        # Where a body breaks off, the application may be within its answer: nothing fits there.
        if self._is_between() or not self.cycle.response_started:
            self.transport.write(_answer(refused, self.ids.token()))
        self.transport.close()


def protocol_with(
    services: Services, refusals: Refusals, draining: anyio.Event
) -> type[H11Protocol]:
    """uvicorn's HTTP/1.1 protocol, with refusals, patience and bounds of ours. `draining`: it stops."""
    bounds = services.bounds
    ours = {
        "ids": services.ids,
        "timing": services.timing,
        "among": Connections(bounds.connections_max, bounds.caller_connections_max),
        "refusals": refusals,
        "draining": draining,
    }
    return type("Protocol", (Patient,), ours)
