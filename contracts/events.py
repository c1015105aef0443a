"""What a ledger can hold and what a watcher can see: the event catalogue.

An event that is not here cannot be emitted: the store checks the type before it writes. A job's state
is the fold of its `status_changed` entries over the state table; all other types are evidence beside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class EventType(StrEnum):
    """The type of a ledger entry."""

    STATUS_CHANGED = "status_changed"
    STALE_RECOVERED = "stale_recovered"
    LEASE_LOST = "lease_lost"
    ORPHANED_RESULT = "orphaned_result"
    JOB_TIMEOUT = "job_timeout"
    JOB_FAILED = "job_failed"
    REPLAYED = "replayed"
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
    """One row of the catalogue: payload field names with their meaning, who emits it, what it says."""

    type: EventType
    fields: MappingProxyType[str, str]
    emitter: str
    meaning: str


_ENDING_FIELDS = {
    "outcome": "settle, release, bury, ask, handback, stop, cancel, expire: outcome class of the attempt",
    "reason": "with outcome: reason code; else why, in a word",
    "message": "with outcome: one line for a human",
    "exit_code": "with outcome: the command's own code",
    "retry_after_ms": "with outcome throttled: what the provider asked for",
    "result": "settle: the result, or its blob reference",
}
"""A transition that ends an attempt is its attempt record: exactly one for each claim (FBK-6)."""


def _rows() -> tuple[EventEntry, ...]:
    t = EventType

    def row(type_: EventType, emitter: str, meaning: str, /, **fields: str) -> EventEntry:
        return EventEntry(type_, MappingProxyType(fields), emitter, meaning)

    step = {"step_id": "the step", "key": "its idempotency key"}
    return (
        row(t.STATUS_CHANGED, "every function that moves a job", "The job went from one state to another.", **{"from": "state before, null for the first", "to": "state after", "cause": "event of the state table", "runner": "claim: who", "claim": "claim: the whole claim", "due_at_ms": "schedule and backoff: when", "delay_ms": "backoff: how long", "after": "retry and backoff: outcome class of the attempt before", "last": "fail: outcome class of the last attempt", "failures": "retry, backoff, fail: attempts that failed", "crashes": "retry, backoff, fail: runners it lost", "by": "cancel, pause, resume: who", "note": "cancel, pause, resume: why, in their words", "replay_of": "admit: the dead letter it replays", "schedule_id": "admit: the schedule that made it", "fire_at_ms": "admit: the time of the schedule that it is for", "placed": "admit and schedule: the pool that the placement chose, and why", "block_reason": "ask and block: why"}, **_ENDING_FIELDS),
        row(t.STALE_RECOVERED, "reaper", "A runner was silent for a lease; its job was taken from it.", **{"from": "state before", "to": "state after", "worker": "the dead runner", "epoch": "the claim's number", "age_ms": "how long it was silent"}),
        row(t.LEASE_LOST, "runner", "A runner learned that its claim is over and stopped the work.", claim="the claim that is over"),
        row(t.ORPHANED_RESULT, "settle", "A result came with a claim that was over: kept, not counted.", claim="the late claim", result="the result, or its digest when large"),
        row(t.JOB_TIMEOUT, "runner, scheduler", "A wall, idle or deadline limit stopped it.", limit="wall_ms, idle_ms or deadline_ms", value_ms="the limit"),
        row(t.JOB_FAILED, "fallback", "No attempt is left: the job is a dead letter.", last="outcome class of the last attempt", reason="why fallback gave up: not_retried, attempts_used or poison", failures="attempts that failed", crashes="runners it lost"),
        row(t.REPLAYED, "replay", "The dead letter was tried again as a new job.", **{"as": "the new job", "by": "who"}),
        row(t.PAUSE_WISHED, "pause", "A running job was asked to stop at its next step.", by="who", note="why, in their words"),
        row(t.PAUSE_WITHDRAWN, "resume", "The wish to pause was withdrawn before the job had stopped.", by="who", note="why, in their words"),
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


def unknown_fields(type_: EventType, payload: Iterable[str]) -> set[str]:
    """Payload fields that the catalogue does not have; a suite-wide fixture wants none."""
    return set(payload) - set(CATALOGUE[type_].fields)


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
