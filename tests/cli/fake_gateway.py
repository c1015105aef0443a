"""A gateway that says what a test wrote down, over real HTTP; and records what it was asked."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

from typing_extensions import override


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    verb: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """One scripted answer. `hold` keeps the connection open until the test ends."""

    status: int = 200
    body: bytes = b"{}"
    content_type: str = "application/json"
    hold: bool = False


def ok(document: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(document).encode())


def refusal(code: str, status: int, **more: Any) -> Reply:
    body = {
        "code": code,
        "message": f"no: {code}",
        "hint": "do better",
        "retriable": False,
        "request_id": "r1",
    }
    return ok({**body, **more}, status)


def sse(*frames: tuple[str, str, Any], hold: bool = False) -> Reply:
    """A stream of (id, event, data); it then breaks off, as a restarting gateway does."""
    wire = [
        f"event: {name}\nid: {mark}\ndata: {json.dumps(data)}\n\n" for mark, name, data in frames
    ]
    return Reply(200, (": hello\n\n" + "".join(wire)).encode(), "text/event-stream", hold)


@dataclass
class FakeGateway:
    """Answers by (verb, path); a list is used up in order, its last answer stays."""

    url: str = ""
    routes: dict[tuple[str, str], list[Reply]] = field(default_factory=lambda: defaultdict(list))
    asked: list[Asked] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def on(self, verb: str, path: str, *replies: Reply) -> None:
        self.routes[verb, path] = list(replies)

    def answer(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        replies = self.routes.get((asked.verb, asked.path))
        if not replies:
            return refusal("NOT_FOUND", 404)
        return replies.pop(0) if len(replies) > 1 else replies[0]


class _Handler(BaseHTTPRequestHandler):
    gateway: ClassVar[FakeGateway]

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, parts.path, dict(parse_qsl(parts.query)), headers, body)
        reply = self.gateway.answer(asked)
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        if not reply.hold and reply.content_type != "text/event-stream":
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)
        self.wfile.flush()
        if reply.hold:
            self.gateway.over.wait(30)

    do_GET = _serve  # noqa: N815 - the name http.server calls
    do_POST = _serve  # noqa: N815 - as do_GET

    do_PUT = _serve  # noqa: N815 - as do_GET
    do_DELETE = _serve  # noqa: N815 - as do_GET

    @override
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def fake_gateway() -> Iterator[FakeGateway]:
    """A gateway on a free port of loopback for the time of a test."""
    gateway = FakeGateway()
    handler = type("Handler", (_Handler,), {"gateway": gateway})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        gateway.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield gateway
        finally:
            gateway.over.set()
            server.shutdown()
            thread.join()


def record(**changes: Any) -> dict[str, Any]:
    """A job record's body; a completed job unless told otherwise."""
    attempt = {
        "attempt": 1,
        "epoch": (3 << 32) + 7,
        "runner": "runner-a",
        "started_at_ms": 1_000,
        "ended_at_ms": 3_500,
        "outcome": "done",
        "exit_code": 0,
        "reason": "completed",
    }
    job = {
        "job_id": "j1",
        "name": "hello",
        "state": "completed",
        "block_reason": None,
        "tenant": "default",
        "pool": "default",
        "priority": "batch",
        "attempt": 1,
        "epoch": (3 << 32) + 7,
        "created_at_ms": 500,
        "started_at_ms": 1_000,
        "finished_at_ms": 3_500,
        "outcome": "done",
        "result": {"exit_code": 0},
        "question": None,
        "lease": None,
        "attempts": [attempt],
    }
    return {**job, **changes}


def timetable(**changes: Any) -> dict[str, Any]:
    """A schedule's body; one that fired in time last night unless told otherwise."""
    last = {"result": "fired", "fire_at_ms": 1_000, "at_ms": 1_020, "by_hand": False, "missed": 0}
    schedule = {
        "schedule_id": "nightly",
        "tenant": "default",
        "cron": "30 2 * * *",
        "time_zone": "Europe/Berlin",
        "sentence": "At 02:30 every day",
        "spec": {"name": "x"},
        "overlap": "skip",
        "missed_runs": "last",
        "start_at_ms": None,
        "end_at_ms": None,
        "paused": False,
        "revision": 3,
        "created_at_ms": 1,
        "changed_at_ms": 2,
        "next_fire_at_ms": 86_400_000,
        "last_fire_at_ms": 1_000,
        "last_job_id": "j1",
        "last": {**last, "job_id": "j1", "code": None, "message": None},
        "counts": {"fired": 4, "skipped": 3, "refused": 2, "missed": 1},
    }
    return {**schedule, **changes}


SESSION = {
    "session": "chat",
    "tenant": "a",
    "running": "j1",
    "jobs": [
        {
            "job_id": "j1",
            "name": "a job",
            "state": "running",
            "pool": "default",
            "priority": "batch",
            "created_at_ms": 1,
        }
    ],
}
SESSIONS = {
    "sessions": [{"session": "chat", "tenant": "a", "live_jobs": 1, "running": "j1"}],
    "next_cursor": None,
}
QUESTION = {
    "question_id": "q1",
    "text": "Deploy to production?",
    "kind": "approve",
    "options": None,
    "expires_at_ms": None,
}


def blocked() -> dict[str, Any]:
    return record(
        state="blocked",
        block_reason="approval",
        finished_at_ms=None,
        outcome=None,
        result=None,
        question=QUESTION,
    )


def event(seq: int, to: str, cause: str = "settle") -> dict[str, Any]:
    return {
        "seq": seq,
        "at_ms": 1_000 + seq,
        "type": "status_changed",
        "actor": "runner",
        "attempt": 1,
        "epoch": 7,
        "payload": {"from": "running", "to": to, "cause": cause},
    }
