"""What a job's ledger says: entries parsed, the state replayed, the attempts listed.

Entry n stands in field `n` of the job hash as `at_ms kind actor attempt epoch payload`. For a transition
`kind` is `cause:from>to` with the states' letters, which readers see as a status_changed event.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from contracts.errors import Corrupt, ErrorCode
from contracts.events import EventType
from contracts.outcomes import Outcome
from contracts.record import Attempt, LedgerEvent, Usage
from contracts.states import STATE_CODES, Event, Refusal, State, step

_CAUSES = frozenset(Event)
_STATE_OF = {code: state for state, code in STATE_CODES.items()}


def state_of(code: str) -> State:
    """The state a stored letter stands for."""
    try:
        return _STATE_OF[code]
    except KeyError as error:
        raise Corrupt(ErrorCode.INTERNAL, f"no state is stored as {code!r}") from error


def parse_entry(seq: int, text: str) -> LedgerEvent:
    """One stored entry as readers see it.

    Raises:
        Corrupt: the entry is not one that our functions write.
    """
    try:
        at_ms, kind, actor, attempt, epoch, payload_text = text.split(" ", 5)
        payload: dict[str, Any] = json.loads(payload_text)
        cause, colon, move = kind.partition(":")
        if colon:
            origin, _, target = move.partition(">")
            payload = {
                "from": None if origin == "-" else state_of(origin).value,
                "to": state_of(target).value,
                "cause": cause,
                **payload,
            }
        return LedgerEvent(
            seq=seq,
            at_ms=int(at_ms),
            type=EventType.STATUS_CHANGED if colon else EventType(kind),
            actor=actor,
            attempt=int(attempt),
            epoch=int(epoch),
            payload=payload,
        )
    except (ValueError, TypeError) as error:  # pydantic's ValidationError is a ValueError
        raise Corrupt(
            ErrorCode.INTERNAL, f"ledger entry {seq} is malformed: {text[:120]!r}"
        ) from error


def parse_ledger(fields: Mapping[str, str]) -> list[LedgerEvent]:
    """All entries of a job hash, oldest first.

    Raises:
        Corrupt: an entry is missing or malformed; a ledger is dense from 1 to `seq`.
    """
    try:
        last = int(fields["seq"])
    except (KeyError, ValueError) as error:
        raise Corrupt(
            ErrorCode.INTERNAL, "a job hash without the number of its last entry"
        ) from error
    missing = next((n for n in range(1, last + 1) if str(n) not in fields), None)
    if missing is not None:
        raise Corrupt(ErrorCode.INTERNAL, f"ledger entry {missing} of {last} is missing")
    return [parse_entry(n, fields[str(n)]) for n in range(1, last + 1)]


def replay(events: Iterable[LedgerEvent]) -> State:
    """The state that a ledger proves, by folding its transitions over the state table.

    Raises:
        Corrupt: the entries are not dense from 1, a transition is not in the table, or it does not
            start where the one before it ended.
    """
    state: State | None = None
    expected_seq = 1
    for event in events:
        if event.seq != expected_seq:
            raise Corrupt(ErrorCode.INTERNAL, f"entry {event.seq} where {expected_seq} was due")
        expected_seq += 1
        if event.type is not EventType.STATUS_CHANGED:
            continue
        origin = None if state is None else state.value
        cause, target = event.payload.get("cause"), event.payload.get("to")
        told = step(state, Event(cause)) if cause in _CAUSES else Refusal.NO_SUCH_JOB
        if isinstance(told, Refusal) or event.payload.get("from") != origin or target != told.value:
            raise Corrupt(
                ErrorCode.INTERNAL, f"entry {event.seq}: {cause} from {origin} is not {target}"
            )
        state = told
    if state is None:
        raise Corrupt(ErrorCode.INTERNAL, "a ledger without a first state")
    return state


def _begun(event: LedgerEvent) -> Attempt:
    return Attempt(
        attempt=event.attempt,
        epoch=event.epoch,
        runner=event.payload["runner"],
        started_at_ms=event.at_ms,
        ended_at_ms=None,
        outcome=None,
        exit_code=None,
        reason=None,
    )


def _ended(attempt: Attempt, event: LedgerEvent) -> Attempt:
    return attempt.model_copy(
        update={
            "ended_at_ms": event.at_ms,
            "outcome": Outcome(event.payload["outcome"]),
            "exit_code": event.payload.get("exit_code"),
            "reason": event.payload.get("reason"),
        }
    )


TAKEN = frozenset({Event.CLAIM.value, Event.RECLAIM.value})
"""Causes of the transitions with which a claim begins to be in force."""


def attempts(events: Iterable[LedgerEvent]) -> list[Attempt]:
    """One record for each claim (FBK-6), oldest first; the last may still run."""
    records: list[Attempt] = []
    for event in events:
        if event.type is not EventType.STATUS_CHANGED:
            continue
        if event.payload["cause"] in TAKEN:
            records.append(_begun(event))
        elif "outcome" in event.payload and records and records[-1].ended_at_ms is None:
            records[-1] = _ended(records[-1], event)
    return records


def usage(events: Iterable[LedgerEvent]) -> Usage | None:
    """What all attempts used together. Each says how much it has used so far, so its last word counts, once,
    however often it spoke and whatever became of it."""
    last = {
        event.epoch: event.payload for event in events if event.type is EventType.USAGE_REPORTED
    }
    if not last:
        return None
    costs = [cost for told in last.values() if (cost := told.get("cost_micros")) is not None]
    return Usage(
        tokens_in=sum(told.get("tokens_in", 0) for told in last.values()),
        tokens_out=sum(told.get("tokens_out", 0) for told in last.values()),
        cost_micros=sum(costs) if costs else None,
    )
