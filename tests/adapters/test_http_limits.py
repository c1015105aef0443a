"""What ends an `http` job from outside: a cancel, a pause, a watchdog, a lease; and how events are read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import ErrorCode, Refused
from contracts.outcomes import Outcome, ReasonCode
from orch.adapters.http_sse import EventReader, ServerEvent
from orch.system import SystemClock
from tests.adapters.endpoint import Endpoint, Line, delta, document, tokens

pytestmark = pytest.mark.req("RUN-1")


def ways(ending: Any) -> tuple[Outcome, ReasonCode]:
    return ending.outcome, ending.reason


def hanging(line: Line) -> None:
    """Says one token, then nothing until the other side has gone."""
    line.events(delta("one"), done=False)
    line.until_gone()


def endless(line: Line) -> None:
    line.events(done=False)
    while True:
        line.chunk(f"data: {delta('again ')}\n\n".encode())


@pytest.mark.req("RUN-4")
async def test_cancel_closes_the_connection_within_a_second_and_nothing_follows(
    bench: Any, endpoint: Endpoint, stopwatch: Callable[[], float]
) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: bench.run("http", url=endpoint.plays(hanging)))
        await bench.until(lambda: bench.desk.text("token") == "one")
        began = stopwatch()
        tasks.cancel_scope.cancel()
    await bench.until(endpoint.gone.is_set)
    assert stopwatch() - began < 1
    assert bench.desk.entries == [("token", "one")]
    assert bench.desk.notes == []


@pytest.mark.req("RUN-4")
async def test_a_wish_to_pause_closes_the_connection_within_a_second(
    bench: Any, endpoint: Endpoint, stopwatch: Callable[[], float]
) -> None:
    endings = []

    async def run() -> None:
        endings.append(await bench.run("http", url=endpoint.plays(hanging)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await bench.until(lambda: bench.desk.text("token") == "one")
        began = stopwatch()
        bench.desk.paused = True
    await bench.until(endpoint.gone.is_set)
    assert stopwatch() - began < 1
    assert ways(endings[0]) == (Outcome.HUMAN, ReasonCode.PAUSED)


@pytest.mark.req("RUN-3")
async def test_wall_time_ends_an_endless_stream(bench: Any, endpoint: Endpoint) -> None:
    ending = await bench.run("http", url=endpoint.plays(endless), wall_ms=1_000)
    assert ways(ending) == (Outcome.RESOURCE, ReasonCode.WALL_LIMIT)
    assert bench.desk.text("token").startswith("again again ")
    await bench.until(endpoint.gone.is_set)


@pytest.mark.req("RUN-3")
async def test_comments_keep_a_line_open_but_are_no_progress(
    bench: Any, endpoint: Endpoint
) -> None:
    def pinging(line: Line) -> None:
        line.events(delta("one"), done=False)
        while not line.go_on.wait(0.02):
            line.chunk(b": still here\n\n")

    ending = await bench.run("http", url=endpoint.plays(pinging), idle_ms=1_000)
    assert ways(ending) == (Outcome.RESOURCE, ReasonCode.IDLE_LIMIT)
    assert bench.desk.text("token") == "one"


@pytest.mark.req("RUN-3")
async def test_an_endpoint_that_never_answers_is_idle(bench: Any, endpoint: Endpoint) -> None:
    url = endpoint.plays(lambda line: line.until_gone())
    ending = await bench.run("http", url=url, idle_ms=200)
    assert ways(ending) == (Outcome.RESOURCE, ReasonCode.IDLE_LIMIT)


@pytest.mark.req("RUN-2", "RUN-3")
async def test_a_slow_store_is_not_the_endpoints_silence_and_drops_nothing(
    bench: Any, endpoint: Endpoint
) -> None:
    put = bench.desk.output

    async def slow(stream: Any, text: str) -> None:
        await anyio.sleep(1.5)
        await put(stream, text)

    bench.desk.output = slow

    def script(line: Line) -> None:
        line.events(delta("0 "), delta("1 "), delta("2 "), done=False)
        line.chunk(b"data: [DONE]\n\n")

    ending = await bench.run("http", url=endpoint.plays(script), idle_ms=1_000)
    assert ending.result["text"] == bench.desk.text("token") == "0 1 2 "


async def test_a_refusal_that_does_not_come_to_its_end_is_judged_by_its_status(
    bench: Any, endpoint: Endpoint
) -> None:
    def script(line: Line) -> None:
        line.head(500, Content_Length="100")
        line.send(b"half a")
        line.until_gone()

    ending = await bench.run("http", url=endpoint.plays(script), connect_ms=500)
    assert ways(ending) == (Outcome.TRANSIENT, ReasonCode.HTTP_STATUS)
    assert ending.message == "status 500: half a"


@pytest.mark.req("LSE-2")
async def test_a_refused_claim_closes_the_connection_and_passes(
    bench: Any, endpoint: Endpoint
) -> None:
    bench.desk.over = True
    with pytest.raises(Refused) as caught:
        await bench.run("http", url=endpoint.plays(hanging))
    assert caught.value.code is ErrorCode.LEASE_OVER
    await bench.until(endpoint.gone.is_set)


@pytest.mark.req("LSE-4")
async def test_without_a_confirmed_lease_nothing_is_sent_and_the_job_goes_back(
    bench: Any, endpoint: Endpoint
) -> None:
    url = endpoint.plays(document({}))
    clock = SystemClock()
    bench.leases.confirm(clock.monotonic_ms(), 1)
    await bench.until(lambda: clock.monotonic_ms() > bench.leases.acts_until_ms)
    ending = await bench.run("http", url=url)
    assert ways(ending) == (Outcome.TRANSIENT, ReasonCode.INTERRUPTED)
    bench.leases.condemn()
    ending = await bench.run("http", url=url)
    assert ways(ending) == (Outcome.TRANSIENT, ReasonCode.INTERRUPTED)
    assert endpoint.asked == []


@pytest.mark.req("LSE-4")
async def test_at_two_thirds_of_the_lease_without_a_beat_the_request_is_closed(
    bench: Any, endpoint: Endpoint
) -> None:
    clock = SystemClock()
    began_ms = clock.monotonic_ms()
    bench.leases.confirm(began_ms, 2_400)
    ending = await bench.run("http", url=endpoint.plays(hanging))
    took_ms = clock.monotonic_ms() - began_ms
    assert ways(ending) == (Outcome.LOST, ReasonCode.LEASE_OVER)
    assert 1_600 <= took_ms < 2_400
    assert bench.desk.notes == []
    await bench.until(endpoint.gone.is_set)


@pytest.mark.req("LSE-4")
async def test_a_beat_in_time_lets_the_request_go_on(bench: Any, endpoint: Endpoint) -> None:
    clock = SystemClock()
    bench.leases.confirm(clock.monotonic_ms(), 1_800)

    def patient(line: Line) -> None:
        line.wait()
        tokens("late")(line)

    endings = []

    async def run() -> None:
        endings.append(await bench.run("http", url=endpoint.plays(patient)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await bench.until(lambda: endpoint.asked)
        until_ms = bench.leases.acts_until_ms
        bench.leases.confirm(clock.monotonic_ms(), 60_000)
        await bench.until(lambda: clock.monotonic_ms() > until_ms + 50)
        endpoint.go_on.set()
    assert endings[0].result["text"] == "late"


async def test_an_answer_beyond_every_bound_is_stopped(bench: Any, endpoint: Endpoint) -> None:
    def script(line: Line) -> None:
        line.head(Content_Type="application/json", Content_Length=str(2**40))
        while True:
            line.send(b"[" * 2**16)

    ending = await bench.run("http", url=endpoint.plays(script))
    assert ways(ending) == (Outcome.RESOURCE, ReasonCode.ANSWER_SIZE)


LINES = st.sampled_from(
    ["data: a", "data:b", "data", "data:  two", ": note", "event: x", "id: 1", "retry: 5", "odd", "",
     "data: ü€😀", "", ""]
)  # fmt: skip
ENDS = st.sampled_from(["\n", "\r", "\r\n"])


@pytest.mark.req("RUN-2")
@given(st.lists(st.tuples(LINES, ENDS), max_size=20), st.lists(st.integers(1, 9), min_size=1))
def test_events_are_the_same_however_the_network_cuts_them(
    lines: list[tuple[str, str]], cuts: list[int]
) -> None:
    stream = "".join(line + end for line, end in lines).encode()
    whole = EventReader()
    expected = whole.feed(stream) + whole.rest()
    reader, events, at, n = EventReader(), [], 0, 0
    while at < len(stream):
        size = cuts[n % len(cuts)]
        events += reader.feed(stream[at : at + size])
        at, n = at + size, n + 1
    assert events + reader.rest() == expected


def test_events_are_read_as_their_standard_says() -> None:
    stream = "\ufeffdata: one\r\n\r\nevent: e\ndata:two\ndata:  three\n\n: c\ndata\n\nevent: none\n\nid: 1\n"
    reader = EventReader()
    assert reader.feed(stream.encode()) + reader.rest() == [
        ServerEvent("message", "one"),
        ServerEvent("e", "two\n three"),
        ServerEvent("message", ""),
    ]


def test_a_delta_of_half_a_character_cannot_spoil_the_store() -> None:
    from orch.adapters.http_openai import parsed, said_by

    said = said_by(parsed(json.dumps({"choices": [{"delta": {"content": "a\ud83d"}}]})))
    assert said.text == "a\ufffd"
