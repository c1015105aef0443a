"""Submitting over HTTP: new, again, several, refused."""

from __future__ import annotations

from typing import Any

import pytest

from actors.gateway.submission import Express
from contracts.errors import ErrorCode, Refused
from tests.actors.gateway.house import SPEC, House, running


@pytest.mark.req("API-1", "ADM-3")
async def test_a_new_job_is_accepted_with_its_place_in_the_queue() -> None:
    async with running() as house:
        answer = await house.http.post("/v1/jobs", json=SPEC)

        assert answer.status_code == 202
        assert answer.json() == {
            "job_id": "job0001",
            "state": "queued",
            "queue_position": 0,
            "predicted_start_ms": None,
            "duplicate": False,
        }
        assert answer.headers["location"] == "/v1/jobs/job0001"


@pytest.mark.req("JOB-3", "API-1")
async def test_the_same_key_and_content_gives_the_first_job_and_other_content_a_conflict() -> None:
    async with running() as house:
        key = {"Idempotency-Key": "k-1"}
        first = await house.http.post("/v1/jobs", json=SPEC, headers=key)
        again = await house.http.post("/v1/jobs", json=SPEC, headers=key)
        other = await house.http.post("/v1/jobs", json={**SPEC, "name": "x"}, headers=key)

        assert (first.status_code, again.status_code, other.status_code) == (202, 200, 409)
        assert again.json() == {**first.json(), "duplicate": True}
        assert other.json()["code"] == "IDEMPOTENCY_CONFLICT"
        assert set(other.json()["details"]) == {"stored", "given"}
        assert list(house.store.jobs_by_id) == ["job0001"]


@pytest.mark.req("API-1", "ADM-6")
async def test_two_different_keys_in_one_request_are_refused_before_anything_is_stored() -> None:
    async with running() as house:
        answer = await house.http.post(
            "/v1/jobs", json={**SPEC, "idempotency_key": "a"}, headers={"Idempotency-Key": "b"}
        )
        same = await house.http.post(
            "/v1/jobs", json={**SPEC, "idempotency_key": "a"}, headers={"Idempotency-Key": "a"}
        )

        assert answer.status_code == 400
        assert answer.json()["code"] == "INVALID_REQUEST"
        assert same.status_code == 202
        assert house.store.calls["admit"] == 1


@pytest.mark.req("JOB-1", "ADM-6")
async def test_a_bad_spec_names_the_path_of_its_fault_and_costs_nothing() -> None:
    async with running() as house:
        answer = await house.http.post("/v1/jobs", json={**SPEC, "nme": 1})

        assert answer.status_code == 400
        assert answer.json()["code"] == "INVALID_SPEC"
        assert answer.json()["details"]["path"] == "nme"
        assert house.store.jobs_by_id == {}


@pytest.mark.req("API-1", "ADM-6")
async def test_each_item_of_a_batch_is_answered_on_its_own_and_in_order() -> None:
    async with running() as house:
        answer = await house.http.post(
            "/v1/jobs:batch", json={"items": [SPEC, {"name": "x"}, SPEC, 7]}
        )

        assert answer.status_code == 200
        items = answer.json()["items"]
        assert [list(item) for item in items] == [["job"], ["error"], ["job"], ["error"]]
        assert [item["job"]["job_id"] for item in items[::2]] == ["job0001", "job0002"]
        assert {item["error"]["code"] for item in items[1::2]} == {"INVALID_SPEC"}
        assert items[1]["error"]["request_id"] == answer.headers["x-correlation-id"]
        assert len(house.store.jobs_by_id) == 2


@pytest.mark.req("API-1")
@pytest.mark.parametrize("batch", [[], {}, {"items": []}, {"items": 3}, {"items": [1], "x": 1}])
async def test_a_batch_that_is_no_list_of_items_is_refused(batch: object) -> None:
    async with running() as house:
        answer = await house.http.post("/v1/jobs:batch", json=batch)

        assert answer.status_code == 400
        assert answer.json()["code"] == "INVALID_REQUEST"


