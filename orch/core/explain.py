"""Why a job is where it is, in one sentence, and what unblocks it in another."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from contracts.record import Explanation, JobRecord
from contracts.states import State


@dataclass(frozen=True, slots=True)
class Facts:
    """What stands around the job."""

    slots: int
    runners: int
    held: int
    queued_in_class: int
    undecided: bool
    placed: dict[str, str] | None = None
    """The pool that the spec's placement chose, and why; None when the spec named its pool."""
    queue_position: int | None = None
    """Jobs ahead of it in its own tenant's line; None when it does not queue or stands far behind."""
    predicted_start_ms: int | None = None


def _queued(job: JobRecord, facts: Facts) -> tuple[str, str]:
    if facts.runners == 0:
        return (
            f"no runner serves pool {job.pool}",
            f"start one: python -m actors runner --pool {job.pool}",
        )
    if facts.held >= facts.slots:
        return (
            f"all {facts.slots} slots of pool {job.pool} are busy",
            "a running job ends, or more slots",
        )
    return ("it is about to be dispatched", "nothing is missing")


def _blocked(job: JobRecord) -> tuple[str, str]:
    if job.question is None:
        return (f"it waits for a human ({job.block_reason})", f"look at `orch events {job.job_id}`")
    return (
        f"it asked: {job.question.text}",
        f"orch answer {job.job_id} VALUE --question {job.question.question_id}",
    )


def _running(job: JobRecord, facts: Facts) -> tuple[str, str]:
    if facts.undecided:
        return (
            "its attempt ended, and fallback decides what happens next",
            "a fallback actor that runs",
        )
    runner = job.lease.worker_id if job.lease else "a runner"
    wish = "; it will pause at its next step" if job.pause_wished else ""
    return (f"attempt {job.attempt} runs on {runner}{wish}", "the agent ends")


def _over(job: JobRecord) -> tuple[str, str]:
    last = job.attempts[-1] if job.attempts else None
    why = f": {last.outcome} ({last.reason})" if last and last.outcome else ""
    return (f"it is over, {job.state.value}{why}", "nothing; submit a new job")


def _why(job: JobRecord, facts: Facts) -> tuple[str, str]:
    match job.state:
        case State.SCHEDULED:
            return ("it waits for its time", f"the clock reaches due_at_ms {job.due_at_ms}")
        case State.QUEUED:
            return _queued(job, facts)
        case State.READY:
            return ("a slot is kept for it", "a runner claims it")
        case State.RUNNING:
            return _running(job, facts)
        case State.PAUSED:
            return ("it was paused", f"orch resume {job.job_id}")
        case State.BLOCKED:
            return _blocked(job)
        case State.COMPLETED | State.FAILED | State.CANCELED | State.EXPIRED:
            return _over(job)


def explain(job: JobRecord, facts: Facts) -> Explanation:
    """The explanation of one job."""
    reason, unblocks = _why(job, facts)
    return Explanation(
        job_id=job.job_id, state=job.state, reason=reason, unblocks=unblocks, facts=asdict(facts)
    )
