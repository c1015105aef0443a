"""Tokens and usage as frames of a job's stream: what they carry, and where a reader comes back to (EVT-2)."""

from __future__ import annotations

import json

import pytest

from actors.gateway.frames import Cursor, of_ledger, of_output
from contracts.events import EventType, Frame
from contracts.record import LedgerEvent, LogLine


def line(i: int, stream: str, text: str) -> LogLine:
    return LogLine.model_validate({"i": i, "stream": stream, "text": text})


@pytest.mark.req("EVT-2")
def test_tokens_are_frames_of_their_own_and_share_the_numbers_of_the_output() -> None:
    lines = [line(3, "token", "Go"), line(4, "stderr", "oops"), line(5, "token", "od")]
    sent, cursor = of_output(lines, 2, Cursor(7, 0))
    assert [(frame.event, frame.cursor.text, json.loads(frame.data)) for frame in sent] == [
        (Frame.GAP, "7-2", {"from_i": 1, "to_i": 2}),
        (Frame.TOKEN, "7-3", {"t": "Go", "i": 3}),
        (Frame.LOG, "7-4", {"i": 4, "stream": "stderr", "text": "oops"}),
        (Frame.TOKEN, "7-5", {"t": "od", "i": 5}),
    ]
    assert cursor == Cursor(7, 5)


@pytest.mark.req("EVT-2", "BUD-1")
def test_usage_is_a_metrics_frame_before_its_entry_so_that_no_reader_misses_it() -> None:
    used = {"tokens_in": 1, "tokens_out": 2, "cost_micros": None}
    event = LedgerEvent(
        seq=5, at_ms=1, type=EventType.USAGE_REPORTED, actor="runner", attempt=2, epoch=9,
        payload=used,
    )  # fmt: skip
    sent, cursor = of_ledger([event], Cursor(4, 6))
    assert [(frame.event, frame.cursor.text) for frame in sent] == [
        (Frame.METRICS, "4-6"),
        (Frame.STATUS, "5-6"),
    ]
    assert json.loads(sent[0].data) == {"attempt": 2, **used}
    assert cursor == Cursor(5, 6)
    again, _ = of_ledger([event], sent[0].cursor)
    assert [frame.data for frame in again] == [frame.data for frame in sent]
