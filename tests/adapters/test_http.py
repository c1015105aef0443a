"""`http`: an endpoint's answer becomes tokens, a result and a bill; its failures the right outcome."""

from __future__ import annotations

import gzip
import json
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import anyio
import pytest

from contracts.outcomes import Outcome, ReasonCode
from orch.system import SystemClock
from tests.adapters.endpoint import (
    LAST,
    Endpoint,
    Line,
    Script,
    delta,
    document,
    plain,
    says,
    tokens,
)

pytestmark = pytest.mark.req("RUN-1")


def ways(ending: Any) -> tuple[Outcome, ReasonCode]:
    return ending.outcome, ending.reason


@pytest.mark.req("RUN-2", "BUD-1")
async def test_a_stream_of_tokens_arrives_in_order_with_its_text_and_its_usage(
    bench: Any, endpoint: Endpoint
) -> None:
    url = endpoint.plays(tokens("Go", "od ", "wörld"))
    ending = await bench.run("http", url=url, json={"model": "m", "stream": True})
    assert ways(ending) == (Outcome.DONE, ReasonCode.COMPLETED)
    used = {"tokens_in": 11, "tokens_out": 7, "cost_micros": None}
    assert ending.result == {
        "status": 200, "text": "Good wörld", "finish_reason": None, "usage": used,
    }  # fmt: skip
    assert bench.desk.text("token") == "Good wörld"
    assert [(note.event, note.payload) for note in bench.desk.notes] == [("usage_reported", used)]
    (asked,) = endpoint.asked
    assert (asked.method, json.loads(asked.body)) == ("POST", {"model": "m", "stream": True})
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["orch-job-id"] == "job-1"
    assert asked.headers["orch-fence"] == str(2**32 + 1)


@pytest.mark.req("RUN-2")
async def test_each_token_is_handed_on_when_it_comes(bench: Any, endpoint: Endpoint) -> None:
    def halting(line: Line) -> None:
        line.events(delta("first"), done=False)
        line.wait()
        line.chunk(f"data: {delta('second')}\n\ndata: [DONE]\n\n".encode())

    url = endpoint.plays(halting)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: bench.run("http", url=url))
        await bench.until(lambda: bench.desk.text("token") == "first")
        endpoint.go_on.set()
    assert [text for _, text in bench.desk.entries] == ["first", "second"]


@pytest.mark.req("RUN-2")
@pytest.mark.parametrize("cut", [1, 2, 3, 5, 7])
async def test_characters_and_lines_that_packets_share_arrive_whole(
    bench: Any, endpoint: Endpoint, cut: int
) -> None:
    stream = b"\xef\xbb\xbf: hello\r\n\r\n" + b"".join(
        f"event: message\r\ndata: {delta(text)}\r\n\r\n".encode() for text in ("ä€", "😀", "\n")
    )
    stream = stream.replace(b"\\u00e4\\u20ac", "ä€".encode()) + b"data: [DONE]\r\n\r\n"

    def script(line: Line) -> None:
        line.head(Content_Type="text/event-stream")
        line.send(*(stream[n : n + cut] for n in range(0, len(stream), cut)))

    ending = await bench.run("http", url=endpoint.plays(script))
    assert ending.result["text"] == bench.desk.text("token") == "ä€😀\n"


async def test_events_of_another_kind_are_their_data(bench: Any, endpoint: Endpoint) -> None:
    def script(line: Line) -> None:
        line.head(Content_Type="text/event-stream")
        line.send(
            b"data: one\ndata: two\n\n:ping\n\nevent: note\ndata: [1]\n\nid: 7\n\ndata: cut off"
        )

    ending = await bench.run("http", url=endpoint.plays(script))
    assert ending.result == {"status": 200, "text": "one\ntwo[1]cut off"}


async def test_a_json_answer_is_the_result(bench: Any, endpoint: Endpoint) -> None:
    answer = {
        "a/b": [{"m~n": "found"}],
        "usage": {"input_tokens": 3, "output_tokens": 4, "cost": 0.0125},
    }
    ending = await bench.run("http", url=endpoint.plays(document(answer)), result="/a~1b/0/m~0n")
    assert ending.result["json"] == "found"
    assert ending.result["usage"] == {"tokens_in": 3, "tokens_out": 4, "cost_micros": 12_500}
    assert json.loads(bench.desk.text("stdout")) == answer
    whole = await bench.run("http", url=endpoint.url, method="GET")
    assert whole.result["json"] == answer
    missing = await bench.run("http", url=endpoint.url, result="/a~1b/1")
    assert ways(missing) == (Outcome.LOGIC, ReasonCode.ANSWER)


