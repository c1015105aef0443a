"""contracts/events.md: the catalogue of events, and what a real run of two jobs looked like."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from contracts import events
from contracts.events import CATALOGUE, MOVES, EventEntry, EventType

TIMELINE: Final = Path(__file__).resolve().parents[1] / "contracts/timeline.json"


def events_page(shown_by: Mapping[str, list[str]]) -> str:
    """The page; `shown_by` says which test files make each event happen."""
    lines = [
        "# Events",
        "",
        "What a job's ledger can hold. Written by `make generate` from `contracts/events.py`; an event that",
        "is not here cannot be emitted. A job's state is the fold of its `status_changed` entries. Every",
        "event has the fields of its table, but those that come sometimes. Tests check it of each entry of",
        "each ledger that they make, and at least one test makes each event happen.",
        "",
        *(
            f"- [{entry.type.value}](#{entry.type.value}): {entry.meaning}"
            for entry in CATALOGUE.values()
        ),
        "- [A run, entry by entry](#a-run-entry-by-entry)",
        "- [Frames of the event stream](#frames-of-the-event-stream)",
        "",
    ]
    for entry in CATALOGUE.values():
        lines += _section(entry, shown_by.get(entry.type.value, []))
    lines += [*_timeline(), "## Frames of the event stream", "", "`event` of a server-sent frame: "]
    lines[-1] += ", ".join(f"`{frame.value}`" for frame in events.Frame) + "."
    return "\n".join(lines).rstrip() + "\n"


def _section(entry: EventEntry, tests: list[str]) -> Iterator[str]:
    yield from (
        f"## {entry.type.value}",
        "",
        entry.meaning,
        "",
        f"Emitted by: {entry.emitter}.",
        "",
    )
    if entry.fields:
        yield from ("| field | there | meaning |", "| --- | --- | --- |")
        for name, meaning in entry.fields.items():
            there = "by cause" if name in entry.optional else "always"
            if name in entry.optional and entry.type is not EventType.STATUS_CHANGED:
                there = "sometimes"
            yield f"| `{name}` | {there} | {meaning} |"
        yield ""
    if entry.type is EventType.STATUS_CHANGED:
        yield from ("| cause | always | sometimes |", "| --- | --- | --- |")
        for cause, move in MOVES.items():
            yield f"| `{cause.value}` | {_names(move.always)} | {_names(move.sometimes)} |"
        yield ""
    if tests:
        yield from (f"Shown by: {', '.join(f'`{name}`' for name in tests)}.", "")


def _names(fields: frozenset[str]) -> str:
    return " ".join(f"`{name}`" for name in sorted(fields)) or "-"


def _timeline() -> Iterator[str]:
    yield from (
        "## A run, entry by entry",
        "",
        "Two jobs on a real stack, as `python -m ops.timeline` recorded their ledgers in",
        "`contracts/timeline.json`. A test tells the same stories again and compares. What no two runs share",
        "is replaced: `<ms>` for times, names for claims and runners. `<any>`: whichever actor found room.",
        "",
    )
    for story in json.loads(TIMELINE.read_text(encoding="utf-8")):
        yield from (story["about"], "", "```text")
        yield from (_line(event) for event in story["events"])
        yield from ("```", "")


def _line(event: Mapping[str, Any]) -> str:
    payload = dict(event["payload"])
    words = [f"{event['seq']:>2}  {event['type']:<17}  {event['actor']:<8}"]
    if event["type"] == EventType.STATUS_CHANGED:
        origin, target = payload.pop("from"), payload.pop("to")
        words.append(f"{payload.pop('cause')}: {origin or 'nothing'} -> {target}")
    words += [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in payload.items()]
    return "  ".join(words).rstrip()
