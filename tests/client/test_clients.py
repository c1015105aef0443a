"""Both clients ask the same and understand the same; streams survive broken connections (API-1, EVT-2)."""

from __future__ import annotations

import inspect
import json
import socket
from collections.abc import Callable
from typing import Any

import pytest

from contracts.errors import ErrorCode, OrchError, Refused, Unavailable
from contracts.events import Frame
from contracts.states import State
from orch.client import Endpoint, JobFrame, Orch, OrchSync
from tests.cli.fake_gateway import (
    QUESTION,
    SESSION,
    SESSIONS,
    Asked,
    FakeGateway,
    Reply,
    blocked,
    event,
    ok,
    record,
    refusal,
    sse,
    timetable,
)

SUBMITTED = {
    "job_id": "j1",
    "state": "queued",
    "queue_position": 0,
    "predicted_start_ms": None,
    "duplicate": False,
}
SPEC = {"name": "x", "adapter": {"name": "command", "config": {"argv": ["true"]}}}
EXPLAINED = {"job_id": "j1", "state": "queued", "reason": "r", "unblocks": "u", "facts": {}}
SHA = "a" * 64

CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[str, str], Any]] = [
    ("submit", (SPEC,), {"idempotency_key": "k"}, ("POST", "/v1/jobs"), SUBMITTED),
    ("submit_batch", ([SPEC],), {}, ("POST", "/v1/jobs:batch"), {"items": [{"job": SUBMITTED}]}),
    ("job", ("j1",), {}, ("GET", "/v1/jobs/j1"), record()),
    (
        "jobs",
        (),
        {"state": State.QUEUED, "limit": 3},
        ("GET", "/v1/jobs"),
        {"jobs": [], "next_cursor": None},
    ),
    (
        "ledger",
        ("j1",),
        {"after": 4},
        ("GET", "/v1/jobs/j1/ledger"),
        {"events": [], "next_cursor": None},
    ),
    (
        "logs",
        ("j1",),
        {},
        ("GET", "/v1/jobs/j1/logs"),
        {"lines": [], "next_cursor": None, "trimmed": 0},
    ),
    ("artifacts", ("j1",), {}, ("GET", "/v1/jobs/j1/artifacts"), {"artifacts": []}),
    ("artifact_bytes", ("j1", SHA), {}, ("GET", f"/v1/jobs/j1/artifacts/{SHA}"), {"raw": 1}),
    ("explain", ("j1",), {}, ("GET", "/v1/jobs/j1/explain"), EXPLAINED),
    ("sessions", (), {"tenant": "a"}, ("GET", "/v1/sessions"), SESSIONS),
    ("session", ("chat",), {"tenant": "a"}, ("GET", "/v1/sessions/chat"), SESSION),
    ("cancel", ("j1",), {}, ("POST", "/v1/jobs/j1/cancel"), record()),
    ("pause", ("j1",), {}, ("POST", "/v1/jobs/j1/pause"), record()),
    ("resume", ("j1",), {}, ("POST", "/v1/jobs/j1/resume"), record()),
    ("answer", ("j1", "q1", "yes", "why"), {}, ("POST", "/v1/jobs/j1/answer"), record()),
    ("ready", (), {}, ("GET", "/readyz"), {"ready": True, "checks": {}}),
    (
        "put_schedule",
        ({"schedule_id": "nightly", "cron": "@daily", "spec": SPEC},),
        {"if_revision": 2},
        ("PUT", "/v1/schedules/nightly"),
        timetable(),
    ),
    ("schedule", ("nightly", "acme"), {}, ("GET", "/v1/schedules/nightly"), timetable()),
    (
        "schedules",
        (),
        {"limit": 3},
        ("GET", "/v1/schedules"),
        {"schedules": [timetable()], "next_cursor": "x"},
    ),
    ("delete_schedule", ("nightly",), {}, ("DELETE", "/v1/schedules/nightly"), timetable()),
    ("pause_schedule", ("nightly",), {}, ("POST", "/v1/schedules/nightly/pause"), timetable()),
    ("resume_schedule", ("nightly",), {}, ("POST", "/v1/schedules/nightly/resume"), timetable()),
    (
        "fire_schedule",
        ("nightly",),
        {"idempotency_key": "k-1"},
        ("POST", "/v1/schedules/nightly/fire"),
        {"result": "fired", "fire_at_ms": 1, "at_ms": 2, "job_id": "j1"},
    ),
]


