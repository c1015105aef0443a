"""A real gateway under bytes that mean harm: it answers or cuts, stores nothing, and goes on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from actors.body import make_store
from actors.gateway.services import Timing
from contracts import limits
from contracts.tokens import Scope, TokenRecord
from orch.core.tokens import digest_of, token_text
from orch.settings import settings_of
from orch.store.embedded import private_server
from orch.store.store import Store
from tests.actors.gateway.house import SPEC, running
from tests.actors.gateway.process import Process, body_of, gateway, status_of

OWN: Final = ("beats", "seen", "instances", "meta")
"""What the gateway writes about itself while it lives."""
MIB: Final = limits.MIB


@dataclass
class Target:
    process: Process
    store: Store
    auth: str

    async def contents(self) -> dict[str, Any]:
        execute = self.store.connection.execute
        names = sorted(await execute("KEYS", "*"))
        return {name: await execute("DUMP", name) for name in names if not name.endswith(OWN)}

    async def post(
        self,
        body: bytes,
        *more: bytes,
        path: str = "/v1/jobs",
        length: int | None = None,
        **knock: Any,
    ) -> bytes:
        head = self.process.head(
            f"POST {path}",
            self.auth,
            "Content-Type: application/json",
            f"Content-Length: {len(body) if length is None else length}",
            "Connection: close",
        )
        return await self.process.knock(head + body, *more, **knock)

    async def get(self, path: str, *headers: str) -> bytes:
        head = self.process.head(f"GET {path}", self.auth, *headers, "Connection: close")
        return await self.process.knock(head)


@asynccontextmanager
async def target(home: Path, *words: str) -> AsyncIterator[Target]:
    text = token_text("a" * 10, "s" * 52)
    record = TokenRecord(
        name="evil",
        tenant="evil",
        scopes=list(Scope),
        sha256=digest_of(text),
        created_at_ms=1,
    )
    async with private_server(home / "server", appendfsync="no") as server:
        store = make_store(settings_of({"redis_url": server.url}), actor="test")
        try:
            await store.timers.declare(["default"])
            await store.tokens.create("a" * 10, record)
            words = ("--set", "auth=tokens", *words)
            async with gateway(home / "home", server.url, *words) as process:
                assert process.address is not None, process.log
                yield Target(process, store, f"Authorization: Bearer {text}")
        finally:
            await store.connection.aclose()
    assert text not in process.log
    assert "Traceback" not in process.log


def spec(**more: Any) -> bytes:
    return json.dumps({**SPEC, **more}).encode()


BODIES: Final[dict[str, tuple[bytes, int, str]]] = {
    "deep": (b'{"inputs":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "INVALID_SPEC"),
    "deep objects": (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, 400, "INVALID_SPEC"),
    "many keys": (
        b"{" + b",".join(b'"%d":1' % n for n in range(limits.JSON_KEYS_MAX + 1)) + b"}",
        400,
        "INVALID_SPEC",
    ),
    "a key twice": (b'{"name":"a","name":"b"}', 400, "INVALID_SPEC"),
    "a key twice, far below": (
        spec(inputs={"x": 1}).replace(b'"x"', b'"x":0,"x"'),
        400,
        "INVALID_SPEC",
    ),
    "NUL": (spec(id="a\0b"), 400, "INVALID_SPEC"),
    "NUL bytes": (b"\0" * 1_000, 400, "INVALID_SPEC"),
    "half a character": (b'{"name":"\\ud800"}', 400, "INVALID_SPEC"),
    "half a character as a key": (b'{"\\udfff":1}', 400, "INVALID_SPEC"),
    "no UTF-8": (b'{"name":"\xed\xa0\x80"}', 400, "INVALID_SPEC"),
    "NaN": (b'{"name":NaN}', 400, "INVALID_SPEC"),
    "a long number": (b'{"name":' + b"9" * 100_000 + b"}", 400, "INVALID_SPEC"),
    "another tenant": (spec(tenant="acme"), 403, "TENANT_MISMATCH"),
}


@pytest.mark.req("API-4", "ADM-6", "SEC-3", "SIM-5")
async def test_a_hostile_body_is_one_typed_error_and_nothing_is_stored(tmp_path: Path) -> None:
    async with target(tmp_path) as it:
        before = await it.contents()
        for what, (body, status, code) in BODIES.items():
            said = await it.post(body)
            assert status_of(said) == status, what
            assert body_of(said)["code"] == code, what
            assert len(said) < 2_000, "it does not echo the payload"
        assert await it.contents() == before
        assert status_of(await it.post(spec())) == 202, "a good one still comes in"


@pytest.mark.req("API-4", "API-3", "SIM-5")
async def test_heads_without_measure_and_pipelined_garbage_are_told_so(tmp_path: Path) -> None:
    async with target(tmp_path) as it:
        before = await it.contents()
        long_query = await it.get("/v1/jobs?cursor=" + "x" * limits.TARGET_BYTES_MAX)
        assert (status_of(long_query), body_of(long_query)["code"]) == (400, "INVALID_REQUEST")
        long_header = await it.get("/v1/jobs", "X-Long: " + "x" * 17_000)
        assert (status_of(long_header), body_of(long_header)["code"]) == (400, "INVALID_REQUEST")
        endless = await it.process.knock(b"GET /" + b"x" * 200_000)
        assert (status_of(endless), body_of(endless)["code"]) == (400, "INVALID_REQUEST")
        many = await it.get("/v1/jobs", *(f"X-{n}: x" for n in range(101)))
        assert (status_of(many), body_of(many)["code"]) == (400, "INVALID_REQUEST")
        for job_id in ("..%2F..%2Fetc", "a%00b", "%ff", "{orch:0}:jobs", "a" * 65):
            assert status_of(await it.get(f"/v1/jobs/{job_id}")) in {400, 404}, job_id

        piped = it.process.head("GET /livez") * 3 + b"\x00\x01\x02 nonsense\r\n\r\n"
        said = await it.process.knock(piped)
        assert said.count(b"HTTP/1.1 200 OK") == 3
        assert said.count(b"HTTP/1.1 400 Bad Request") == 1
        assert await it.contents() == before


@pytest.mark.req("API-4", "SIM-5")
async def test_a_hundred_megabytes_are_cut_and_take_no_room(tmp_path: Path) -> None:
    async with target(tmp_path) as it:
        before = await it.contents()
        room = rss_bytes(it)
        chunk = b" " * MIB
        declared = await it.post(b"", *([chunk] * 100), length=100 * MIB)
        chunked = it.process.head(
            "POST /v1/jobs:batch",
            it.auth,
            "Content-Type: application/json",
            "Transfer-Encoding: chunked",
        )
        streamed = await it.process.knock(chunked, *([b"%x\r\n%b\r\n" % (MIB, chunk)] * 100))

        for said in (declared, streamed):
            # Who goes on sending is cut off, and may not get to read why.
            assert not said or body_of(said)["code"] == "PAYLOAD_TOO_LARGE"
        assert rss_bytes(it) - room < 60 * MIB
        assert status_of(await it.get("/livez")) == 200
        assert await it.contents() == before


def rss_bytes(it: Target) -> int:
    """Of the gateway, now."""
    status = Path(f"/proc/{it.process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1_024


@pytest.mark.req("API-4", "ADM-4", "SIM-5")
async def test_too_many_requests_a_second_are_told_when_to_come_again(tmp_path: Path) -> None:
    async with target(tmp_path, "--set", "http_rate=1", "--set", "http_burst=3") as it:
        before = await it.contents()
        answers = [await it.get("/v1/jobs") for _ in range(4)]
        assert [status_of(said) for said in answers] == [200, 200, 200, 429]
        error = body_of(answers[-1])
        head = answers[-1].partition(b"\r\n\r\n")[0].decode().lower()
        assert error["code"] == "RATE_LIMITED"
        assert 0 < error["retry_after_ms"] <= 1_001
        assert f"x-backoff-ms: {error['retry_after_ms']}" in head
        assert "retry-after: 1" in head

        refused = await it.post(spec())
        assert status_of(refused) == 429, "before its body is judged"
        it.auth = "Authorization: Bearer guess"
        guesses = [status_of(await it.get("/v1/jobs")) for _ in range(5)]
        assert guesses == [401, 401, 401, 429, 429], "who guesses is counted by address"
        assert status_of(await it.get("/livez")) == 200, "probes are not counted"
        assert await it.contents() == before


@pytest.mark.req("API-4", "SIM-5")
async def test_connections_have_their_number_and_one_more_is_told_so(tmp_path: Path) -> None:
    async with target(tmp_path, "--set", "connections_max=5") as it:
        host, port = it.process.reached_at
        held = [await anyio.connect_tcp(host, port) for _ in range(5)]
        for stream in held:
            await stream.send(it.process.head("GET /livez"))
            assert status_of(await stream.receive()) == 200
        said = await it.process.knock(until=b"}")
        assert (status_of(said), body_of(said)["code"]) == (429, "RATE_LIMITED")
        assert b"Retry-After: 1\r\n" in said

        await held.pop().aclose()
        with anyio.fail_after(5):
            while status_of(await it.get("/livez")) != 200:
                await anyio.sleep(0.01)
        for stream in held:
            await stream.aclose()


@pytest.mark.req("API-4", "SIM-5")
async def test_streams_have_their_number_for_each_caller_and_in_all() -> None:
    for bounds in ({"caller_streams_max": 2}, {"streams_max": 2}):
        async with running(bounds=bounds) as house:
            path = f"/v1/jobs/{await house.submit()}/events"
            async with house.http.stream("GET", path), house.http.stream("GET", path):
                refused = await house.http.get(path)
                assert (refused.status_code, refused.json()["code"]) == (429, "RATE_LIMITED")
                assert refused.json()["details"] == bounds
                assert refused.headers["retry-after"] == "5"
            with anyio.fail_after(5):
                while house.gateway.streams.taken:
                    await anyio.sleep(0.01)
            async with house.http.stream("GET", path) as again:
                assert again.status_code == 200


SLOW: Final = Timing(head_wait_ms=200, body_wait_ms=300, idle_wait_ms=1_000)


@pytest.mark.req("API-4", "API-3", "SIM-5")
async def test_a_head_that_trickles_is_cut_after_its_time_however_often_a_byte_comes() -> None:
    async with running(timing=SLOW) as house:
        async with await anyio.connect_tcp("127.0.0.1", house.port) as stream:
            await stream.send(b"GET /livez HTTP/1.1\r\n")
            said = b""
            with anyio.fail_after(5):
                while not said:
                    await stream.send(b"X-A: b\r\n")
                    with anyio.move_on_after(0.05):
                        said = await stream.receive()
            assert (status_of(said), body_of(said)["code"]) == (400, "INVALID_REQUEST")
            assert body_of(said)["message"] == "the request did not arrive in time"
        assert (await house.http.get("/livez")).status_code == 200


@pytest.mark.req("API-4", "SIM-5")
async def test_a_connection_that_says_nothing_is_closed_without_a_word() -> None:
    async with running(timing=SLOW) as house:
        assert await house.raw(b"") == b""
        asked = b"GET /livez HTTP/1.1\r\nHost: localhost:%d\r\n\r\n" % house.port
        assert (await house.raw(asked)).count(b"HTTP/1.1") == 1, "idle after an answer"


@pytest.mark.req("API-4", "SIM-5")
async def test_a_body_for_nobody_that_trickles_is_cut() -> None:
    async with (
        running(timing=SLOW) as house,
        await anyio.connect_tcp("127.0.0.1", house.port) as stream,
    ):
        await stream.send(
            b"GET /livez HTTP/1.1\r\nHost: localhost:%d\r\nContent-Length: 9999\r\n\r\n"
            % house.port
        )
        said = b""
        with anyio.fail_after(5), suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            while True:
                await stream.send(b"x")
                with anyio.move_on_after(0.05):
                    said += await stream.receive()
        assert said.count(b"HTTP/1.1") == 1


@pytest.mark.req("API-4", "SIM-5")
async def test_a_body_that_trickles_is_cut_after_its_time() -> None:
    async with running(timing=SLOW) as house:
        async with await anyio.connect_tcp("127.0.0.1", house.port) as stream:
            await stream.send(
                b"POST /v1/jobs HTTP/1.1\r\nHost: localhost:%d\r\nContent-Length: 9999\r\n"
                b"Content-Type: application/json\r\n\r\n" % house.port
            )
            said = b""
            with anyio.fail_after(5):
                while not said:
                    await stream.send(b" ")
                    with anyio.move_on_after(0.05):
                        said = await stream.receive()
            assert (status_of(said), body_of(said)["code"]) == (400, "INVALID_REQUEST")
        assert house.store.calls["admit"] == 0
