"""In which states a job can be, and what every event does in each of them.

The table is total: every (state, event) pair is a transition or a named refusal, checked at import.
`make generate` writes it as Lua for the function library, so nobody can pass another state, and as the
diagram in docs/architecture.md. Nothing else in Orch assigns a state.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Final


class State(StrEnum):
    """Where a job stands. The four terminal states are never left."""

    SCHEDULED = "scheduled"
    """Parked as data until a time: entered by not_before or a retry's backoff, left by the scheduler."""
    QUEUED = "queued"
    """Waits for a free slot of its pool: left by dispatch in fair order."""
    READY = "ready"
    """Dispatched to its pool: left by a runner's claim; at most the pool's free slots are here."""
    RUNNING = "running"
    """One claim is in force, or its outcome waits for fallback's decision."""
    PAUSED = "paused"
    """Stopped by an operator, finished steps kept: left by resume."""
    BLOCKED = "blocked"
    """Waits for a human (block_reason says why) and holds no slot: left by an answer."""
    COMPLETED = "completed"
    """Terminal: one result was accepted."""
    FAILED = "failed"
    """Terminal: no attempt is left; the job is a dead letter and may be replayed as a new job."""
    CANCELED = "canceled"
    """Terminal: somebody canceled it."""
    EXPIRED = "expired"
    """Terminal: its deadline passed first."""


TERMINAL: Final = frozenset({State.COMPLETED, State.FAILED, State.CANCELED, State.EXPIRED})


class BlockReason(StrEnum):
    """Why a blocked job waits."""

    DECISION = "decision"
    APPROVAL = "approval"
    BUDGET = "budget"
    ERROR = "error"
    ENVIRONMENT = "environment"


class Event(StrEnum):
    """What can happen to a job; the `cause` of a status_changed entry in its ledger."""

    ADMIT = "admit"
    """Admission accepted it, to run as soon as there is room."""
    SCHEDULE = "schedule"
    """Admission accepted it, not to run before a time."""
    DUE = "due"
    """Its time has come."""
    DISPATCH = "dispatch"
    """Fair order gave it a free slot of its pool."""
    UNREADY = "unready"
    """The slot went away before a runner claimed it; back to the head of its queue."""
    CLAIM = "claim"
    """A runner took it under a fresh claim; a new attempt begins."""
    RECLAIM = "reclaim"
    """The server came back without this claim; its runner still works under it and has it again."""
    SETTLE = "settle"
    """The claim in force delivered a result."""
    RELEASE = "release"
    """The claim in force ended without a result; the outcome waits for a decision."""
    BURY = "bury"
    """The runner that held it is dead; the outcome is `lost`."""
    RETRY = "retry"
    """Fallback decided on another attempt at once."""
    BACKOFF = "backoff"
    """Fallback decided on another attempt after a delay."""
    FAIL = "fail"
    """Fallback decided that no attempt is left; the job becomes a dead letter."""
    BLOCK = "block"
    """Fallback decided that a human must look."""
    ASK = "ask"
    """The agent asked a question; the slot is free until it is answered."""
    ANSWER = "answer"
    """The question was answered."""
    HANDBACK = "handback"
    """A runner that leaves gives the job back; the attempt does not count."""
    PAUSE = "pause"
    """An operator paused a job that does not run."""
    STOP = "stop"
    """A running job stopped because of a pause; the attempt does not count."""
    RESUME = "resume"
    """An operator let a paused job go on."""
    RESUME_LATER = "resume_later"
    """As resume, for a job whose not_before is still ahead."""
    CANCEL = "cancel"
    """Somebody canceled it."""
    EVICT = "evict"
    """A bound was reached, and by the pool's policy this job's place went to a newcomer."""
    EXPIRE = "expire"
    """Its deadline passed."""


class Refusal(StrEnum):
    """Why an event is refused; details.refusal of INVALID_TRANSITION."""

    ALREADY_ADMITTED = "already_admitted"
    NOT_SCHEDULED = "not_scheduled"
    NOT_QUEUED = "not_queued"
    NOT_READY = "not_ready"
    NOT_WAITING = "not_waiting"
    NOT_RUNNING = "not_running"
    NOT_BLOCKED = "not_blocked"
    NOT_PAUSED = "not_paused"
    ALREADY_PAUSED = "already_paused"
    RUNNING_STOPS_FIRST = "running_stops_first"
    WAITS_FOR_ANSWER = "waits_for_answer"
    JOB_OVER = "job_over"
    NO_SUCH_JOB = "no_such_job"


_S, _E, _R = State, Event, Refusal
_WAITING: Final = (_S.SCHEDULED, _S.QUEUED, _S.READY)
_LIVE: Final = (*_WAITING, _S.RUNNING, _S.PAUSED, _S.BLOCKED)