def _essence(asked: Asked) -> tuple[Any, ...]:
    names = ("idempotency-key", "content-type", "authorization", "last-event-id")
    return (
        asked.verb,
        asked.path,
        dict(asked.query),
        asked.body,
        {name: asked.headers.get(name) for name in names},
    )


@pytest.mark.req("API-1")
@pytest.mark.parametrize(
    ("name", "args", "kwargs", "route", "body"), CALLS, ids=[c[0] for c in CALLS]
)
async def test_both_clients_send_the_same_request_and_read_the_same_answer(
    gateway: FakeGateway, name: str, args: Any, kwargs: Any, route: tuple[str, str], body: Any
) -> None:
    gateway.on(*route, ok(body))
    endpoint = Endpoint(gateway.url, token="secret", shard="3")
    async with Orch(endpoint) as client:
        first = await getattr(client, name)(*args, **kwargs)
    with OrchSync(endpoint) as client_sync:
        second = getattr(client_sync, name)(*args, **kwargs)
    assert first == second
    one, two = gateway.asked
    assert _essence(one) == _essence(two)
    assert one.headers["authorization"] == "Bearer secret"
    assert one.headers["orch-shard"] == "3"
    assert one.verb in {"GET", "DELETE"} or one.headers["content-type"] == "application/json"


def test_both_clients_have_the_same_methods() -> None:
    def methods(kind: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(value).parameters)
            for name, value in vars(kind).items()
            if callable(value) and not name.startswith("_")
        }

    assert methods(Orch) == methods(OrchSync)


def test_a_submission_carries_spec_and_key_as_they_are(gateway: FakeGateway) -> None:
    gateway.on("POST", "/v1/jobs", ok(SUBMITTED, 202))
    with OrchSync(Endpoint(gateway.url)) as client:
        client.submit({**SPEC, "objective": "\N{SNOWMAN}"}, "key-1")
    asked = gateway.asked[0]
    assert json.loads(asked.body) == {**SPEC, "objective": "\N{SNOWMAN}"}
    assert asked.headers["idempotency-key"] == "key-1"


@pytest.mark.req("API-3")
@pytest.mark.parametrize(
    ("reply", "kind", "code"),
    [
        (refusal("QUEUE_FULL", 429, retry_after_ms=7), Refused, ErrorCode.QUEUE_FULL),
        (refusal("UNAVAILABLE", 503), Unavailable, ErrorCode.UNAVAILABLE),
        (refusal("INTERNAL", 500), Unavailable, ErrorCode.INTERNAL),
        (refusal("BUDGET_EXCEEDED", 409), Refused, ErrorCode.INVALID_TRANSITION),
        (refusal("NEW_TROUBLE", 502), Unavailable, ErrorCode.UNAVAILABLE),
        (Reply(502, b"<html>bad gateway", "text/html"), Unavailable, ErrorCode.UNAVAILABLE),
        (Reply(200, b"<html>hello", "text/html"), Unavailable, ErrorCode.UNAVAILABLE),
        (ok({"job_id": 7}), Unavailable, ErrorCode.UNAVAILABLE),
        (ok({}, 302), Unavailable, ErrorCode.UNAVAILABLE),
    ],
)
def test_an_error_body_becomes_the_error_of_its_code(
    gateway: FakeGateway, reply: Reply, kind: type[OrchError], code: ErrorCode
) -> None:
    gateway.on("GET", "/v1/jobs/j1", reply)
    with OrchSync(Endpoint(gateway.url)) as client, pytest.raises(kind) as raised:
        client.job("j1")
    assert raised.value.code is code