async def test_a_whole_completion_gives_its_text(bench: Any, endpoint: Endpoint) -> None:
    choice = {"index": 0, "message": {"content": "all at once"}, "finish_reason": "stop"}
    url = endpoint.plays(document({"object": "chat.completion", "choices": [choice]}))
    ending = await bench.run("http", url=url, mode="openai")
    assert (ending.result["text"], ending.result["finish_reason"]) == ("all at once", "stop")
    assert bench.desk.entries == [("token", "all at once")]


async def test_a_text_is_a_text_and_what_is_no_utf8_is_replaced(
    bench: Any, endpoint: Endpoint
) -> None:
    url = endpoint.plays(plain(b"ok \xff\xe2\x82", Content_Type="text/plain"))
    ending = await bench.run("http", url=url)
    assert ending.result == {"status": 200, "text": "ok \ufffd\ufffd"}


@pytest.mark.req("RUN-2")
async def test_a_hundred_megabytes_without_a_line_end_take_no_memory_and_are_kept(
    bench: Any, endpoint: Endpoint
) -> None:
    megabyte = b"x" * 2**20

    def script(line: Line) -> None:
        line.head(Content_Type="text/plain", Content_Length=str(100 * 2**20))
        for _ in range(100):
            line.send(megabyte)

    ending = await bench.run("http", url=endpoint.plays(script))
    assert ending.outcome is Outcome.DONE
    assert (ending.result["text"], ending.result["output"]["bytes"]) == (None, 100 * 2**20)
    assert max(len(text) for _, text in bench.desk.entries) <= 8192


@pytest.mark.req("RUN-2")
async def test_a_packed_answer_is_unpacked_piece_by_piece(bench: Any, endpoint: Endpoint) -> None:
    packed = gzip.compress(b"y" * 20_000_000)
    url = endpoint.plays(plain(packed, Content_Type="text/plain", Content_Encoding="gzip"))
    ending = await bench.run("http", url=url)
    assert ending.result["output"]["bytes"] == 20_000_000
    endpoint.plays(plain(packed[:-9], Content_Type="text/plain", Content_Encoding="gzip"))
    assert ways(await bench.run("http", url=url)) == (Outcome.TRANSIENT, ReasonCode.ANSWER_CUT)
    endpoint.plays(plain(b"z", Content_Encoding="br"))
    assert ways(await bench.run("http", url=url)) == (Outcome.LOGIC, ReasonCode.ANSWER)


STATUSES: list[tuple[int, dict[str, str], Outcome, int | None]] = [
    (429, {"Retry_After": "7200"}, Outcome.THROTTLED, 7_200_000),
    (429, {}, Outcome.THROTTLED, None),
    (429, {"Retry_After": "soon"}, Outcome.THROTTLED, None),
    (503, {"Retry_After": "3"}, Outcome.THROTTLED, 3_000),
    (503, {}, Outcome.TRANSIENT, None),
    (500, {}, Outcome.TRANSIENT, None),
    (408, {}, Outcome.TRANSIENT, None),
    (401, {}, Outcome.ENVIRONMENT, None),
    (403, {}, Outcome.ENVIRONMENT, None),
    (404, {}, Outcome.LOGIC, None),
    (302, {"Location": "http://127.0.0.1:1/elsewhere"}, Outcome.LOGIC, None),
    (304, {}, Outcome.LOGIC, None),
]


@pytest.mark.req("FBK-1", "FBK-2")
@pytest.mark.parametrize(("status", "headers", "outcome", "wait_ms"), STATUSES)
async def test_a_status_says_what_becomes_of_the_attempt(
    bench: Any,
    endpoint: Endpoint,
    status: int,
    headers: dict[str, str],
    outcome: Outcome,
    wait_ms: int | None,
) -> None:
    body = {} if status == 304 else {"error": {"message": "no such luck"}}
    script = plain(b"", status) if status == 304 else document(body, status, **headers)
    ending = await bench.run("http", url=endpoint.plays(script))
    assert (*ways(ending), ending.retry_after_ms) == (outcome, ReasonCode.HTTP_STATUS, wait_ms)
    if status not in {302, 304}:
        assert ending.message == f"status {status}: no such luck"
        assert json.loads(bench.desk.text("stderr")) == body


