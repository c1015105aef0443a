"""A collector of traces: real HTTP on loopback, OTLP as JSON, and as protobuf where its package is there."""

from __future__ import annotations

import base64
import gzip
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.e2e.stack import wait_until


@dataclass(frozen=True)
class Seen:
    """One span as it came, with the resource that sent it."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int | str
    started_ns: int
    ended_ns: int
    attributes: Mapping[str, Any]
    links: tuple[str, ...]
    error: str | None
    resource: Mapping[str, Any]

    @property
    def role(self) -> str:
        """Which kind of process sent it."""
        return str(self.resource["orch.role"])


@dataclass
class Collector:
    """What came in."""

    port: int = 0
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    spans: list[Seen] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    """Statuses of the next answers; then 200."""
    one: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def take(self, headers: dict[str, str], body: bytes) -> int:
        """A request; the status of its answer."""
        with self.one:
            self.headers.append(headers)
            if self.answers:
                return self.answers.pop(0)
            if headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            self.bodies.append(body)
            self.spans += list(spans_in(document_of(headers["content-type"], body)))
            return 200

    def of(self, trace_id: str) -> list[Seen]:
        """The spans of a trace, in order of time; each once, though two processes told of it."""
        with self.one:
            found = {one.span_id: one for one in self.spans if one.trace_id == trace_id}
        return sorted(found.values(), key=lambda one: (one.started_ns, one.ended_ns))

    def trace_of(self, job_id: str) -> str:
        """The trace of a job, once any span of it came."""

        def found() -> str | None:
            with self.one:
                ids = {
                    one.trace_id
                    for one in self.spans
                    if one.attributes.get("orch.job.id") == job_id
                }
            assert len(ids) <= 1, f"job {job_id} is in {len(ids)} traces"
            return next(iter(ids), None)

        return wait_until(found, what=f"a span of job {job_id}")

    def whole(self, job_id: str) -> list[Seen]:
        """The trace of a job, once its end and the beginning came."""
        trace_id = self.trace_of(job_id)

        def found() -> list[Seen] | None:
            spans = self.of(trace_id)
            names = {one.name for one in spans}
            whole = {"end job", "submit requests", "admit queue"} <= names
            known = {one.span_id for one in spans}
            chained = all(one.parent_id in known for one in spans if one.name != "submit requests")
            return spans if whole and chained else None

        return wait_until(
            found,
            what=f"the whole trace of {job_id}: {[one.name for one in self.of(trace_id)]}",
        )


def document_of(kind: str, body: bytes) -> dict[str, Any]:
    """The request in its JSON shape."""
    if kind.startswith("application/json"):
        document: dict[str, Any] = json.loads(body)
        return document
    from google.protobuf.json_format import MessageToDict
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    said: dict[str, Any] = MessageToDict(ExportTraceServiceRequest.FromString(body))
    return said


def hex_of(said: str) -> str:
    """An id: hex in OTLP's own JSON, base64 in what protobuf makes of it."""
    is_hex = len(said) in {0, 16, 32}
    return said if is_hex else base64.b64decode(said).hex()


def spans_in(document: dict[str, Any]) -> Iterator[Seen]:
    for part in document["resourceSpans"]:
        resource = attributes_of(part["resource"]["attributes"])
        for scope in part["scopeSpans"]:
            for span in scope["spans"]:
                status = span.get("status", {})
                yield Seen(
                    name=span["name"],
                    trace_id=hex_of(span["traceId"]),
                    span_id=hex_of(span["spanId"]),
                    parent_id=hex_of(span.get("parentSpanId", "")),
                    kind=span["kind"],
                    started_ns=int(span["startTimeUnixNano"]),
                    ended_ns=int(span["endTimeUnixNano"]),
                    attributes=attributes_of(span["attributes"]),
                    links=tuple(hex_of(link["spanId"]) for link in span.get("links", [])),
                    error=status.get("message")
                    if status.get("code") in (2, "STATUS_CODE_ERROR")
                    else None,
                    resource=resource,
                )


def attributes_of(listed: list[dict[str, Any]]) -> dict[str, Any]:
    return {one["key"]: value_of(one["value"]) for one in listed}


def value_of(value: dict[str, Any]) -> Any:
    ((kind, said),) = value.items()
    return int(said) if kind == "intValue" else said


@contextmanager
def a_collector() -> Iterator[Collector]:
    """One that listens until the block is left."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.send_response(collector.take({":path": self.path, **headers}, body))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
