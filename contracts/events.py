"""What a ledger can hold and what a watcher can see: the event catalogue.

An event that is not here cannot be emitted: the store checks what an attempt notes before it writes, and
tests check each entry of each ledger that any of them makes. A job's state is the fold of its
`status_changed` entries over the state table; all other types are evidence beside it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from contracts.states import Event


class EventType(StrEnum):
    """The type of a ledger entry."""

    STATUS_CHANGED = "status_changed"
    STALE_RECOVERED = "stale_recovered"
    LEASE_LOST = "lease_lost"
    ORPHANED_RESULT = "orphaned_result"
    JOB_TIMEOUT = "job_timeout"
    JOB_FAILED = "job_failed"
    REPLAYED = "replayed"
    SET_ASIDE = "set_aside"
    PAUSE_WISHED = "pause_wished"
    PAUSE_WITHDRAWN = "pause_withdrawn"
    QUESTION_ASKED = "question_asked"
    QUESTION_ANSWERED = "question_answered"
    QUESTION_EXPIRED = "question_expired"
    ANSWER_CONSUMED = "answer_consumed"
    JOB_RESUMED = "job_resumed"
    STEP_STARTED = "step_started"
    STEP_FINISHED = "step_finished"
    STEP_FAILED = "step_failed"
    STEP_SKIPPED = "step_skipped"
    STEP_UNKNOWN = "step_unknown"
    ARTIFACT_RECORDED = "artifact_recorded"
    OUTPUT_STORED = "output_stored"
    USAGE_REPORTED = "usage_reported"
    AGENT_SUSPENDED = "agent_suspended"
    AGENT_CONTINUED = "agent_continued"
    REPAIRED = "repaired"


@dataclass(frozen=True, slots=True)
class EventEntry:
    """One row of the catalogue: payload field names with their meaning, who emits it, what it says.

    Each field is in every such event, unless `optional` names it.
    """

    type: EventType
    fields: MappingProxyType[str, str]
    emitter: str
    meaning: str
    optional: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Move:
    """What the `status_changed` of one cause holds beside from, to and cause."""

    always: frozenset[str]
    sometimes: frozenset[str]


def _moves() -> dict[Event, Move]:
    e = Event

    def move(always: str = "", sometimes: str = "") -> Move:
        return Move(frozenset(always.split()), frozenset(sometimes.split()))

    ending = "message exit_code retry_after_ms"
    return {
        e.ADMIT: move("", "placed replay_of schedule_id fire_at_ms"),
        e.SCHEDULE: move("due_at_ms", "placed replay_of schedule_id fire_at_ms"),
        e.DUE: move(),
        e.DISPATCH: move(),
        e.UNREADY: move(),
        e.CLAIM: move("runner claim"),
        e.RECLAIM: move("runner claim"),
        e.SETTLE: move("outcome reason", ending),
        e.RELEASE: move("outcome reason", ending),
        e.BURY: move("outcome reason runner"),
        e.RETRY: move("after failures crashes"),
        e.BACKOFF: move("after delay_ms failures crashes due_at_ms"),
        e.FAIL: move("last reason failures crashes"),
        e.BLOCK: move("block_reason failures crashes"),
        e.ASK: move("outcome reason", ending),
        e.ANSWER: move("by"),
        e.HANDBACK: move("outcome reason", ending),
        e.PAUSE: move("by", "note"),
        e.STOP: move("outcome reason", ending),
        e.RESUME: move("by", "note"),
        e.RESUME_LATER: move("by", "note"),
        e.CANCEL: move("by reason", "note outcome"),
        e.EVICT: move("reason newcomer policy"),
        e.EXPIRE: move("reason", "outcome"),
    }


MOVES: Final = MappingProxyType(_moves())
"""A transition that ends an attempt is its attempt record: exactly one for each claim (FBK-6)."""
assert set(MOVES) == set(Event), "every transition says what it holds"


_MOVE_FIELDS: Final = {
    "runner": "who has it, or had it", "claim": "the whole claim", "due_at_ms": "not before this time", "delay_ms": "how long it waits",
    "after": "outcome class of the attempt before", "last": "outcome class of the last attempt", "failures": "attempts that failed", "crashes": "runners it lost",
    "by": "who", "note": "why, in their words", "replay_of": "the dead letter it replays", "newcomer": "the job that was admitted in its stead", "policy": "the pool's full_policy",
    "schedule_id": "the schedule that made it", "fire_at_ms": "the time of the schedule that it is for", "placed": "the pool that the placement chose, and why", "block_reason": "what it waits for",
    "outcome": "outcome class of the attempt that ended", "reason": "reason code; else why, in a word", "message": "one line for a human", "exit_code": "the command's own code",
    "retry_after_ms": "what the provider asked for",
}  # fmt: skip
assert set(_MOVE_FIELDS) == {name for move in MOVES.values() for name in move.always | move.sometimes}


def _rows() -> tuple[EventEntry, ...]:
    t = EventType

    def row(type_: EventType, emitter: str, meaning: str, /, *, sometimes: str = "", **fields: str) -> EventEntry:
        return EventEntry(type_, MappingProxyType(fields), emitter, meaning, frozenset(sometimes.split()))

    step = {"step_id": "the step", "key": "its idempotency key"}
    return (
        row(t.STATUS_CHANGED, "every function that moves a job", "The job went from one state to another.", sometimes=" ".join(_MOVE_FIELDS), **{"from": "state before, null for the first", "to": "state after", "cause": "event of the state table", **_MOVE_FIELDS}),
        row(t.STALE_RECOVERED, "bury", "Its runner was declared dead, and the job was taken from it: by a reaper after a lease of silence, or by a supervisor that saw the process end.", **{"from": "state before", "to": "state after", "worker": "the dead runner", "epoch": "the claim's number", "age_ms": "how long it was seen silent; 0 when a supervisor saw it end"}),
        row(t.LEASE_LOST, "runner", "A runner learned that its claim is over and stopped the work.", claim="the claim that is over"),
        row(t.ORPHANED_RESULT, "settle", "A result came with a claim that was over: kept, not counted.", claim="the late claim", result="the result, or its digest when large"),
        row(t.JOB_TIMEOUT, "runner, scheduler", "A wall, idle or deadline limit stopped it.", limit="wall_ms, idle_ms or deadline_ms", value_ms="the limit"),
        row(t.JOB_FAILED, "fallback", "No attempt is left: the job is a dead letter.", last="outcome class of the last attempt", reason="why fallback gave up: not_retried, attempts_used or poison", failures="attempts that failed", crashes="runners it lost"),
        row(t.REPLAYED, "replay", "The dead letter was tried again as a new job.", **{"as": "the new job", "by": "who"}),
        row(t.SET_ASIDE, "admit", "It had its session and waited for its turn: a newcomer that interrupts goes first.", by="the newcomer", session="the session"),
        row(t.PAUSE_WISHED, "pause", "A running job was asked to stop at its next step.", sometimes="note", by="who", note="why, in their words"),
        row(t.PAUSE_WITHDRAWN, "resume", "The wish to pause was withdrawn before the job had stopped.", sometimes="note", by="who", note="why, in their words"),
        row(t.QUESTION_ASKED, "ask", "The agent waits for an answer.", question_id="the question", text="what is asked", kind="approve, choose or text", options="what may be chosen", step_id="the step that waits", block_reason="why the job blocks", expires_at_ms="when it lapses"),
        row(t.QUESTION_ANSWERED, "answer", "Somebody answered.", question_id="the question", value="the answer", by="who", reason="why"),
        row(t.QUESTION_EXPIRED, "scheduler", "Nobody answered in time; expiry never approves.", question_id="the question"),
        row(t.ANSWER_CONSUMED, "steps", "The waiting step took the answer; it cannot be taken again.", question_id="the question", step_id="the step"),
        row(t.JOB_RESUMED, "steps", "The job goes on after a question.", question_id="what was answered", step_id="the step it goes on with"),
        row(t.STEP_STARTED, "steps", "A step is about to run.", **step, executed="true: from now on it may have had effects"),
        row(t.STEP_FINISHED, "steps", "A step ran and succeeded; it is never run again.", **step, exit_code="its exit code", executed="whether it really ran", duration_ms="how long"),
        row(t.STEP_FAILED, "steps", "A step ran and failed.", **step, exit_code="its exit code", executed="whether it really ran", message="why, in a line"),
        row(t.STEP_SKIPPED, "steps", "A human decided not to run the step.", **step, executed="false"),
        row(t.STEP_UNKNOWN, "steps", "A step had started and nobody knows how it ended; its rule decides.", **step, rule="retry, ask or fail"),
        row(t.ARTIFACT_RECORDED, "runner", "A file was stored by content.", name="its name", sha256="its digest", bytes="its size", step_id="the step that made it"),
        row(t.OUTPUT_STORED, "runner", "The whole output was stored by content.", sha256="its digest", bytes="its size", truncated="whether the bound was met"),
        row(t.USAGE_REPORTED, "runner", "What the attempt has used so far, as its endpoint says; the last one of an attempt counts.", tokens_in="tokens read", tokens_out="tokens written", cost_micros="millionths of the endpoint's unit of money, or null"),
        row(t.AGENT_SUSPENDED, "runner", "The lease was not confirmed in time: the agent was stopped (SIGSTOP)."),
        row(t.AGENT_CONTINUED, "runner", "The same lease was confirmed again: the agent goes on."),
        row(t.REPAIRED, "reaper", "An index disagreed with the job and was rebuilt from it.", index="which index", was="what stood there"),
    )


CATALOGUE: Final = MappingProxyType({entry.type: entry for entry in _rows()})
assert set(CATALOGUE) == set(EventType), "every event type has exactly one row"


def payload_faults(type_: EventType, payload: Mapping[str, Any]) -> list[str]:
    """What the catalogue does not have, and what it has and the payload lacks, in words."""
    entry = CATALOGUE[type_]
    always: Collection[str] = entry.fields.keys() - entry.optional
    allowed: Collection[str] = entry.fields.keys()
    cause = payload.get("cause")
    if type_ is EventType.STATUS_CHANGED and cause in _CAUSES:
        move = MOVES[Event(cause)]
        always = {*always, *move.always}
        allowed = {*always, *move.sometimes}
    name = type_.value if cause is None else f"{type_.value} ({cause})"
    faults = [f"{name}: no field {field!r} in the catalogue" for field in payload if field not in allowed]
    return faults + [f"{name}: lacks {field!r}" for field in sorted(always) if field not in payload]


_CAUSES: Final = frozenset(Event)


class Frame(StrEnum):
    """The event name of a server-sent frame on a job's stream (INTERFACE, SSE)."""

    STARTED = "started"
    TOKEN = "token"  # noqa: S105 - a frame's name
    LOG = "log"
    METRICS = "metrics"
    CHECKPOINT = "checkpoint"
    STATUS = "status"
    GAP = "gap"
    END = "end"
    ERROR = "error"
