"""Which server-sent frames do ledger entries and output become? (INTERFACE, SSE; EVT-2)

Pure: pages in, frames and the next cursor out. A frame's id holds both cursors, so that a stream can
be resumed from any frame. Who reads the pages and when is `stream.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from contracts import limits
from contracts.errors import ErrorCode, OrchError, Refused
from contracts.events import EventType, Frame
from contracts.record import JobRecord, LedgerEvent, LogLine
from contracts.states import TERMINAL, State

PING: Final = b": ping\n\n"
PIECE_BYTES: Final = 64 * limits.KIB
"""Written at once; before the next piece the reader must have taken this one."""
_CURSOR: Final = re.compile(r"\A([0-9]{1,15})-([0-9]{1,15})\Z")
_GOOD_ENDS: Final = frozenset({State.COMPLETED, State.CANCELED})
_BAD_END_CODES: Final = {State.FAILED: ErrorCode.JOB_FAILED, State.EXPIRED: ErrorCode.JOB_EXPIRED}
assert _GOOD_ENDS | set(_BAD_END_CODES) == TERMINAL


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last ledger entry and the last piece of output that were sent."""

    seq: int = 0
    i: int = 0

    @property
    def text(self) -> str:
        """As the `id` of a frame."""
        return f"{self.seq}-{self.i}"


def parse_cursor(text: str | None) -> Cursor | None:
    """The place a reader comes back to; None when it names none.

    Raises:
        Refused: INVALID_REQUEST for anything that was never an id of ours.
    """
    if not text:
        return None
    match = _CURSOR.match(text)
    if match is None:
        raise Refused(ErrorCode.INVALID_REQUEST, "this is no id of a frame of this stream")
    return Cursor(int(match[1]), int(match[2]))


@dataclass(frozen=True, slots=True)
class Sent:
    """One frame."""

    event: Frame
    cursor: Cursor
    data: bytes

    @property
    def wire(self) -> bytes:
        """As it travels; JSON holds no line break."""
        return b"event: %b\nid: %b\ndata: %b\n\n" % (
            self.event.value.encode(),
            self.cursor.text.encode(),
            self.data,
        )


def pieces(sent: Iterable[Sent]) -> Iterator[bytes]:
    """The frames as they travel, several together, at most about PIECE_BYTES at a time."""
    piece = bytearray()
    for frame in sent:
        piece += frame.wire
        if len(piece) >= PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


def _frame(event: Frame, cursor: Cursor, data: Mapping[str, Any]) -> Sent:
    return Sent(event, cursor, orjson.dumps(data, default=str))


def started(record: JobRecord, facts: Mapping[str, Any]) -> Sent:
    """The first frame of a stream that begins at the beginning."""
    return _frame(
        Frame.STARTED,
        Cursor(),
        {
            "job_id": record.job_id,
            "queue_position": facts.get("queue_position"),
            "predicted_start_ms": facts.get("predicted_start_ms"),
        },
    )


def _gap(cursor: Cursor, name: str, first: int, last: int) -> Sent:
    return _frame(Frame.GAP, cursor, {f"from_{name}": first, f"to_{name}": last})


def is_over(event: LedgerEvent) -> bool:
    """Whether this entry put the job into a terminal state."""
    return event.type is EventType.STATUS_CHANGED and event.payload.get("to") in TERMINAL


def of_ledger(events: Sequence[LedgerEvent], cursor: Cursor) -> tuple[list[Sent], Cursor]:
    """The frames of a ledger page, and the cursor after them."""
    frames: list[Sent] = []
    for event in events:
        missed_from = cursor.seq + 1
        cursor = replace(cursor, seq=event.seq)
        if event.seq > missed_from:
            before = replace(cursor, seq=event.seq - 1)
            frames.append(_gap(before, "seq", missed_from, event.seq - 1))
        if event.type is EventType.USAGE_REPORTED:
            # Who comes back to this frame is given it again, and then the entry behind it.
            before = replace(cursor, seq=event.seq - 1)
            frames.append(
                _frame(Frame.METRICS, before, {"attempt": event.attempt, **event.payload})
            )
        frames.append(Sent(Frame.STATUS, cursor, event.model_dump_json().encode()))
    return frames, cursor


def of_output(lines: Sequence[LogLine], trimmed: int, cursor: Cursor) -> tuple[list[Sent], Cursor]:
    """The frames of an output page, and the cursor after them; what was trimmed becomes a gap."""
    frames: list[Sent] = []
    lost_to = lines[0].i - 1 if lines else trimmed
    if lost_to > cursor.i:
        missed_from = cursor.i + 1
        cursor = replace(cursor, i=lost_to)
        frames.append(_gap(cursor, "i", missed_from, lost_to))
    for line in lines:
        cursor = replace(cursor, i=line.i)
        if line.stream == "token":
            frames.append(_frame(Frame.TOKEN, cursor, {"t": line.text, "i": line.i}))
        else:
            frames.append(Sent(Frame.LOG, cursor, line.model_dump_json().encode()))
    return frames, cursor


def _why(record: JobRecord) -> str:
    if record.state is State.EXPIRED:
        return "the job's deadline passed"
    last = record.attempts[-1] if record.attempts else None
    outcome = record.outcome or (last.outcome if last else None)
    words = [word for word in (outcome and outcome.value, last and last.reason) if word]
    return "the job failed" + (f": {', '.join(words)}" if words else "")


def terminal(record: JobRecord, cursor: Cursor) -> Sent:
    """The last frame of a finished job's stream."""
    facts: dict[str, Any] = {
        "job_id": record.job_id,
        "state": record.state.value,
        "outcome": record.outcome.value if record.outcome else None,
    }
    if record.state in _GOOD_ENDS:
        return _frame(Frame.END, cursor, {**facts, "result": record.result})
    trouble = {
        "code": _BAD_END_CODES[record.state],
        "message": _why(record),
        "retriable": False,
        "retry_after_ms": None,
    }
    return _frame(Frame.ERROR, cursor, {**trouble, **facts})


def broken(error: OrchError, request_id: str, cursor: Cursor) -> Sent:
    """The last frame of a stream that cannot go on: the error body."""
    return _frame(Frame.ERROR, cursor, error.body(request_id))
