"""Whatever is wrong with a request, the answer is the one flat error body (API-3)."""

from __future__ import annotations

import json

import httpx2
import pytest

from actors.gateway.body import parse_json
from contracts import limits
from contracts.errors import Corrupt, ErrorCode, Refused, Unavailable
from tests.actors.gateway.house import SPEC, running

JSON = {"Content-Type": "application/json"}
DEEP = b'{"a":' + b"[" * 5_000 + b"]" * 5_000 + b"}"
BAD_JSON = [
    b"",
    b"{",
    b"{'a': 1}",
    b'{"a": 1, "a": 1}',
    b'{"x": {"a": 1, "a": 1}}',
    b'{"a": NaN}',
    b'{"a": -Infinity}',
    b'{"a": 1e999}',
    b'{"a": 18446744073709551616}',
    b'{"a": ' + b"9" * 5_000 + b"}",
    b'{"a": "\\ud800"}',
    b'{"\\udfff": 1}',
    b'{"a": "\xff"}',
    b'\xef\xbb\xbf{"a": 1}',
    DEEP,
    b"[" * (limits.JSON_DEPTH_MAX + 1) + b"]" * (limits.JSON_DEPTH_MAX + 1),
]
MALFORMED = [
    ("GET", "/", 404, "NOT_FOUND"),
    ("GET", "/v1", 404, "NOT_FOUND"),
    ("GET", "/v1/jobs/", 404, "NOT_FOUND"),
    ("GET", "/docs", 404, "NOT_FOUND"),
    ("GET", "/openapi.json", 404, "NOT_FOUND"),
    ("GET", "/v1/nothing", 404, "NOT_FOUND"),
    ("GET", "/v1/jobs/nobody", 404, "NOT_FOUND"),
    ("GET", "/v1/jobs/nobody/ledger", 404, "NOT_FOUND"),
    ("GET", "/v1/jobs/nobody/logs", 404, "NOT_FOUND"),
    ("GET", "/v1/jobs/nobody/artifacts", 404, "NOT_FOUND"),
    ("GET", "/v1/jobs/nobody/explain", 404, "NOT_FOUND"),
    ("POST", "/v1/jobs/nobody/cancel", 404, "NOT_FOUND"),
    ("GET", "/v1/jobs/a..b", 400, "INVALID_ID"),
    ("GET", "/v1/jobs/-x", 400, "INVALID_ID"),
    ("GET", "/v1/jobs/%00", 400, "INVALID_ID"),
    ("GET", "/v1/jobs/x%0a", 400, "INVALID_ID"),
    ("GET", "/v1/jobs/" + "x" * 65, 400, "INVALID_ID"),
    ("GET", "/v1/jobs?tenant=..", 400, "INVALID_ID"),
    ("GET", "/v1/jobs?state=sleeping", 400, "INVALID_REQUEST"),
    ("GET", "/v1/jobs?limit=0", 400, "INVALID_REQUEST"),
    ("GET", "/v1/jobs?limit=501", 400, "INVALID_REQUEST"),
    ("GET", "/v1/jobs?limit=x", 400, "INVALID_REQUEST"),
    ("GET", "/v1/jobs?cursor=" + "x" * 257, 400, "INVALID_REQUEST"),
    ("GET", "/v1/jobs/a/ledger?after=-1", 400, "INVALID_REQUEST"),
    ("GET", "/v1/jobs/a/logs?cursor=x", 400, "INVALID_REQUEST"),
    ("PUT", "/v1/jobs", 405, "METHOD_NOT_ALLOWED"),
    ("DELETE", "/v1/jobs/nobody", 405, "METHOD_NOT_ALLOWED"),
    ("BREW", "/livez", 405, "METHOD_NOT_ALLOWED"),
]


@pytest.mark.req("API-3")
async def test_every_malformed_request_gets_its_typed_error() -> None:
    async with running() as house:
        for method, path, status, code in MALFORMED:
            answer = await house.http.request(method, path)

            assert (answer.status_code, answer.json()["code"]) == (status, code), f"{method} {path}"
            assert answer.json()["request_id"] == answer.headers["x-correlation-id"]
        assert house.store.jobs_by_id == {}


@pytest.mark.req("API-3")
async def test_a_wrong_method_is_told_the_right_ones() -> None:
    async with running() as house:
        answer = await house.http.put("/v1/jobs")

        assert answer.headers["allow"] == "GET, HEAD, POST"


@pytest.mark.req("API-3", "ADM-6")
async def test_a_body_that_two_readers_would_read_differently_is_refused() -> None:
    async with running() as house:
        for body in BAD_JSON:
            answer = await house.http.post("/v1/jobs", content=body, headers=JSON)

            assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_SPEC"), body[:60]
        assert house.store.calls["admit"] == 0


@pytest.mark.req("API-3")
def test_every_document_that_json_can_carry_is_read() -> None:
    document: dict = {
        "a": [1, -1.5, 2**64 - 1, -(2**63), None, True, "ü\U0001f600", {}, []],
        "": "",
    }
    deepest = b"[" * limits.JSON_DEPTH_MAX + b"]" * limits.JSON_DEPTH_MAX

    assert parse_json(json.dumps(document).encode()) == document
    assert isinstance(parse_json(deepest), list)


@pytest.mark.req("API-3", "SEC-2")
async def test_what_a_parser_complains_of_does_not_show_what_was_sent() -> None:
    async with running() as house:
        canary = "sk-canary-5f3a"
        broken = await house.http.post(
            "/v1/jobs", content=b'{"a": ' + canary.encode(), headers=JSON
        )
        wrong = await house.http.get("/v1/jobs", params={"limit": canary})
        house.store.fault = RuntimeError(canary)
        defect = await house.http.post("/v1/jobs", json=SPEC)

        assert [a.status_code for a in (broken, wrong, defect)] == [400, 400, 500]
        assert not any(canary in a.text for a in (broken, wrong, defect))
        assert (defect.json()["code"], defect.json()["retriable"]) == ("INTERNAL", False)


@pytest.mark.req("API-3")
@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Unavailable(ErrorCode.UNAVAILABLE, "away", retry_after_ms=500), 503),
        (Corrupt(ErrorCode.INTERNAL, "broken"), 500),
        (Refused(ErrorCode.RATE_LIMITED, "slowly", retry_after_ms=10), 429),
        (ValueError("x"), 500),
    ],
)
async def test_whatever_the_store_raises_becomes_an_error_body(
    fault: Exception, status: int
) -> None:
    async with running() as house:
        house.store.fault = fault

        answer = await house.http.post("/v1/jobs", json=SPEC)

        assert answer.status_code == status
        assert set(answer.json()) >= {"code", "message", "hint", "retriable", "request_id"}
        assert ("retry-after" in answer.headers) == (status in {429, 503})


@pytest.mark.req("API-3")
async def test_a_correlation_id_is_echoed_when_it_is_harmless_and_made_otherwise() -> None:
    async with running() as house:

        async def sent(value: str) -> httpx2.Response:
            return await house.http.get("/livez", headers={"X-Correlation-Id": value})

        given = await sent("abc-1:2")
        odd = [(await sent(value)).headers["x-correlation-id"] for value in ("", "a b", "x" * 129)]

        assert given.headers["x-correlation-id"] == "abc-1:2"
        assert all(len(made) == 10 for made in odd)
        assert len(set(odd)) == 3
