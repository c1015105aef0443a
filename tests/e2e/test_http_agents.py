"""Agents behind HTTP, from the front door to their sockets: tokens, cancel, pause, throttling, lease."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from contracts.events import EventType, Frame
from contracts.outcomes import Outcome
from contracts.states import State
from orch.client import JobFrame
from orch.system import monotonic_ms
from tests.adapters.endpoint import Endpoint, Line, an_endpoint, delta, plain, tokens
from tests.e2e.conftest import StartStack
from tests.e2e.specs import http
from tests.e2e.stack import Stack, wait_until

CANARY = "sk-canary-0123456789"
USED = {"tokens_in": 11, "tokens_out": 7, "cost_micros": None}


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with an_endpoint() as made:
        yield made


def hanging(line: Line) -> None:
    line.events(delta("one "), done=False)
    line.until_gone()


def cut(line: Line) -> None:
    """Tells what it used, and breaks."""
    line.events(delta("half "), '{"choices": [], "usage": {"prompt_tokens": 100}}')


def said(frames: list[JobFrame]) -> str:
    return "".join(frame.data["t"] for frame in frames if frame.event is Frame.TOKEN)


@pytest.mark.req("RUN-1", "RUN-2", "EVT-2", "BUD-1")
@pytest.mark.drives("usage_reported")
def test_tokens_reach_a_watcher_and_the_record_has_text_and_usage(
    stack: Stack, endpoint: Endpoint
) -> None:
    def halting(line: Line) -> None:
        line.wait()
        tokens("Go", "od ", "wörld")(line)

    job_id = stack.client.submit(http(endpoint.plays(halting))).job_id
    frames: list[JobFrame] = []
    for frame in stack.client.events(job_id):
        frames.append(frame)
        endpoint.go_on.set()
    record = stack.client.job(job_id)
    assert record.result == {
        "status": 200, "text": "Good wörld", "finish_reason": None, "usage": USED,
    }  # fmt: skip
    assert record.usage is not None
    assert record.usage.model_dump() == USED
    assert said(frames) == "Good wörld"
    assert [f.data for f in frames if f.event is Frame.METRICS] == [{"attempt": 1, **USED}]
    assert frames[-1].event is Frame.END
    first = next(f for f in frames if f.event is Frame.TOKEN)
    assert first.data["i"] == 1
    again = list(stack.client.events(job_id, after=first.id))
    assert first.data["t"] + said(again) == "Good wörld"
    assert stack.orch("logs", job_id).out == "Good wörld\n"
    assert stack.orch("logs", job_id, "--follow").out == "Good wörld\n"
    assert "11 tokens in, 7 out" in stack.orch("status", job_id).out


@pytest.mark.req("RUN-4", "EVT-2")
def test_cancel_closes_the_endpoints_socket_within_a_second_and_no_token_follows(
    stack: Stack, endpoint: Endpoint
) -> None:
    job_id = stack.client.submit(http(endpoint.plays(hanging))).job_id
    assert stack.wait_for_output(job_id) == "one "
    stack.client.cancel(job_id)
    began_ms = monotonic_ms()
    assert endpoint.gone.wait(5)
    assert monotonic_ms() - began_ms < 1_000
    frames = list(stack.client.events(job_id))
    assert said(frames) == "one "
    assert (frames[-1].event, frames[-1].data["state"]) == (Frame.END, "canceled")


@pytest.mark.req("RUN-4")
def test_pause_closes_the_request_and_resume_asks_again(stack: Stack, endpoint: Endpoint) -> None:
    job_id = stack.client.submit(http(endpoint.plays(hanging, tokens("done")))).job_id
    stack.wait_for_output(job_id)
    stack.client.pause(job_id)
    began_ms = monotonic_ms()
    assert endpoint.gone.wait(5)
    assert monotonic_ms() - began_ms < 1_000
    stack.wait_for_state(job_id, State.PAUSED)
    stack.client.resume(job_id)
    record = stack.client.wait(job_id, timeout_s=30)
    assert (record.state, record.result["text"]) == (State.COMPLETED, "done")
    assert [a.outcome for a in record.attempts] == [Outcome.HUMAN, Outcome.DONE]


@pytest.mark.req("FBK-1", "FBK-2")
def test_a_throttled_job_is_parked_until_the_endpoint_wants_it_back(
    stack: Stack, endpoint: Endpoint
) -> None:
    url = endpoint.plays(plain(b"slow down", 429, Retry_After="1"), tokens("done"))
    job_id = stack.client.submit(http(url)).job_id
    record = stack.client.wait(job_id, timeout_s=30)
    assert [a.outcome for a in record.attempts] == [Outcome.THROTTLED, Outcome.DONE]
    first, second = record.attempts
    assert first.ended_at_ms is not None
    assert second.started_at_ms - first.ended_at_ms >= 1_000
    parked = stack.wait_for_event(job_id, EventType.STATUS_CHANGED, cause="backoff")
    assert parked.payload["delay_ms"] == 1_000


@pytest.mark.req("BUD-1", "BUD-3", "FBK-1")
def test_what_a_broken_attempt_used_is_counted_once_beside_the_next(
    stack: Stack, endpoint: Endpoint
) -> None:
    spec = http(endpoint.plays(cut, tokens("whole")), retry={"backoff_ms": 1})
    record = stack.run(spec)
    assert [a.outcome for a in record.attempts] == [Outcome.TRANSIENT, Outcome.DONE]
    assert record.result["text"] == "whole"
    assert record.usage is not None
    assert (record.usage.tokens_in, record.usage.tokens_out) == (111, 7)


@pytest.mark.req("SEC-2")
def test_a_secret_of_the_runner_is_sent_and_stands_nowhere_in_the_house(
    start_stack: StartStack, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_KEY", CANARY)
    stack = start_stack(http_env_allowed="MODEL_KEY", log_level="debug")

    def echo(line: Line) -> None:
        plain(line.asked.headers["authorization"].encode(), Content_Type="text/plain")(line)

    secret = {"secret_headers": {"Authorization": "MODEL_KEY"}}
    record = stack.run(http(endpoint.plays(echo), config=secret))
    assert endpoint.asked[0].headers["authorization"] == f"Bearer {CANARY}"
    assert record.result["text"] == "***"
    denied = stack.run(http(endpoint.url, config={"secret_headers": {"X": "HOME"}}))
    assert (denied.state, denied.outcome) == (State.FAILED, Outcome.ENVIRONMENT)
    files = [path for path in stack.root.rglob("*") if path.is_file()]
    assert any(path.name == "up.log" for path in files)
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []


@pytest.mark.req("LSE-4")
def test_without_its_server_a_runner_closes_its_requests_before_the_lease_is_over(
    start_stack: StartStack, endpoint: Endpoint
) -> None:
    stack = start_stack(lease_ms=3_000)
    url = endpoint.plays(hanging, tokens("again"))
    job_id = stack.client.submit(http(url, retry={"backoff_ms": 1})).job_id
    stack.wait_for_output(job_id)
    server = stack.pid("server")
    began_ms = monotonic_ms()
    os.kill(server, signal.SIGSTOP)
    try:
        assert endpoint.gone.wait(10)
        took_ms = monotonic_ms() - began_ms
    finally:
        os.kill(server, signal.SIGCONT)
    # From the SEND time of the last beat, which may be a third of a lease ago, to two thirds of it.
    assert 800 <= took_ms < 3_000
    record = stack.client.wait(job_id, timeout_s=30)
    assert (record.state, record.result["text"]) == (State.COMPLETED, "again")
    assert record.attempts[0].outcome is Outcome.LOST
    wait_until(lambda: len(endpoint.asked) == 2)
