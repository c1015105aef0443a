"""Every actor's own /metrics, /livez and /readyz, in a thread that user work cannot starve."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from orch.telemetry.health import Health

_WELL: Final = "200 OK"
_UNWELL: Final = "503 Service Unavailable"


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _ServerOn6(_Server):
    address_family: int = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base's
        """Scrapes are not worth a line."""


def _app(registry: CollectorRegistry, health: Health) -> Any:
    metrics = make_wsgi_app(registry)

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            answer: Iterable[bytes] = metrics(environ, start_response)
            return answer
        ready = health.ready()
        known = path in {"/livez", "/readyz"}
        is_well = health.alive() if path == "/livez" else ready
        status = _WELL if known and is_well else _UNWELL if known else "404 Not Found"
        start_response(status, [("Content-Type", "application/json")])
        return [
            json.dumps(
                {
                    "ready": ready,
                    "draining": health.draining,
                    "cycle_age_ms": health.ages_ms(),
                    "stuck": health.stuck(),
                }
            ).encode()
            if known
            else b"{}"
        ]

    return app


@contextmanager
def telemetry_server(
    host: str, port: int, registry: CollectorRegistry, health: Health
) -> Iterator[int]:
    """Serves until the block is left; yields the port (0 asked for any free one)."""
    kind = _ServerOn6 if ":" in host else _Server
    server = make_server(host, port, _app(registry, health), kind, _Quiet)
    thread = threading.Thread(target=server.serve_forever, name="telemetry", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
