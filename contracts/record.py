"""What readers see of a job: the bodies of HTTP answers and of the command line's `--json`.

Field names are contract (INTERFACE). They are views: the store builds them from the job hash and its
ledger, and nothing reads them back.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from contracts.errors import ErrorCode
from contracts.events import EventType
from contracts.outcomes import Outcome
from contracts.states import BlockReason, State

OutputStream = Literal["stdout", "stderr", "token"]
"""Where a piece of output came from; `token` is text that a model writes."""


class View(BaseModel):
    """A model that is written, never taken in from a stranger: unknown fields of a newer server pass."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Submitted(View):
    """The answer to a submission."""

    job_id: str
    state: State
    queue_position: int | None
    """Jobs of its class ahead of it; an estimate. None when it does not queue."""
    predicted_start_ms: int | None
    """Milliseconds until it will probably start; None when no rate was measured yet."""
    duplicate: bool
    """True when the same key and content was there before: nothing new was made."""


class Question(View):
    """What a blocked job waits for."""

    question_id: str
    text: str
    kind: Literal["approve", "choose", "text"]
    options: list[str] | None
    expires_at_ms: int | None


class Lease(View):
    """Who holds a running job. Derived from the runner's beat; shown, never judged by."""

    worker_id: str
    lease_id: str
    acquired_at_ms: int
    heartbeat_at_ms: int | None
    expires_at_ms: int | None


class Attempt(View):
    """One claim, from its start to its end; the last one may still run."""

    attempt: int
    epoch: int
    runner: str
    started_at_ms: int
    ended_at_ms: int | None
    outcome: Outcome | None
    exit_code: int | None
    reason: str | None


class Usage(View):
    """What a job has used, as its endpoints said; summed over its attempts."""

    tokens_in: int
    tokens_out: int
    cost_micros: int | None
    """Millionths of the endpoint's unit of money; None when none was named."""


class JobRecord(View):
    """One job as it is now."""

    job_id: str
    name: str
    state: State
    block_reason: BlockReason | None
    tenant: str
    pool: str
    priority: str
    attempt: int
    epoch: int
    created_at_ms: int
    started_at_ms: int | None
    finished_at_ms: int | None
    outcome: Outcome | None
    result: Any
    question: Question | None
    lease: Lease | None
    attempts: list[Attempt]
    labels: dict[str, str] | None = None
    due_at_ms: int | None = None
    """When a scheduled job becomes queued."""
    pause_wished: bool = False
    """A running job that will stop at its next step."""
    replay_of: str | None = None
    """The dead letter that this job replays."""
    replayed_as: str | None = None
    """The job that replays this dead letter."""
    reason: str | None = None
    """Why fallback gave up on a failed job: not_retried, attempts_used or poison."""
    usage: Usage | None = None
    """None when no attempt reported any."""
    session: str | None = None
    """Jobs of one session run one at a time, in their order."""
    concurrency_key: str | None = None
    """Of jobs with the same key only so many run at once."""


class JobList(View):
    """A page of jobs, newest first."""

    jobs: list[JobRecord]
    next_cursor: str | None


class SessionJob(View):
    """One live job of a session."""

    job_id: str
    name: str
    state: State
    pool: str
    priority: str
    created_at_ms: int


class SessionRecord(View):
    """A session that has live jobs."""

    session: str
    tenant: str
    running: str | None
    """The job that is ready or runs; None while none has started or all wait for something else."""
    jobs: list[SessionJob]
    """The one whose turn it is, those that wait for it in their order, then the others by arrival."""


class SessionSummary(View):
    """One session of a list."""

    session: str
    tenant: str
    live_jobs: int
    running: str | None


class SessionList(View):
    """A page of sessions that have live jobs, the one that got a job last first."""

    sessions: list[SessionSummary]
    next_cursor: str | None


class LedgerEvent(View):
    """One entry of a job's append-only ledger."""

    seq: int
    at_ms: int
    type: EventType
    actor: str
    attempt: int
    epoch: int
    payload: dict[str, Any]


class LedgerPage(View):
    """A page of a ledger, oldest first."""

    events: list[LedgerEvent]
    next_cursor: str | None


class LogLine(View):
    """One piece of output; `i` counts from 1 without gaps, but the oldest pieces may be trimmed."""

    i: int
    stream: OutputStream
    text: str


class LogPage(View):
    """A page of output, oldest first."""

    lines: list[LogLine]
    next_cursor: str | None
    trimmed: int
    """Pieces before the first one kept."""


class Artifact(View):
    """A file that a job left, stored by content."""

    name: str
    sha256: str
    bytes: int
    step_id: str | None
    attempt: int


class ArtifactList(View):
    """All artifacts of a job."""

    artifacts: list[Artifact]


class Explanation(View):
    """Why a job is where it is, and what unblocks it."""

    job_id: str
    state: State
    reason: str
    unblocks: str
    facts: dict[str, Any]


class ErrorBody(View):
    """The flat error body, the same at every door."""

    code: ErrorCode
    message: str
    hint: str
    retriable: bool
    request_id: str
    retry_after_ms: int | None = None
    policy_label: str | None = None
    details: dict[str, Any] | None = None


class DeadLetter(View):
    """A job that fallback gave up on."""

    job_id: str
    name: str
    tenant: str
    pool: str
    died_at_ms: int
    outcome: Outcome
    reason: str
    attempts: int


class DeadLetterList(View):
    """A page of dead letters, newest first."""

    dead_letters: list[DeadLetter]
    next_cursor: str | None


class Replayed(View):
    """What became of one dead letter; `replayed_as` is None when it would only be, or could not be."""

    job_id: str
    replayed_as: str | None
    error: ErrorBody | None = None


class ReplayAnswer(View):
    """Letters in the order they were looked at; with dry_run nothing was made."""

    dry_run: bool
    letters: list[Replayed]


class BatchItem(View):
    """One answer of a batch: exactly one of the two is there."""

    job: Submitted | None = None
    error: ErrorBody | None = None


class BatchAnswer(View):
    """Answers in the order of the items."""

    items: list[BatchItem]
