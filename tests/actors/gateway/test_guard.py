"""The door, knocked at with raw bytes: names, origins, media types, sizes, patience (API-4)."""

from __future__ import annotations

import json

import pytest

from actors.gateway.decide import Head, refusal
from contracts import limits
from tests.actors.gateway.house import QUICK, SPEC, House, running

BODY = json.dumps(SPEC).encode()

OUR_HOSTS = (
    "127.0.0.1:{port}",
    "localhost:{port}",
    "LOCALHOST:{port}",
    "[::1]:{port}",
    "127.9.9.9:{port}",
)
OTHER_HOSTS = (
    "evil.example:{port}",
    "evil.example",
    "127.0.0.1",
    "localhost:1",
    "127.0.0.1.evil.example:{port}",
    "0.0.0.0:{port}",
    "10.0.0.1:{port}",
    "[::2]:{port}",
    "localhost.:{port}",
    "user@localhost:{port}",
    "",
)
OTHER_ORIGINS = (
    "http://evil.example",
    "null",
    "https://127.0.0.1:{port}",
    "http://127.0.0.1",
    "http://localhost:{port}",
)
OTHER_KINDS = (
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/jsonx",
    "application/json; charset=latin-1",
    "application/json, text/plain",
    "",
)


def status_of(said: bytes) -> int:
    return int(said.split(b" ", 2)[1])


def body_of(said: bytes) -> dict:
    return json.loads(said.partition(b"\r\n\r\n")[2])


async def knock(house: House, *headers: str, body: bytes = b"", line: str = "GET /livez") -> bytes:
    head = "\r\n".join([f"{line} HTTP/1.1", *headers, "Connection: close", "", ""])
    return await house.raw(head.format(port=house.port).encode() + body)


@pytest.mark.req("API-4")
async def test_only_loopback_names_with_our_port_may_be_in_host() -> None:
    async with running() as house:
        for host in OUR_HOSTS:
            assert status_of(await knock(house, f"Host: {host}")) == 200, host
        for host in OTHER_HOSTS:
            said = await knock(house, f"Host: {host}")
            assert (status_of(said), body_of(said)["code"]) == (403, "FORBIDDEN"), host


@pytest.mark.req("API-4")
async def test_a_page_of_another_origin_cannot_submit_a_job() -> None:
    async with running() as house:
        host, size = "Host: 127.0.0.1:{port}", f"Content-Length: {len(BODY)}"
        kind = "Content-Type: application/json"
        for origin in OTHER_ORIGINS:
            said = await knock(
                house, host, f"Origin: {origin}", kind, size, body=BODY, line="POST /v1/jobs"
            )
            assert (status_of(said), body_of(said)["code"]) == (403, "FORBIDDEN"), origin
        assert house.store.calls["admit"] == 0

        ours = "Origin: http://127.0.0.1:{port}"
        said = await knock(house, host, ours, kind, size, body=BODY, line="POST /v1/jobs")
        assert status_of(said) == 202