FIRST: Final = MappingProxyType({_E.ADMIT: _S.QUEUED, _E.SCHEDULE: _S.SCHEDULED})
"""The events that make a job, and the state it begins in."""

TRANSITIONS: Final = MappingProxyType(
    {
        (_S.SCHEDULED, _E.DUE): _S.QUEUED,
        (_S.QUEUED, _E.DISPATCH): _S.READY,
        (_S.READY, _E.UNREADY): _S.QUEUED,
        (_S.READY, _E.CLAIM): _S.RUNNING,
        (_S.RUNNING, _E.SETTLE): _S.COMPLETED,
        (_S.RUNNING, _E.RELEASE): _S.RUNNING,
        (_S.RUNNING, _E.BURY): _S.RUNNING,
        (_S.RUNNING, _E.RETRY): _S.QUEUED,
        (_S.RUNNING, _E.BACKOFF): _S.SCHEDULED,
        (_S.RUNNING, _E.FAIL): _S.FAILED,
        (_S.RUNNING, _E.BLOCK): _S.BLOCKED,
        (_S.RUNNING, _E.ASK): _S.BLOCKED,
        (_S.RUNNING, _E.HANDBACK): _S.QUEUED,
        (_S.RUNNING, _E.STOP): _S.PAUSED,
        (_S.BLOCKED, _E.ANSWER): _S.QUEUED,
        (_S.PAUSED, _E.RESUME): _S.QUEUED,
        (_S.PAUSED, _E.RESUME_LATER): _S.SCHEDULED,
        **{(state, _E.RECLAIM): _S.RUNNING for state in _WAITING},
        **{(state, _E.PAUSE): _S.PAUSED for state in _WAITING},
        (_S.QUEUED, _E.EVICT): _S.CANCELED,
        **{(state, _E.CANCEL): _S.CANCELED for state in _LIVE},
        **{(state, _E.EXPIRE): _S.EXPIRED for state in _LIVE},
    }
)

_NEEDS: Final = MappingProxyType(
    {
        _E.DUE: _R.NOT_SCHEDULED,
        _E.DISPATCH: _R.NOT_QUEUED,
        _E.EVICT: _R.NOT_QUEUED,
        _E.UNREADY: _R.NOT_READY,
        _E.CLAIM: _R.NOT_READY,
        _E.RECLAIM: _R.NOT_WAITING,
        _E.SETTLE: _R.NOT_RUNNING,
        _E.RELEASE: _R.NOT_RUNNING,
        _E.BURY: _R.NOT_RUNNING,
        _E.RETRY: _R.NOT_RUNNING,
        _E.BACKOFF: _R.NOT_RUNNING,
        _E.FAIL: _R.NOT_RUNNING,
        _E.BLOCK: _R.NOT_RUNNING,
        _E.ASK: _R.NOT_RUNNING,
        _E.HANDBACK: _R.NOT_RUNNING,
        _E.STOP: _R.NOT_RUNNING,
        _E.ANSWER: _R.NOT_BLOCKED,
        _E.RESUME: _R.NOT_PAUSED,
        _E.RESUME_LATER: _R.NOT_PAUSED,
    }
)


def _refusal(state: State, event: Event) -> Refusal:
    if event in FIRST:
        return _R.ALREADY_ADMITTED
    if state in TERMINAL:
        return _R.JOB_OVER
    if event is _E.PAUSE:
        return {
            _S.RUNNING: _R.RUNNING_STOPS_FIRST,
            _S.PAUSED: _R.ALREADY_PAUSED,
            _S.BLOCKED: _R.WAITS_FOR_ANSWER,
        }[state]
    return _NEEDS[event]


REFUSALS: Final = MappingProxyType(
    {
        (state, event): _refusal(state, event)
        for state in State
        for event in Event
        if (state, event) not in TRANSITIONS
    }
)

assert len(TRANSITIONS) + len(REFUSALS) == len(State) * len(Event), "the table is total"
assert not any(state in TERMINAL for state, _ in TRANSITIONS), "terminal states are never left"

STATE_CODES: Final = MappingProxyType(
    {
        _S.SCHEDULED: "s",
        _S.QUEUED: "q",
        _S.READY: "y",
        _S.RUNNING: "r",
        _S.PAUSED: "p",
        _S.BLOCKED: "b",
        _S.COMPLETED: "C",
        _S.FAILED: "F",
        _S.CANCELED: "X",
        _S.EXPIRED: "E",
    }
)
"""One letter a state, as the job hash and the ledger store it (a job is held in memory a million times)."""
assert len(set(STATE_CODES.values())) == len(State)


def step(state: State | None, event: Event) -> State | Refusal:
    """The state after `event`, or the refusal. `None` is a job that does not exist yet."""
    if state is None:
        return FIRST.get(event, _R.NO_SUCH_JOB)
    return TRANSITIONS.get((state, event)) or REFUSALS[(state, event)]
