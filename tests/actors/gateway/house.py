"""A whole gateway on a real socket, a client that checks the contract, and a reader of event streams.

Whatever a test does over `house.http`, each answer is held against the OpenAPI document: its status is
declared for that operation, its JSON fits the schema, its correlation id is there.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import anyio
import anyio.abc
import httpx2
from fastapi import FastAPI
from jsonschema import Draft202012Validator
from prometheus_client import Counter

from actors.gateway.app import create_app, openapi_document
from actors.gateway.serve import bind, serve
from actors.gateway.services import Bounds, Gateway, Services, Timing
from actors.gateway.shards import Shards
from contracts.errors import ErrorCode, Refused
from orch.system import SystemClock, SystemIds
from orch.telemetry.metrics import Metrics
from tests.actors.gateway.fake_store import FakeStore

SPEC: dict[str, Any] = {
    "name": "hello",
    "adapter": {"name": "command", "config": {"argv": ["true"]}},
}
QUICK = Timing(ping_ms=40, body_wait_ms=150, feed_block_ms=60_000, check_wait_ms=200)


class FakeBlobs:
    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    async def read_range(self, sha256: str, *, offset: int, bytes_max: int) -> bytes:
        if sha256 not in self.content:
            raise Refused(ErrorCode.NOT_FOUND, "no such blob")
        return self.content[sha256][offset : offset + bytes_max]


@dataclass(frozen=True)
class Frame:
    event: str
    id: str
    data: Any


def parse_frames(text: str) -> list[Frame]:
    """Every frame of a finished stream; comments are dropped, anything else is a failure."""
    *blocks, rest = text.split("\n\n")
    assert rest == "", f"the stream ends within a frame: {rest!r}"
    return [_parse_frame(block) for block in blocks if not block.startswith(":")]


def _parse_frame(block: str) -> Frame:
    fields = [line.split(": ", 1) for line in block.split("\n")]
    assert [name for name, _ in fields] == ["event", "id", "data"], block
    event, frame_id, data = (value for _, value in fields)
    return Frame(event, frame_id, json.loads(data))


@dataclass
class Reading:
    """A stream as it is being read."""

    frames: list[Frame] = field(default_factory=list)
    pings: int = 0
    status: int = 0
    closed: bool = False


@dataclass
class House:
    http: httpx2.AsyncClient
    store: FakeStore
    blobs: FakeBlobs
    port: int
    app: FastAPI
    stop: anyio.Event
    tasks: anyio.abc.TaskGroup

    @property
    def gateway(self) -> Gateway:
        return self.shards.first

    @property
    def shards(self) -> Shards:
        shards: Shards = self.app.state.shards
        return shards

    async def submit(self, **changes: Any) -> str:
        answer = await self.http.post("/v1/jobs", json={**SPEC, **changes})
        assert answer.status_code == 202, answer.text
        job_id: str = answer.json()["job_id"]
        return job_id

    async def frames(self, job_id: str, **request: Any) -> list[Frame]:
        """The whole stream of a job that ends."""
        answer = await self.http.get(f"/v1/jobs/{job_id}/events", **request)
        assert answer.status_code == 200, answer.text
        return parse_frames(answer.text)

    async def follow(self, job_id: str, reading: Reading, **request: Any) -> None:
        """Read a stream into `reading` until the server closes it."""
        path = f"/v1/jobs/{job_id}/events"
        async with self.http.stream("GET", path, **request) as answer:
            reading.status = answer.status_code
            pending = ""
            async for text in answer.aiter_text():
                *blocks, pending = (pending + text).split("\n\n")
                reading.pings += sum(block.startswith(":") for block in blocks)
                reading.frames += [_parse_frame(b) for b in blocks if not b.startswith(":")]
            assert pending == ""
        reading.closed = True

    async def raw(self, request: bytes, *, until: bytes = b"") -> bytes:
        """What the server says to these bytes, until it has said `until` or closes."""
        async with await anyio.connect_tcp("127.0.0.1", self.port) as stream:
            await stream.send(request)
            said = b""
            with anyio.fail_after(5):
                while not until or until not in said:
                    try:
                        said += await stream.receive()
                    except (anyio.EndOfStream, anyio.BrokenResourceError):
                        return said
            return said


async def wait_until(fact: Callable[[], bool]) -> None:
    """Return once the fact holds; a fact that never does is a failure."""
    with anyio.fail_after(10):
        while not fact():
            await anyio.sleep(0.001)


@cache
def _document() -> dict[str, Any]:
    return openapi_document()


@cache
def _operations() -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    return [
        (re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + r"\Z"), operations)
        for path, operations in _document()["paths"].items()
    ]


def _declared(method: str, path: str) -> dict[str, Any] | None:
    for pattern, operations in _operations():
        if pattern.match(path) and method.lower() in operations:
            responses: dict[str, Any] = operations[method.lower()]["responses"]
            return responses
    return None


async def check_contract(response: httpx2.Response) -> None:
    """Hold one answer against the document."""
    assert response.headers["x-correlation-id"]
    request = response.request
    if request.method == "HEAD" or response.status_code == 304:
        return
    responses = _declared(request.method, request.url.path)
    if responses is None:
        assert response.status_code in {400, 401, 403, 404, 405, 413, 415, 429}
        schema: dict[str, Any] = {"$ref": "#/components/schemas/ErrorBody"}
    else:
        assert str(response.status_code) in responses, f"undeclared {response.status_code}"
        content = responses[str(response.status_code)]["content"]
        kind = response.headers["content-type"].partition(";")[0]
        assert kind in content, f"undeclared {kind}"
        schema = content[kind].get("schema", {})
    if response.headers["content-type"] == "application/json":
        await response.aread()
        whole = {"components": _document()["components"], **schema}
        Draft202012Validator(whole).validate(response.json())


def services_over(store: FakeStore, *, timing: Timing | None = None, **more: Any) -> Services:
    """Everything a gateway needs, around this store."""
    metrics = Metrics()
    Counter("orch_test", "A number.", registry=metrics.registry).inc()
    return Services(
        store=store,
        blobs=more.pop("blobs", None) or FakeBlobs(),
        clock=SystemClock(),
        ids=SystemIds(),
        metrics=metrics,
        timing=timing or Timing(),
        bounds=Bounds(**more.pop("bounds", {})),
        **more,
    )


@asynccontextmanager
async def running(*, grace_ms: int = 1_000, **more: Any) -> AsyncIterator[House]:
    """A gateway over a fake store, stopped at the end of the block."""
    store, blobs = FakeStore(), FakeBlobs()
    app = create_app(services_over(store, blobs=blobs, **more))
    stop, sock = anyio.Event(), bind()
    port: int = sock.getsockname()[1]
    client = httpx2.AsyncClient(
        base_url=f"http://127.0.0.1:{port}",
        limits=httpx2.Limits(max_connections=None),
        timeout=10,
        event_hooks={"response": [check_contract]},
    )
    async with anyio.create_task_group() as tasks:
        await tasks.start(partial(serve, app, sock, stop=stop, grace_ms=grace_ms))
        async with client:
            yield House(client, store, blobs, port, app, stop, tasks)
            stop.set()