@pytest.mark.req("FBK-2")
async def test_a_date_to_come_back_at_is_taken_against_the_endpoints_own_clock(
    bench: Any, endpoint: Endpoint
) -> None:
    theirs = datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)
    later = format_datetime(theirs + timedelta(hours=30), usegmt=True)
    now = format_datetime(theirs, usegmt=True)
    url = endpoint.plays(plain(b"", 429, Retry_After=later, Date=now))
    ending = await bench.run("http", url=url)
    assert ending.retry_after_ms == 30 * 3_600_000


async def test_statuses_that_a_job_expects_are_successes_and_only_those(
    bench: Any, endpoint: Endpoint
) -> None:
    url = endpoint.plays(document({"gone": True}, 404))
    assert (await bench.run("http", url=url, expect=[404])).result["status"] == 404
    endpoint.plays(document({}))
    assert ways(await bench.run("http", url=url, expect=[404])) == (
        Outcome.LOGIC, ReasonCode.HTTP_STATUS,
    )  # fmt: skip


def reset(line: Line) -> None:
    line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    line.sock.close()


def cut_stream(line: Line) -> None:
    line.events(delta("half a sen"), done=False)


STREAMS: list[tuple[str, Script, Outcome, ReasonCode]] = [
    ("reset", reset, Outcome.TRANSIENT, ReasonCode.CONNECTION),
    ("no HTTP", lambda line: line.send(b"SSH-2.0\r\n"), Outcome.TRANSIENT, ReasonCode.CONNECTION),
    ("cut", cut_stream, Outcome.TRANSIENT, ReasonCode.ANSWER_CUT),
    ("no end", says(delta("a")), Outcome.TRANSIENT, ReasonCode.ANSWER_CUT),
    ("garbled", says(delta("a"), "{nonsense"), Outcome.TRANSIENT, ReasonCode.ANSWER),
    ("too long", says("x" * (2**20 + 1)), Outcome.LOGIC, ReasonCode.ANSWER),
    (
        "limited",
        says(delta("a"), '{"error": {"code": "rate_limit_exceeded"}}'),
        Outcome.THROTTLED,
        ReasonCode.PROVIDER,
    ),
    (
        "no quota",
        says('{"error": {"type": "insufficient_quota"}}'),
        Outcome.ENVIRONMENT,
        ReasonCode.PROVIDER,
    ),
    (
        "bad input",
        says(delta("a"), '{"error": {"type": "invalid_request_error", "code": null}}'),
        Outcome.LOGIC,
        ReasonCode.PROVIDER,
    ),
    ("overloaded", says('{"error": {"code": 529}}'), Outcome.TRANSIENT, ReasonCode.PROVIDER),
    ("unheard of", says('{"error": "oops"}'), Outcome.TRANSIENT, ReasonCode.PROVIDER),
]


@pytest.mark.req("FBK-1")
@pytest.mark.parametrize(
    ("script", "outcome", "reason"), [row[1:] for row in STREAMS], ids=[row[0] for row in STREAMS]
)
async def test_a_stream_that_breaks_says_why(
    bench: Any, endpoint: Endpoint, script: Script, outcome: Outcome, reason: ReasonCode
) -> None:
    ending = await bench.run("http", url=endpoint.plays(script))
    assert ways(ending) == (outcome, reason)
    assert ending.message


async def test_a_mode_that_the_answer_does_not_keep_to_is_an_error_of_logic(
    bench: Any, endpoint: Endpoint
) -> None:
    url = endpoint.plays(lambda line: line.events("plain words"))
    assert ways(await bench.run("http", url=url, mode="openai")) == (
        Outcome.LOGIC,
        ReasonCode.ANSWER,
    )
    assert ways(await bench.run("http", url=url, mode="json")) == (Outcome.LOGIC, ReasonCode.ANSWER)


async def test_nobody_listening_is_transient(bench: Any) -> None:
    bench.leases.confirm(SystemClock().monotonic_ms(), 60_000)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    ending = await bench.run("http", url=f"http://127.0.0.1:{port}/")
    assert ways(ending) == (Outcome.TRANSIENT, ReasonCode.CONNECTION)


@pytest.mark.req("BUD-1")
async def test_what_an_attempt_used_counts_though_its_stream_broke(
    bench: Any, endpoint: Endpoint
) -> None:
    ending = await bench.run("http", url=endpoint.plays(says(LAST)))
    assert ways(ending) == (Outcome.TRANSIENT, ReasonCode.ANSWER_CUT)
    assert bench.desk.events() == ["usage_reported"]