def test_what_the_error_body_says_is_kept(gateway: FakeGateway) -> None:
    reply = refusal("QUEUE_FULL", 429, retry_after_ms=7, details={"pool": "p"})
    gateway.on("POST", "/v1/jobs", reply)
    with OrchSync(Endpoint(gateway.url)) as client, pytest.raises(Refused) as raised:
        client.submit(SPEC)
    error = raised.value
    assert (error.message, error.hint) == ("no: QUEUE_FULL", "do better")
    assert (error.retry_after_ms, error.details) == (7, {"pool": "p"})
    assert getattr(error, "answer", None) == json.loads(reply.body)


@pytest.mark.parametrize("job_id", ["../x", "a/b", "", "a b", "x" * 65, "a\n", "?"])
def test_an_illegal_id_never_becomes_a_path(gateway: FakeGateway, job_id: str) -> None:
    with OrchSync(Endpoint(gateway.url)) as client, pytest.raises(Refused) as raised:
        client.job(job_id)
    assert (raised.value.code, gateway.asked) == (ErrorCode.INVALID_ID, [])


@pytest.mark.parametrize(
    "send",
    [
        lambda client: client.submit(SPEC, "two words"),
        lambda client: client.submit(SPEC, "line\nbreak"),
        lambda client: client.submit({"name": float("nan")}),
        lambda client: client.submit({"name": object()}),
        lambda client: client.submit({"name": "x" * 3_000_000}),
        lambda client: client.artifact_bytes("j1", "../../etc"),
        lambda client: client.put_schedule({"cron": "@daily"}),
        lambda client: client.schedule("../../etc"),
    ],
    ids=[
        "key with a space",
        "key with a line break",
        "nan",
        "no json",
        "too large",
        "no digest",
        "a schedule without an id",
        "no id",
    ],
)
def test_what_cannot_be_sent_is_refused_before_it_is(
    gateway: FakeGateway, send: Callable[[OrchSync], object]
) -> None:
    with OrchSync(Endpoint(gateway.url)) as client, pytest.raises(Refused):
        send(client)
    assert gateway.asked == []


async def test_a_refused_connection_says_how_to_start_one() -> None:
    with socket.socket() as taken:  # bound and not listening: nobody else can get the port
        taken.bind(("127.0.0.1", 0))
        endpoint = Endpoint(f"http://127.0.0.1:{taken.getsockname()[1]}")
        with OrchSync(endpoint) as client, pytest.raises(Unavailable) as raised:
            client.job("j1")
        assert "orch up" in raised.value.hint
        async with Orch(endpoint) as client_async:
            with pytest.raises(Unavailable, match="no Orch answers"):
                await client_async.job("j1")


STARTED = ("0-0", "started", {"job_id": "j1", "queue_position": 0, "predicted_start_ms": None})
LOG = ("1-1", "log", {"i": 1, "stream": "stdout", "text": "hi"})
END = ("3-1", "end", {"state": "completed"})
BROKEN = (
    STARTED,
    ("1-0", "status", event(1, "queued", "admit")),
    LOG,
)
REST = (("2-1", "status", event(2, "completed")), ("2-1", "fancy", {"new": True}), END)
SEEN = [Frame.STARTED, Frame.STATUS, Frame.LOG, Frame.STATUS, Frame.END]


async def _frames(endpoint: Endpoint) -> list[JobFrame]:
    async with Orch(endpoint) as client:
        return [frame async for frame in client.events("j1")]


@pytest.mark.req("EVT-2")
async def test_a_broken_stream_goes_on_after_the_last_frame_seen(gateway: FakeGateway) -> None:
    path = ("GET", "/v1/jobs/j1/events")
    endpoint = Endpoint(gateway.url)
    gateway.on(*path, sse(*BROKEN), refusal("UNAVAILABLE", 503), sse(STARTED, *REST))
    first = await _frames(endpoint)
    gateway.on(*path, sse(*BROKEN), refusal("UNAVAILABLE", 503), sse(STARTED, *REST))
    with OrchSync(endpoint) as client:
        second = list(client.events("j1"))
    assert [frame.event for frame in first] == SEEN
    assert first == second
    assert [asked.headers.get("last-event-id") for asked in gateway.asked] == [
        None,
        "1-1",
        "1-1",
    ] * 2


