"""Why a job is where it is, in one sentence, and what unblocks it in another."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from contracts.record import Explanation, JobRecord
from contracts.states import State


@dataclass(frozen=True, slots=True)
class Facts:
    """What stands around the job."""

    slots: int
    """Of the runners that nobody drains, as `held`."""
    runners: int
    held: int
    queued_in_class: int
    undecided: bool
    placed: dict[str, str] | None = None
    """The pool that the spec's placement chose, and why; None when the spec named its pool."""
    queue_position: int | None = None
    """Jobs ahead of it in its own tenant's line; None when it does not queue or stands far behind."""
    predicted_start_ms: int | None = None
    aside: str | None = None
    """The tie that it stands aside for: `k:<concurrency key>` or `s:<session>`."""
    aside_for: tuple[str, ...] = ()
    """The jobs that have this tie."""
    aside_running_max: int | None = None
    """How many may have it."""
    tenant_running: int | None = None
    """Jobs of its tenant that count against the limit; None where there is none."""
    tenant_running_max: int = 0
    paused: tuple[str, ...] = ()
    """Scopes of paused dispatch that the job falls under: `*`, `pool:…`, `queue:…`, `tenant:…`."""
    draining: bool = False
    """Its pool is drained."""
    runners_draining: int = 0


def _stands_aside(job: JobRecord, facts: Facts) -> tuple[str, str]:
    kind, _, name = (facts.aside or "").partition(":")
    holders = ", ".join(facts.aside_for) or "nobody"
    if kind == "s":
        whose = "" if job.tenant == "default" else f" --tenant {job.tenant}"
        return (
            f"it waits for its turn in session {name}: {holders} has it",
            f"that job ends or pauses; `orch session show {name}{whose}` shows the order",
        )
    return (
        f"concurrency key {name} is taken by {holders} ({facts.aside_running_max} at once)",
        "one of them ends, or the key's limit is raised",
    )


def _held_up(job: JobRecord, facts: Facts) -> tuple[str, str] | None:
    """What keeps a queued job from a slot that is free."""
    if facts.aside is not None:
        return _stands_aside(job, facts)
    if facts.draining:
        return (f"pool {job.pool} is drained", "undrain it")
    if facts.paused:
        scopes = ", ".join(facts.paused)
        return (f"dispatch is paused for {scopes}", f"resume dispatch of {scopes}")
    if facts.tenant_running is not None and facts.tenant_running >= facts.tenant_running_max:
        running, most = facts.tenant_running, facts.tenant_running_max
        return (
            f"tenant {job.tenant} runs {running} jobs, its limit is {most}",
            "one of them ends, or the tenant's running_max is raised",
        )
    return None


def _queued(job: JobRecord, facts: Facts) -> tuple[str, str]:
    held_up = _held_up(job, facts)
    if held_up is not None:
        return held_up
    if facts.runners and facts.runners == facts.runners_draining:
        return (f"all runners of pool {job.pool} are drained", "undrain one, or start another")
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
