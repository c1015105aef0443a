"""How a stream becomes a golden transcript: what no two runs share is replaced, the rest is kept as it came.

Ids of frames are opaque, so the transcript only says which of them are the same. A live stream fulfils a
transcript when it has the same frames in the same order, and each holds at least what the transcript's holds:
new keys are additions that a reader has to bear, anything else is a break of the contract.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tests.contract.whatwg import Message, messages

FOLDER: Final = Path(__file__).parent / "transcripts"
_VOLATILE: Final = (
    (re.compile(r'"predicted_start_ms":(\d+|null)'), '"predicted_start_ms":"<ms or null>"'),
    (re.compile(r'"(\w+_ms)":\d+'), r'"\1":"<ms>"'),
    (re.compile(r'"epoch":[1-9]\d*'), '"epoch":"<epoch>"'),
    (re.compile(r'"runner":"[^"]+"'), '"runner":"<runner>"'),
    (re.compile(r'"claim":"[^"]+"'), '"claim":"<claim>"'),
    (re.compile(r'"key":"[0-9a-f]{32}"'), '"key":"<key>"'),
    (re.compile(r'"question_id":"[^"]+"'), '"question_id":"<question>"'),
    (re.compile(r'"request_id":"[^"]+"'), '"request_id":"<request>"'),
)


class Names:
    """Which id of a frame is which: named in the order of appearance, the same in every part of a story."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def of(self, frame_id: str) -> str:
        return self._names.setdefault(frame_id, f"<id{len(self._names) + 1}>")

    def normalised(self, stream: bytes, job_id: str) -> str:
        text = re.sub(r"^: .*\n\n", "", stream.decode(), flags=re.MULTILINE)
        text = text.replace(job_id, "<job>")
        for pattern, replacement in _VOLATILE:
            text = pattern.sub(replacement, text)
        return re.sub(r"^id: (.*)$", lambda m: f"id: {self.of(m[1])}", text, flags=re.MULTILINE)


def kept(story: str) -> tuple[str, str]:
    """Request and stream, as they stand in the repository."""
    request, _, stream = (FOLDER / f"{story}.txt").read_text().partition("\n\n")
    return request, stream


def keep(story: str, request: str, stream: str) -> None:
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{story}.txt").write_text(f"{request}\n\n{stream}")


def differences(golden: str, live: str) -> list[str]:
    """What a reader who relies on the golden stream would miss in the live one."""
    wanted, found = messages(golden.encode()), messages(live.encode())
    names = [[one.type for one in stream] for stream in (wanted, found)]
    if names[0] != names[1]:
        return [f"frames: {names[0]}, now {names[1]}"]
    return [
        fault
        for n, (old, new) in enumerate(zip(wanted, found, strict=True))
        for fault in _frame_differences(f"frame {n} ({old.type})", old, new)
    ]


def _frame_differences(where: str, old: Message, new: Message) -> Iterator[str]:
    if old.last_event_id != new.last_event_id:
        yield f"{where}: id {old.last_event_id}, now {new.last_event_id}"
    yield from _missing(where, json.loads(old.data), json.loads(new.data))


def _missing(where: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key, value in old.items():
            if key not in new:
                yield f"{where}.{key}: is gone"
            else:
                yield from _missing(f"{where}.{key}", value, new[key])
    elif old != new:
        yield f"{where}: {old!r}, now {new!r}"
