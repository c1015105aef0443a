"""Do event streams still say what their readers rely on? Golden transcripts, the running system (API-6).

ORCH_CONTRACT_RECORD=1 (`make contract RECORD=1`) writes them anew: read the difference before you commit it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from contracts.events import EventType, Frame
from orch.client.frames import Follow, JobFrame
from tests.contract.stories import STORIES, Stage, read_stream
from tests.contract.transcript import FOLDER, Names, differences, keep, kept
from tests.contract.whatwg import Message, messages
from tests.e2e.stack import Stack, a_stack

RECORD = bool(os.environ.get("ORCH_CONTRACT_RECORD"))
LAST = {"end", "error"}


@pytest.fixture(scope="module")
def one_slot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A runner that does one thing at a time: who comes second waits."""
    with a_stack(tmp_path_factory.mktemp("stack"), slots=1) as running:
        yield running


def by_our_client(stream: bytes) -> list[JobFrame]:
    """As the shipped client reads it: its transport's decoder, and `Follow`."""
    content = {"content-type": "text/event-stream"}
    answer = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=content, content=stream))
    follow = Follow()
    with (
        httpx2.Client(transport=answer, base_url="http://stream") as http,
        http.sse("/") as source,
    ):
        return [frame for sse in source if (frame := follow.take(sse)) is not None]


def grammar_faults(frames: list[Message], *, resumed: bool) -> list[str]:
    """Started once, then anything, then `end` or `error` exactly once and nothing behind it (EVT-2)."""
    names = [frame.type for frame in frames]
    faults = [f"unknown frame {name}" for name in names if name not in set(Frame)]
    if names[:1] != ["started"] and not resumed:
        faults.append("does not begin with started")
    if names.count("started") != (0 if resumed else 1):
        faults.append(f"{names.count('started')} times started")
    if not names or names[-1] not in LAST or sum(name in LAST for name in names) != 1:
        faults.append("not exactly one last frame, at the end")
    seqs = [json.loads(f.data)["seq"] for f in frames if f.type == "status"]
    pieces = [json.loads(f.data)["i"] for f in frames if f.type == "log"]
    if seqs != sorted(set(seqs)) or pieces != sorted(set(pieces)):
        faults.append("an entry twice, or out of order")
    if any(not frame.last_event_id for frame in frames):
        faults.append("a frame without id")
    return faults


@pytest.mark.req("API-6", "EVT-2")
@pytest.mark.parametrize("story", STORIES)
def test_the_running_system_tells_each_story_as_its_transcript_does(
    story: str, one_slot: Stack, tmp_path: Path
) -> None:
    stage = Stage(one_slot, tmp_path)
    job_id, stream = STORIES[story](stage)
    names = Names()
    live = names.normalised(stream, job_id)
    request = "GET /v1/jobs/<job>/events"
    if stage.after is not None:
        request += "\nLast-Event-ID: <an id>"
    if RECORD:
        keep(story, request, live)
    golden_request, golden = kept(story)
    assert request == golden_request
    assert differences(golden, live) == []

    # From every frame on, the rest is the same: its id says where it stands, and nothing else does.
    frames = messages(stream)
    for n, frame in enumerate(frames[:-1]):
        rest = messages(read_stream(one_slot.url, job_id, frame.last_event_id))
        assert rest == frames[n + 1 :], f"resumed after frame {n}"


@pytest.mark.req("EVT-2")
@pytest.mark.parametrize("story", STORIES)
def test_a_transcript_obeys_the_grammar_of_streams(story: str) -> None:
    request, golden = kept(story)
    frames = messages(golden.encode())
    assert grammar_faults(frames, resumed="Last-Event-ID" in request) == []
    assert golden.endswith("\n\n"), "and the stream ends with its last frame"
    if "gap" in (names := [frame.type for frame in frames]):
        before = json.loads(frames[names.index("gap")].data)
        assert before["to_i"] == json.loads(frames[names.index("gap") + 1].data)["i"] - 1
    known = {json.loads(f.data)["type"] for f in frames if f.type == "status"}
    assert known <= set(EventType)


@pytest.mark.req("EVT-2", "API-6")
@pytest.mark.parametrize("story", STORIES)
def test_two_parsers_that_share_no_line_read_the_same(story: str) -> None:
    stream = kept(story)[1].encode()
    theirs = [(one.type, one.last_event_id, json.loads(one.data)) for one in messages(stream)]
    ours = [(one.event.value, one.id, one.data) for one in by_our_client(stream)]
    assert ours == theirs
    assert theirs


def test_every_transcript_has_its_story() -> None:
    assert {path.stem for path in FOLDER.glob("*")} == set(STORIES)


FRAME = 'event: status\nid: 1-0\ndata: {"a":1,"b":{"c":2}}\n\n'


@pytest.mark.parametrize(
    ("live", "fault"),
    [
        (FRAME.replace('"a":1', '"a":2'), "a"),
        (FRAME.replace('"a":1,', ""), "a: is gone"),
        (FRAME.replace('"c":2', '"d":2'), "b.c: is gone"),
        (FRAME.replace("1-0", "2-0"), "id"),
        (FRAME.replace("status", "log"), "frames"),
        (FRAME + FRAME, "frames"),
        ("", "frames"),
        (FRAME.removesuffix("\n"), "frames"),
    ],
)
def test_a_stream_that_says_less_or_other_is_found_out(live: str, fault: str) -> None:
    (found,) = differences(FRAME, live)
    assert fault in found


def test_a_stream_that_says_more_is_not() -> None:
    assert differences(FRAME, FRAME.replace('"a":1', '"a":1,"new":true')) == []


def _stream(*names: str) -> list[Message]:
    data: dict[str, Any] = {"seq": 1, "i": 1}
    return [Message(name, json.dumps(data), "1-0") for name in names]


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["started"],
        ["status", "end"],
        ["started", "started", "end"],
        ["started", "end", "error"],
        ["started", "end", "status"],
        ["started", "status", "status", "end"],
        ["started", "surprise", "end"],
    ],
)
def test_a_stream_against_the_grammar_is_found_out(names: list[str]) -> None:
    assert grammar_faults(_stream(*names), resumed=False)
    assert grammar_faults(_stream("started", "end"), resumed=True)
    assert not grammar_faults(_stream("started", "status", "log", "end"), resumed=False)


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: a\n\n", [("message", "a", "")]),
        (
            b"\xef\xbb\xbfdata:a\r\ndata: b\r\rid\nevent: e\n\ndata:c\n\n",
            [("message", "a\nb", ""), ("message", "c", "")],
        ),
        (
            b"id: 1\ndata: a\n\n: note\ndata:  b\n\n",
            [("message", "a", "1"), ("message", " b", "1")],
        ),
        (b"event: x\n\ndata: a\nid: 1\0\n\ndata: lost\n", [("message", "a", "")]),
        (b"data\n\n", [("message", "", "")]),
    ],
)
def test_the_second_parser_reads_as_the_standard_says(
    stream: bytes, expected: list[tuple[str, str, str]]
) -> None:
    assert [(m.type, m.data, m.last_event_id) for m in messages(stream)] == expected
