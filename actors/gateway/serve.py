"""How does the application listen, and how does it stop within its grace (API-5)?

uvicorn on a socket that is bound already, without its signal handlers and without its clock tick:
whoever calls decides when to stop, by an event. On stop every open stream is ended by the drain, which
uvicorn alone would wait for; its own time limit is only the belt.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, cast

import anyio
import uvicorn
from anyio.abc import TaskStatus
from fastapi import FastAPI
from typing_extensions import override

from actors.gateway.decide import HEADER_BYTES_MAX
from actors.gateway.protocol import protocol_with
from actors.gateway.shards import Shards
from actors.listening import Tls
from contracts import limits

BACKLOG: Final = 1_024


def bind(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    """A socket bound to this address; port 0 takes any free one.

    Raises:
        OSError: the address cannot be taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


class _Server(uvicorn.Server):
    def __init__(
        self,
        config: uvicorn.Config,
        *,
        stop: anyio.Event,
        on_start: Callable[[], None],
        on_stop: Callable[[], None],
        on_tick: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._stop, self._on_start, self._on_stop = stop, on_start, on_stop
        self._on_tick = on_tick

    @override
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals belong to the composition root

    def close(self, sock: socket.socket) -> None:
        """Stop listening, also when serving was canceled half-way."""
        for listener in getattr(self, "servers", ()):
            listener.close()
        sock.close()

    @override
    async def main_loop(self) -> None:
        self._on_start()
        while not self._stop.is_set():
            await self.on_tick(0)  # renews the Date header
            self._on_tick()
            with anyio.move_on_after(1):
                await self._stop.wait()
        self._on_stop()


async def serve(
    app: FastAPI,
    sock: socket.socket,
    *,
    stop: anyio.Event,
    grace_ms: int = 5_000,
    tls: Tls | None = None,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` on `sock` until `stop` is set; started once connections are accepted.

    Open streams end at once, other requests may take the grace. The socket is closed at the end.
    """
    shards = cast("Shards", app.state.shards)
    services = shards.first.services
    # An answer is two writes; without this the second waits 40 ms for the first one's ACK. asyncio
    # sets it only on sockets that name their protocol; accepted sockets inherit it from this one.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    config = uvicorn.Config(
        app,
        http=protocol_with(services, shards.commons.refusals, shards.commons.draining),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=max(1, services.timing.idle_wait_ms // 1000),
        timeout_graceful_shutdown=max(1, -(-grace_ms // 1000)),
        # Of a head that is not whole; one that is, `decide` judges.
        h11_max_incomplete_event_size=HEADER_BYTES_MAX + limits.TARGET_BYTES_MAX,
        ssl_certfile=tls.cert if tls else None,
        ssl_keyfile=tls.key if tls else None,
    )
    server = _Server(
        config,
        stop=stop,
        on_start=task_status.started,
        on_stop=shards.drain,
        on_tick=shards.turned,
    )
    try:
        async with anyio.create_task_group() as tasks:
            for gate in shards:
                await tasks.start(gate.hub.run)
            await server.serve(sockets=[sock])
            tasks.cancel_scope.cancel()
    finally:
        server.close(sock)