@pytest.mark.req("API-4", "API-3")
async def test_a_post_is_json_or_it_is_not_read() -> None:
    async with running() as house:
        host, size = "Host: 127.0.0.1:{port}", f"Content-Length: {len(BODY)}"
        for kind in OTHER_KINDS:
            said = await knock(
                house, host, f"Content-Type: {kind}", size, body=BODY, line="POST /v1/jobs"
            )
            assert (status_of(said), body_of(said)["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE"), kind
        said = await knock(house, host, size, body=BODY, line="POST /v1/jobs")
        assert status_of(said) == 415, "no content type at all"
        assert house.store.calls["admit"] == 0

        for kind in ("application/json", "Application/JSON; Charset=UTF-8"):
            said = await knock(
                house, host, f"Content-Type: {kind}", size, body=BODY, line="POST /v1/jobs"
            )
            assert status_of(said) == 202, kind


@pytest.mark.req("API-4", "API-3", "SIM-5")
async def test_a_declared_oversize_is_refused_before_the_body_is_sent() -> None:
    async with running() as house:
        said = await house.raw(
            b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
            b"Content-Length: 99999999999\r\n\r\n" % house.port,
            until=b"}}",
        )

        assert (status_of(said), body_of(said)["code"]) == (413, "PAYLOAD_TOO_LARGE")


@pytest.mark.req("API-4", "API-3", "SIM-5")
async def test_a_body_that_grows_past_the_bound_is_stopped_while_it_streams() -> None:
    async with running() as house:
        chunk = b"%x\r\n%b\r\n" % (limits.MIB, b" " * limits.MIB)
        said = await house.raw(
            b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" % house.port + chunk * 3,
            until=b"}}",
        )
        batch = await house.http.post(
            "/v1/jobs:batch", json={"items": [{**SPEC, "objective": "x" * 3 * limits.MIB}]}
        )

        assert (status_of(said), body_of(said)["code"]) == (413, "PAYLOAD_TOO_LARGE")
        assert body_of(said)["details"] == {"bytes_max": limits.BODY_BYTES_MAX}
        assert batch.status_code == 200, "a batch has a larger bound"
        assert house.store.jobs_by_id == {}


@pytest.mark.req("API-4", "SIM-5")
async def test_a_body_that_never_comes_is_not_waited_for() -> None:
    async with running(timing=QUICK) as house:
        said = await house.raw(
            b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
            b'Content-Length: 100\r\n\r\n{"name"' % house.port
        )

        assert (status_of(said), body_of(said)["code"]) == (400, "INVALID_REQUEST")
        assert b"connection: close" in said.lower()


@pytest.mark.req("API-4", "SIM-5")
async def test_a_client_that_leaves_within_its_body_leaves_nothing_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running() as house:
        await house.raw(
            b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
            b"Expect: 100-continue\r\nContent-Length: 100\r\n\r\n{" % house.port,
            until=b"100 Continue",
        )

        assert (await house.http.get("/livez")).status_code == 200
    assert house.store.calls["admit"] == 0
    assert not [one for one in caplog.records if one.name == "orch.gateway"], "no defect of ours"


@pytest.mark.req("API-3", "API-4", "SIM-5")
@pytest.mark.parametrize(
    "said_to_it",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\n folded\x00: x\r\n\r\n",
        b"GET  /livez\r\n\r\n",
        b"X" * 300_000,
    ],
)
async def test_bytes_that_are_no_request_get_the_same_error_body(said_to_it: bytes) -> None:
    async with running() as house:
        said = await house.raw(said_to_it)

        assert (status_of(said), body_of(said)["code"]) == (400, "INVALID_REQUEST")
        assert f"x-correlation-id: {body_of(said)['request_id']}".encode() in said.lower()


@pytest.mark.req("API-3", "API-4", "SIM-5")
async def test_nonsense_after_a_good_request_is_told_so_too() -> None:
    async with running() as house:
        good = b"GET /livez HTTP/1.1\r\nHost: localhost:%d\r\n\r\n" % house.port

        said = await house.raw(good + b"nonsense\r\n\r\n")

        assert [line for line in said.split(b"\r\n") if b"HTTP/1.1" in line][:2] == [
            b"HTTP/1.1 200 OK",
            b'{"live":true}HTTP/1.1 400 Bad Request',
        ]


@pytest.mark.req("API-3", "API-4", "SIM-5")
async def test_a_body_that_breaks_its_framing_ends_the_connection_and_nothing_else() -> None:
    async with running() as house:
        said = await house.raw(
            b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" % house.port
        )

        assert (status_of(said), body_of(said)["code"]) == (400, "INVALID_REQUEST")
        assert (await house.http.get("/livez")).status_code == 200
        assert house.store.calls["admit"] == 0


@pytest.mark.req("API-4", "SIM-5")
async def test_headers_are_bounded() -> None:
    async with running() as house:
        many = [f"X-{n}: x" for n in range(100)]
        for headers in (many, ["X-Long: " + "x" * 17_000]):
            said = await knock(house, "Host: 127.0.0.1:{port}", *headers)

            assert (status_of(said), body_of(said)["code"]) == (400, "INVALID_REQUEST")
        assert (await house.http.get("/livez")).status_code == 200


@pytest.mark.req("API-4")
def test_a_further_name_may_be_allowed_and_the_default_port_left_out() -> None:
    def head(host: str, port: int = 80) -> Head:
        return Head("GET", "/", "http", {"host": host}, port, "127.0.0.1", 1, 1, 20)

    allowed = frozenset({"orch.example"})
    assert refusal(head("orch.example"), hosts=allowed) is None
    assert refusal(head("orch.example"), hosts=frozenset()) is not None
    assert refusal(head("localhost", 8080), hosts=allowed) is not None