@pytest.mark.req("API-3", "ADM-3")
async def test_a_refusal_for_load_says_when_to_come_back_in_body_and_headers() -> None:
    async with running() as house:
        house.store.full = Refused(ErrorCode.QUEUE_FULL, "the queue is full", retry_after_ms=1_250)
        measured = await house.http.post("/v1/jobs", json=SPEC)
        house.store.full = Refused(ErrorCode.QUEUE_FULL, "the queue is full")
        unmeasured = await house.http.post("/v1/jobs", json=SPEC)

        assert measured.status_code == unmeasured.status_code == 429
        assert measured.json()["retriable"] is True
        assert measured.json()["retry_after_ms"] == 1_250
        assert measured.headers["retry-after"] == "2"
        assert measured.headers["x-backoff-ms"] == "1250"
        assert unmeasured.headers["retry-after"] == "1"


GOOD = b'{"name":"hello","adapter":{"name":"command","config":{"argv":["true"]}}}'
BODIES = (
    b"", b"{", b"[]", b'{"name":"a","name":"b"}', b'{"name":"hello"}', GOOD, b"\xff",
    GOOD.replace(b"command", b"none"), GOOD.replace(b"}}}", b'}},"idempotency_key":"other"}'),
)  # fmt: skip


async def told(house: House, body: bytes, keys: tuple[str, ...]) -> tuple[object, ...]:
    """All of an answer but its time and its ids."""
    headers = [("Content-Type", "application/json"), *(("Idempotency-Key", key) for key in keys)]
    answer = await house.http.post("/v1/jobs", content=body, headers=headers)
    named = {name: answer.headers[name] for name in answer.headers}
    varying = {"date": "", "x-correlation-id": ""}
    return answer.status_code, {**named, **varying}, {**answer.json(), "request_id": None}


@pytest.mark.req("API-1", "API-3")
@pytest.mark.parametrize("keys", [(), ("k",), ("",), ("two words",), ("k" * 201,), ("a", "b")])
async def test_the_express_way_and_the_framework_say_the_same(keys: tuple[str, ...]) -> None:
    async with running() as express, running() as framework:
        ways: list[Any] = framework.app.user_middleware
        ways[:] = [way for way in ways if way.cls is not Express]
        for body in BODIES:
            assert await told(express, body, keys) == await told(framework, body, keys), body


@pytest.mark.req("API-3")
async def test_an_unreachable_store_and_a_defect_are_told_on_the_express_way_too() -> None:
    async with running() as house:
        house.store.away = True
        away = await house.http.post("/v1/jobs", json=SPEC)
        house.store.away, house.store.fault = False, ZeroDivisionError()
        defect = await house.http.post("/v1/jobs", json=SPEC)

        assert (away.status_code, away.json()["code"]) == (503, "UNAVAILABLE")
        assert (defect.status_code, defect.json()["code"]) == (500, "INTERNAL")
        house.store.fault = None
        assert (await house.http.post("/v1/jobs", json=SPEC)).status_code == 202


@pytest.mark.req("ADM-3", "API-3")
@pytest.mark.parametrize(
    ("code", "wait_ms", "status", "seconds"),
    [
        (ErrorCode.QUEUE_FULL, 1, 429, "1"),
        (ErrorCode.RATE_LIMITED, 1_001, 429, "2"),
        (ErrorCode.INTAKE_PAUSED, 5_000, 503, "5"),
    ],
)
async def test_a_refusal_for_load_says_when_to_come_again_in_headers_and_body(
    code: ErrorCode, wait_ms: int, status: int, seconds: str
) -> None:
    async with running() as house:
        house.store.full = Refused(
            code, "no", details={"a": 1}, retry_after_ms=wait_ms, policy_label="drop-lru"
        )
        answer = await house.http.post("/v1/jobs", json=SPEC)
        body = answer.json()
        assert (answer.status_code, body["code"]) == (status, code)
        assert (body["retry_after_ms"], body["policy_label"]) == (wait_ms, "drop-lru")
        assert (body["retriable"], body["details"]) == (True, {"a": 1})
        assert answer.headers["retry-after"] == seconds
        assert answer.headers["x-backoff-ms"] == str(wait_ms)
