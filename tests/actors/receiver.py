"""A real HTTP(S) server that webhooks are sent to: it keeps what it got, and answers what it is told to.

The certificate in `tls/` is for receiver.example and valid for a hundred years; its key is no secret.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PEM = Path(__file__).with_name("tls") / "receiver.pem"


@dataclass(frozen=True)
class Got:
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def message_id(self) -> str:
        return self.headers["webhook-id"]

    def is_signed_by(self, secret: str) -> bool:
        """By the words of the specification, without any code of Orch."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        stamp = self.headers["webhook-timestamp"]
        signed = b".".join((self.message_id.encode(), stamp.encode(), self.body))
        expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return f"v1,{expected}" in self.headers["webhook-signature"].split(" ")


@dataclass
class Receiver:
    """What it got, and what it answers: one answer after another, the last one for ever."""

    port: int = 0
    address: str = "127.0.0.1"
    scheme: str = "http"
    got: list[Got] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    """The names of TLS handshakes."""
    answers: list[tuple[int, Mapping[str, str], bytes]] = field(
        default_factory=lambda: [(200, {}, b"")]
    )
    gate: threading.Event = field(default_factory=threading.Event)
    """Nothing is answered until it is set."""

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.address}:{self.port}/hook"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    receiver: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        receiver = self.receiver
        receiver.got.append(Got(self.path, headers, body))
        receiver.gate.wait(20)
        answers = receiver.answers
        status, more, text = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        for name, value in more.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base's
        """Quiet."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes is no news."""


@contextmanager
def receiving(
    *, address: str = "127.0.0.1", tls: bool = False, port: int = 0
) -> Iterator[Receiver]:
    """A receiver, until the block is left."""
    receiver = Receiver(address=address, scheme="https" if tls else "http")
    receiver.gate.set()
    handler = type("Handler", (_Handler,), {"receiver": receiver})
    server = _Server((address, port), handler)
    receiver.port = server.server_port
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(PEM)
        context.sni_callback = lambda _, name, __: receiver.names.append(name)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()
