"""An endpoint that answers by a script: real sockets, a thread for each connection, a test's own bytes."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

Script = Callable[["Line"], None]
PATIENCE_S = 20.0


@dataclass
class Asked:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Line:
    """One connection; what a script speaks on."""

    sock: socket.socket
    asked: Asked
    go_on: threading.Event

    def send(self, *parts: bytes) -> None:
        """Each part in a packet of its own, as far as the kernel plays along."""
        for part in parts:
            self.sock.sendall(part)

    def head(self, status: int = 200, **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} Said"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\r\n".join([*lines, "Connection: close", "", ""]).encode())

    def events(self, *events: str, done: bool = True) -> None:
        """A whole stream of events, in chunked coding."""
        self.head(Content_Type="text/event-stream", Transfer_Encoding="chunked")
        for event in events:
            self.chunk(f"data: {event}\n\n".encode())
        if done:
            self.chunk(b"")

    def chunk(self, data: bytes) -> None:
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def wait(self) -> None:
        """Until the test lets it go on."""
        assert self.go_on.wait(PATIENCE_S)

    def until_gone(self) -> None:
        """Until the client closes its side."""
        while self.sock.recv(4096):
            pass


@dataclass
class Endpoint:
    """Plays the scripts in turn, the last one again and again."""

    port: int
    asked: list[Asked] = field(default_factory=list)
    gone: threading.Event = field(default_factory=threading.Event)
    """A client closed its connection before the script was through, or `until_gone` saw it."""
    go_on: threading.Event = field(default_factory=threading.Event)
    faults: list[BaseException] = field(default_factory=list)
    _scripts: list[Script] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/chat"

    def plays(self, *scripts: Script) -> str:
        """Sets the scripts; the URL to call."""
        self._scripts = list(scripts)
        return self.url

    def serve(self, sock: socket.socket) -> None:
        with sock:
            sock.settimeout(PATIENCE_S)
            asked = _read(sock)
            if asked is None:
                return
            with self._lock:
                self.asked.append(asked)
                script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
            try:
                script(Line(sock, asked, self.go_on))
                sock.shutdown(socket.SHUT_WR)
                with suppress(ConnectionError):
                    while sock.recv(4096):
                        pass
            except OSError as error:
                if isinstance(error, TimeoutError):
                    self.faults.append(error)
            except Exception as error:  # noqa: BLE001 - raised in the test's own thread
                self.faults.append(error)
            self.gone.set()


def _read(sock: socket.socket) -> Asked | None:
    data = b""
    while b"\r\n\r\n" not in data:
        part = sock.recv(65536)
        if not part:
            return None
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += sock.recv(65536)
    method, path, _ = first.split(" ")
    return Asked(method, path, headers, body)


@contextmanager
def an_endpoint() -> Iterator[Endpoint]:
    """Until the test leaves; every connection has ended by then."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = Endpoint(listener.getsockname()[1])
        threads: list[threading.Thread] = []

        def accept() -> None:
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                if stopped.is_set():
                    sock.close()
                    return
                thread = threading.Thread(target=endpoint.serve, args=(sock,), daemon=True)
                threads.append(thread)
                thread.start()

        stopped = threading.Event()
        acceptor = threading.Thread(target=accept, daemon=True)
        acceptor.start()
        try:
            yield endpoint
        finally:
            endpoint.go_on.set()
            stopped.set()
            socket.create_connection(("127.0.0.1", endpoint.port)).close()
            acceptor.join(PATIENCE_S)
            for thread in threads:
                thread.join(PATIENCE_S)
            assert not any(thread.is_alive() for thread in threads)
    assert endpoint.faults == []


def plain(body: bytes, status: int = 200, **headers: str) -> Script:
    """One whole answer."""

    def script(line: Line) -> None:
        line.head(status, **{"Content_Length": str(len(body)), **headers})
        line.send(body)

    return script


def document(value: Any, status: int = 200, **headers: str) -> Script:
    """One JSON answer."""
    return plain(json.dumps(value).encode(), status, Content_Type="application/json", **headers)


def says(*events: str) -> Script:
    """A stream of these events, and its end as HTTP sees it."""
    return lambda line: line.events(*events)


def delta(text: str, **more: Any) -> str:
    """One event of an OpenAI-style stream."""
    return json.dumps(
        {
            "object": "chat.completion.chunk",
            "choices": [{"index": 0, "delta": {"content": text}}],
            **more,
        }
    )


USED = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
LAST = json.dumps({"object": "chat.completion.chunk", "choices": [], "usage": USED})


def tokens(*texts: str, last: str = LAST) -> Script:
    """A whole OpenAI-style stream."""
    return lambda line: line.events(*(delta(text) for text in texts), last, "[DONE]")
