"""The gateway process: HTTP over the store."""

from __future__ import annotations

import resource
import socket
from functools import partial
from typing import Final

import structlog

from actors.body import Body, living
from actors.gateway.app import create_app
from actors.gateway.serve import bind
from actors.gateway.serve import serve as serve_http
from actors.gateway.services import Bounds, Services
from actors.instance import every
from actors.listening import check_listener, tls_of
from contracts.limits import TICK_MS
from orch.blobs import Blobs
from orch.core.tokens import SECRET_CHARS
from orch.settings import Settings
from orch.system import secret_letters
from orch.telemetry.health import Health

log = structlog.get_logger()


SPARE_FILES: Final = 128
"""Files of the process that are no connections of callers: Redis, blobs, logs."""


def _bounds(s: Settings) -> Bounds:
    """The settings' bounds, as far as the system gives files: beyond that, nobody could be answered."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = s.connections_max + SPARE_FILES
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return Bounds(
        http_rate=s.http_rate,
        http_burst=s.http_burst,
        connections_max=max(1, min(s.connections_max, soft - SPARE_FILES)),
        caller_connections_max=s.caller_connections_max,
        streams_max=s.streams_max,
        caller_streams_max=s.caller_streams_max,
    )


async def run(body: Body) -> None:
    """Until the stop.

    Raises:
        Refused: INVALID_CONFIG, when it would listen where it must not, or cannot speak TLS.
    """
    s = body.settings
    tls = tls_of(s)
    services = Services(
        store=body.store,
        shard=s.shard,
        further=body.further,
        blobs=Blobs(body.place.home / "blobs"),
        clock=body.clock,
        ids=body.ids,
        metrics=body.metrics,
        health=body.health,
        hosts=frozenset(name.lower() for name in s.allowed_hosts),
        bounds=_bounds(s),
        agent_key=secret_letters(SECRET_CHARS) if s.auth == "tokens" else None,
        webhook_hosts=s.webhook_hosts_allowed,
        traces=body.traces,
    )
    app = create_app(services)
    fd = body.place.socket_fd
    sock = socket.socket(fileno=fd) if fd is not None else bind(s.host, s.port)
    check_listener(sock, s)
    log.info("gateway_listens", address=sock.getsockname(), auth=s.auth, tls=tls is not None)
    body.health.expect("http")
    async with living(body) as tasks:
        # So that a server that begins anew is noticed, also while nobody calls.
        ping = partial(every, TICK_MS * 5, clock=body.clock, what="ping")
        tasks.start_soon(partial(ping, body.store.connection.ping, health=body.health))
        for store in body.further.values():
            # Judged by nobody: a shard that is away is no fault of this process.
            tasks.start_soon(partial(ping, store.connection.ping, health=Health(body.clock)))
        await serve_http(app, sock, stop=body.stop.event, grace_ms=s.grace_ms, tls=tls)
