"""Ledger entries in plain words, for somebody who sees Orch for the first time."""

from __future__ import annotations

from typing import Any, Final

from contracts.events import EventType
from contracts.record import LedgerEvent
from contracts.states import Event

_LOW: Final = 2**32 - 1


def sentence(event: LedgerEvent) -> str | None:
    """What the entry says; None for what a newcomer need not know."""
    payload = event.payload
    step = payload.get("step_id")
    match event.type:
        case EventType.STATUS_CHANGED:
            return _move(event)
        case EventType.STEP_STARTED:
            return f"step {step} starts"
        case EventType.STEP_FINISHED:
            return f"step {step} succeeded after {seconds(payload.get('duration_ms'))}"
        case EventType.STEP_FAILED:
            return f"step {step} failed: {payload.get('reason')}"
        case EventType.STEP_UNKNOWN:
            return f"step {step} had started and has no known end; its rule says: {payload.get('rule')}"
        case EventType.ARTIFACT_RECORDED:
            return f"kept {payload.get('name')}: {payload.get('bytes')} bytes, sha256 {_short(payload)}"
        case EventType.QUESTION_ASKED:
            return f"asked: {payload.get('text')} {_options(payload)}"
        case EventType.QUESTION_ANSWERED:
            return f"answered by {payload.get('by')}: {payload.get('value')}"
        case EventType.ANSWER_CONSUMED:
            return f"step {step} has taken the answer"
        case EventType.STALE_RECOVERED:
            return f"runner {payload.get('worker')} is dead; its claim {epoch(event.epoch)} is void"
        case _:
            return None


def _move(event: LedgerEvent) -> str | None:
    payload = event.payload
    match Event(payload["cause"]):
        case Event.ADMIT:
            return "accepted and written down"
        case Event.CLAIM:
            return (
                f"runner {payload.get('runner')} takes it: attempt {event.attempt}, "
                f"epoch {epoch(event.epoch)}"
            )
        case Event.BURY:
            return f"attempt {event.attempt} is over: {payload.get('outcome')} ({payload.get('reason')})"
        case Event.RELEASE:
            return f"attempt {event.attempt} failed: {payload.get('outcome')} ({payload.get('reason')})"
        case Event.RETRY:
            return "fallback decides: another attempt, at once"
        case Event.BACKOFF:
            return "fallback decides: another attempt, a little later"
        case Event.ASK:
            return "blocked: it waits for a human"
        case Event.ANSWER:
            return "queued again"
        case Event.SETTLE:
            return "result accepted: completed"
        case Event.DISPATCH | Event.DUE:
            return None
        case _:
            return f"{payload.get('from')} to {payload.get('to')} ({payload['cause']})"


def epoch(number: int) -> str:
    """A claim's number as `incarnation.n`."""
    return f"{number >> 32}.{number & _LOW}"


def seconds(duration_ms: int | None) -> str:
    """A duration for a human."""
    return "?" if duration_ms is None else f"{duration_ms / 1_000:.2f} s"


def _short(payload: dict[str, Any]) -> str:
    return f"{str(payload.get('sha256'))[:12]}…"


def _options(payload: dict[str, Any]) -> str:
    options = payload.get("options")
    return f"({' or '.join(map(str, options))})" if options else ""
