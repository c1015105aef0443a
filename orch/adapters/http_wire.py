"""The one HTTP client of a runner: it sends a call and hands back the answer as it comes.

No cookies are kept, no proxy is taken from the environment, certificates are verified, and a redirect is
followed on the same host only. What an answer means is decided elsewhere.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import httpcore2

from contracts.limits import (
    HTTP_CONNECTIONS_KEPT_MAX,
    HTTP_CONNECTIONS_MAX,
    HTTP_REDIRECTS_MAX,
    HTTP_SILENCE_MS_MAX,
)
from contracts.outcomes import Outcome, ReasonCode
from orch.adapters.http_call import Call
from orch.adapters.http_hosts import GuardedBackend, Hosts
from orch.adapters.http_outcomes import AnswerFault

LINK_ERRORS = (
    httpcore2.NetworkError,
    httpcore2.TimeoutException,
    httpcore2.ProtocolError,
    httpcore2.UnsupportedProtocol,
    OSError,
)
"""How a connection that fails shows itself; TLS errors are among the OSErrors."""


class Wire:
    """Connections that jobs share, opened when the first of them calls."""

    def __init__(self, hosts_allowed: Iterable[str]) -> None:
        self._hosts = Hosts(hosts_allowed)
        self._pool: httpcore2.AsyncConnectionPool | None = None

    @asynccontextmanager
    async def send(
        self, call: Call, may_send: Callable[[], None]
    ) -> AsyncIterator[httpcore2.Response]:
        """The answer to a call; its connection is closed with the scope, unless it was read to its end.

        `may_send` is asked before each request and raises when there must be none.
        """
        for _ in range(HTTP_REDIRECTS_MAX + 1):
            may_send()
            async with self._opened().stream(
                call.method,
                call.target,
                headers=call.lines(),
                content=call.content,
                extensions={"timeout": _timeouts(call)},
            ) as answer:
                onward = call.redirected(answer.status, header_map(answer).get("location"))
                if onward is None:
                    yield answer
                    return
            call = onward
        message = f"more than {HTTP_REDIRECTS_MAX} redirects"
        raise AnswerFault(Outcome.LOGIC, ReasonCode.HTTP_STATUS, message)

    async def aclose(self) -> None:
        """Closes what is kept open."""
        if self._pool is not None:
            await self._pool.aclose()
            self._pool = None

    def _opened(self) -> httpcore2.AsyncConnectionPool:
        if self._pool is None:
            self._pool = httpcore2.AsyncConnectionPool(
                # SSL_CERT_FILE and SSL_CERT_DIR are heeded: an operator's own authority.
                ssl_context=ssl.create_default_context(),
                max_connections=HTTP_CONNECTIONS_MAX,
                max_keepalive_connections=HTTP_CONNECTIONS_KEPT_MAX,
                keepalive_expiry=5.0,
                network_backend=GuardedBackend(self._hosts),
            )
        return self._pool


def header_map(answer: httpcore2.Response) -> dict[str, str]:
    """Lower-case names; of a header that came twice, the first."""
    headers: dict[str, str] = {}
    for name, value in answer.headers:
        headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return headers


def _timeouts(call: Call) -> dict[str, Any]:
    silence_s = HTTP_SILENCE_MS_MAX / 1000
    return {
        "connect": call.connect_s,
        "pool": call.connect_s,
        "write": silence_s,
        "read": silence_s,
    }