def test_a_stream_begins_after_the_place_that_is_given(gateway: FakeGateway) -> None:
    gateway.on("GET", "/v1/jobs/j1/events", sse(END))
    with OrchSync(Endpoint(gateway.url)) as client:
        assert [frame.id for frame in client.events("j1", after="2-1")] == ["3-1"]
    assert gateway.asked[0].query == {"after": "2-1"}


def test_an_error_frame_of_the_gateway_itself_is_not_the_end_of_the_job(
    gateway: FakeGateway,
) -> None:
    trouble = ("1-1", "error", json.loads(refusal("UNAVAILABLE", 503).body))
    failed = ("2-1", "error", {"code": "JOB_FAILED", "message": "m", "retriable": False})
    gateway.on("GET", "/v1/jobs/j1/events", sse(*BROKEN, trouble), sse(failed))
    with OrchSync(Endpoint(gateway.url)) as client:
        last = list(client.events("j1"))[-1]
    assert (last.event, last.data["code"], last.is_last) == (Frame.ERROR, "JOB_FAILED", True)


def test_a_stream_of_a_job_that_does_not_exist_is_refused_at_once(gateway: FakeGateway) -> None:
    with OrchSync(Endpoint(gateway.url)) as client, pytest.raises(Refused) as raised:
        list(client.events("j1"))
    assert (raised.value.code, len(gateway.asked)) == (ErrorCode.NOT_FOUND, 1)


RUNNING = record(state="running", finished_at_ms=None, outcome=None, result=None)


async def _waited(endpoint: Endpoint, **how: Any) -> State:
    async with Orch(endpoint) as client:
        return (await client.wait("j1", **how)).state


@pytest.mark.req("CLI-2")
@pytest.mark.parametrize(
    ("states", "through", "expected"),
    [
        ([record()], False, State.COMPLETED),
        ([RUNNING, record()], False, State.COMPLETED),
        ([RUNNING, blocked()], False, State.BLOCKED),
        ([blocked(), record(state="failed")], True, State.FAILED),
    ],
)
async def test_waiting_ends_at_the_end_and_at_a_question(
    gateway: FakeGateway, states: list[dict[str, Any]], through: bool, expected: State
) -> None:
    stream = sse(("1-0", "status", event(1, "completed")), hold=True)
    gateway.on("GET", "/v1/jobs/j1/events", stream)
    gateway.on("GET", "/v1/jobs/j1", *map(ok, states))
    assert await _waited(Endpoint(gateway.url), through_blocked=through) is expected
    gateway.on("GET", "/v1/jobs/j1", *map(ok, states))
    with OrchSync(Endpoint(gateway.url)) as client:
        assert client.wait("j1", through_blocked=through).state is expected


async def test_waiting_gives_up_when_the_time_is_over_though_nothing_is_said(
    gateway: FakeGateway,
) -> None:
    gateway.on("GET", "/v1/jobs/j1/events", sse(hold=True))
    gateway.on("GET", "/v1/jobs/j1", ok(RUNNING))
    with OrchSync(Endpoint(gateway.url)) as client, pytest.raises(Unavailable) as raised:
        client.wait("j1", timeout_s=0.2)
    assert (raised.value.code, raised.value.details) == (
        ErrorCode.TIMEOUT,
        {"job_id": "j1", "state": "running"},
    )
    with pytest.raises(Unavailable, match=r"running after 0\.2 s"):
        await _waited(Endpoint(gateway.url), timeout_s=0.2)


def test_waiting_survives_a_gateway_that_restarts(gateway: FakeGateway) -> None:
    gateway.on("GET", "/v1/jobs/j1/events", sse(STARTED))
    gateway.on("GET", "/v1/jobs/j1", ok(RUNNING), refusal("UNAVAILABLE", 503), ok(record()))
    with OrchSync(Endpoint(gateway.url)) as client:
        assert client.wait("j1").state is State.COMPLETED


def test_the_question_of_a_record_is_typed(gateway: FakeGateway) -> None:
    gateway.on("GET", "/v1/jobs/j1", ok(blocked()))
    with OrchSync(Endpoint(gateway.url)) as client:
        question = client.job("j1").question
    assert question is not None
    assert question.model_dump() == QUESTION
