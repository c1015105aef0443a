"""The HTTP door: submissions a second beside a bare FastAPI, and one job's end told to a thousand watchers.

The load is made with raw sockets on a few kept connections, so that the client costs little and alike.
"""

from __future__ import annotations

import json
import resource
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, TypeVar
from urllib.request import Request, urlopen

import anyio
import anyio.abc
import anyio.to_thread

from bench.environments import ROOT
from bench.measures.throughput import Says
from bench.processes import Process, start, tree_of
from bench.room import Failed, Room
from bench.rows import Sample
from orch.system import monotonic_ms

T = TypeVar("T")
CONNECTIONS: Final = 16
OPENING_AT_ONCE: Final = 50
"""Watchers that open their stream at the same moment; the measure is the fan-out, not the rush."""
READY_MS_MAX: Final = 20_000
SPEC: Final = {
    "name": "noop",
    "adapter": {"name": "python", "config": {"callable": "jobs:noop", "isolation": "inline"}},
}
_HEAD: Final = (
    "POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n"
    "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n"
)


def submissions(room: Room, *, seconds: float) -> list[Sample]:
    """Accepted POST /v1/jobs a second, at Orch's gateway and at the bare FastAPI."""
    says = Says(room)
    port = gateway(room)
    ours = in_loop(lambda: _post_for(port, seconds))
    bare_port = free_port()
    words = [sys.executable, "-m", "bench.bare", str(bare_port)]
    bare = start(words, log=room.folder / "bare.log", cwd=ROOT)
    room.running.append(bare)
    until_connects(bare_port, bare)
    theirs = in_loop(lambda: _post_for(bare_port, seconds))
    rows = [says("http_submit", ours, "jobs/s")]
    return [*rows, Sample("bare-fastapi", "http_submit", room.server.mode, theirs, "jobs/s")]


def fan_out(room: Room, *, watchers: int) -> list[Sample]:
    """One job is canceled under many SSE watchers: ms until the last of them has its end."""
    says = Says(room)
    _allow_descriptors(4 * watchers)
    port = gateway(room)
    later = {**SPEC, "not_before_ms": int(time.time() * 1_000) + 3_600_000}
    job_id = _post(port, "/v1/jobs", later)["job_id"]
    pid = _gateway_pid(room)
    before = _resident_kib(pid)
    last_ms, resident = in_loop(lambda: _watch(port, job_id, watchers, pid))
    return [
        says(f"sse_{watchers}_watchers_memory", (resident - before) / watchers, "KiB each"),
        says(f"sse_{watchers}_watchers_last", last_ms, "ms"),
        says(f"sse_{watchers}_watchers_rate", watchers / last_ms * 1_000, "watchers/s"),
    ]


def gateway(room: Room, **settings: object) -> int:
    """The port of a gateway process with these settings, the rest of a stack beside it."""
    port = free_port()
    room.begin_stack(port=port, settings=settings)
    until_connects(port, room.running[-1])
    return port


def in_loop(act: Callable[[], Awaitable[T]]) -> T:
    """The figure, measured in a loop of its own."""

    async def run() -> T:
        return await act()

    return anyio.run(run, backend_options={"use_uvloop": True})


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until_connects(port: int, process: Process) -> None:
    """Returns once somebody listens there."""
    until_ms = monotonic_ms() + READY_MS_MAX
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError as error:
            if monotonic_ms() > until_ms or not process.is_alive():
                message = f"no HTTP server came up: {process.said()}"
                raise Failed(message) from error
            process.pause()
        else:
            return


def _allow_descriptors(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


def _post(port: int, path: str, document: object) -> dict[str, str]:
    request = Request(
        f"http://127.0.0.1:{port}{path}",
        data=json.dumps(document).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urlopen(request, timeout=10) as answer:
        told: dict[str, str] = json.loads(answer.read())
    return told


async def _post_for(port: int, seconds: float) -> float:
    body = json.dumps(SPEC)
    message = (_HEAD.format(port, len(body)) + body).encode()
    accepted = 0

    async def one_connection(until: float) -> None:
        nonlocal accepted
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            while time.monotonic() < until:
                await stream.send(message)
                head = await answer(stream)
                if not head.startswith(b"HTTP/1.1 202"):
                    raise Failed(head[:300].decode(errors="replace"))
                accepted += 1

    began = time.monotonic()
    async with anyio.create_task_group() as tasks:
        for _ in range(CONNECTIONS):
            tasks.start_soon(one_connection, began + seconds)
    return accepted / (time.monotonic() - began)


async def answer(stream: anyio.abc.ByteStream) -> bytes:
    """One whole answer that says its length."""
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += await stream.receive()
    head = data[:end].lower()
    length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
    while len(data) < end + 4 + length:
        data += await stream.receive()
    return data


async def _until(stream: anyio.abc.ByteStream, word: bytes, data: bytes = b"") -> bytes:
    """Reads on until the word has come."""
    while word not in data:
        try:
            data += await stream.receive()
        except anyio.EndOfStream:
            message = f"a stream ended early: {data[-300:].decode(errors='replace')}"
            raise Failed(message) from None
    return data


def _gateway_pid(room: Room) -> int:
    for pid in tree_of([room.running[-1].pid]):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"gateway" in words:
            return pid
    message = "there is no gateway process"
    raise Failed(message)


def _resident_kib(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


async def _watch(port: int, job_id: str, watchers: int, pid: int) -> tuple[float, int]:
    """Ms from the cancel until the last watcher has read `event: end`; what the gateway held before it."""
    connected, finished = 0, 0
    all_in, opening = anyio.Event(), anyio.CapacityLimiter(OPENING_AT_ONCE)
    message = f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()

    async def one_watcher() -> None:
        nonlocal connected, finished
        async with AsyncExitStack() as stack:
            async with opening:
                stream = await stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", port))
                await stream.send(message)
                data = await _until(stream, b"event: status")
            connected += 1
            if connected == watchers:
                all_in.set()
            await _until(stream, b"event: end", data)
            finished += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(watchers):
            tasks.start_soon(one_watcher)
        with anyio.fail_after(60):
            await all_in.wait()
        resident = _resident_kib(pid)
        began = time.monotonic()
        await anyio.to_thread.run_sync(_post, port, f"/v1/jobs/{job_id}/cancel", {})
    assert finished == watchers
    return (time.monotonic() - began) * 1_000, resident
