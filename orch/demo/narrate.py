"""Ledger entries in plain words, for somebody who sees Orch for the first time.

A sentence is a template over the entry's payload and a few words made from it (`_words`). Entries that are
not in the tables are not worth a newcomer's line.
"""

from __future__ import annotations

from typing import Any, Final

from contracts.events import EventType
from contracts.record import LedgerEvent
from contracts.states import Event

_LOW: Final = 2**32 - 1

_EVENTS: Final = {
    EventType.STEP_STARTED: "step {step_id} starts",
    EventType.STEP_FINISHED: "step {step_id} succeeded after {took}",
    EventType.STEP_FAILED: "step {step_id} failed with exit code {exit_code}",
    EventType.STEP_SKIPPED: "step {step_id} is skipped: a human said so",
    EventType.STEP_UNKNOWN: "step {step_id} had started, its end is unknown; its rule: {rule}",
    EventType.ARTIFACT_RECORDED: "kept {name}: {bytes} bytes, sha256 {digest}",
    EventType.QUESTION_ASKED: "asked: {text} ({choices})",
    EventType.QUESTION_ANSWERED: "answered by {by}: {value}",
    EventType.ANSWER_CONSUMED: "step {step_id} has taken the answer",
    EventType.STALE_RECOVERED: "runner {worker} is dead; its claim {claim_epoch} is void",
}
_MOVES: Final = {
    Event.ADMIT: "accepted and written down",
    Event.CLAIM: "{runner} takes it: attempt {attempt}, epoch {claim_epoch}",
    Event.RECLAIM: "{runner} has it again: the server had forgotten attempt {attempt}",
    Event.BURY: "attempt {attempt} is over: {outcome} ({reason})",
    Event.RELEASE: "attempt {attempt} is over: {outcome} ({reason})",
    Event.RETRY: "fallback decides: another attempt, at once",
    Event.BACKOFF: "fallback decides: another attempt, a little later",
    Event.FAIL: "fallback decides: no further attempt; the job has failed",
    Event.ASK: "blocked: it waits for a human",
    Event.ANSWER: "queued again",
    Event.HANDBACK: "handed back by a runner that leaves; queued again",
    Event.SETTLE: "result accepted: completed",
    Event.CANCEL: "canceled",
    Event.EXPIRE: "expired",
}


class _Words(dict[str, Any]):
    """What is not known reads as a question mark."""

    def __missing__(self, key: str) -> str:
        return "?"


def sentence(event: LedgerEvent) -> str | None:
    """What the entry says; None for what a newcomer need not know."""
    if event.type is EventType.STATUS_CHANGED:
        template = _MOVES.get(Event(event.payload["cause"]))
    else:
        template = _EVENTS.get(event.type)
    return None if template is None else template.format_map(_words(event))


def _words(event: LedgerEvent) -> _Words:
    payload = event.payload
    return _Words(
        payload,
        attempt=event.attempt,
        claim_epoch=epoch(event.epoch),
        took=seconds(payload.get("duration_ms")),
        digest=f"{str(payload.get('sha256'))[:12]}…",
        choices=" or ".join(map(str, payload.get("options") or ["any text"])),
    )


def epoch(number: int) -> str:
    """A claim's number as `incarnation.n`."""
    return f"{number >> 32}.{number & _LOW}"


def seconds(duration_ms: int | None) -> str:
    """A duration for a human."""
    return "?" if duration_ms is None else f"{duration_ms / 1_000:.2f} s"
