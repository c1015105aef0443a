"""The gateway process: HTTP over the store."""

from __future__ import annotations

import socket
from functools import partial

import structlog

from actors.body import Body, living
from actors.gateway.app import create_app
from actors.gateway.serve import bind
from actors.gateway.serve import serve as serve_http
from actors.gateway.services import Services
from actors.instance import every
from contracts.limits import TICK_MS
from orch.blobs import Blobs

log = structlog.get_logger()


async def run(body: Body) -> None:
    """Until the stop."""
    s = body.settings
    services = Services(
        store=body.store,
        blobs=Blobs(body.place.home / "blobs"),
        clock=body.clock,
        ids=body.ids,
        registry=body.metrics.registry,
        webhook_hosts=s.webhook_hosts_allowed,
    )
    app = create_app(services)
    fd = body.place.socket_fd
    sock = socket.socket(fileno=fd) if fd is not None else bind(s.host, s.port)
    log.info("gateway_listens", address=sock.getsockname())
    async with living(body) as tasks:
        tasks.start_soon(
            partial(
                every,
                TICK_MS * 5,
                body.store.connection.ping,
                clock=body.clock,
                health=body.health,
                what="ping",
            )
        )
        await serve_http(app, sock, stop=body.stop.event, grace_ms=s.grace_ms)
