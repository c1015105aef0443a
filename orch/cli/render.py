"""How a job looks to a human: times, durations, the next thing to do."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from contracts.states import State
from orch.cli.door import Door
from orch.cli.output import emit, emit_table, harmless

if TYPE_CHECKING:
    from contracts.record import Attempt, JobRecord, Question, Usage

_GAVE_UP = {
    "not_retried": "this outcome is not tried again (retry.on)",
    "attempts_used": "every attempt failed (retry.attempts_max)",
    "poison": "it lost too many runners",
}
_EPOCH_LOW = 2**32 - 1


def at(at_ms: int | None) -> str:
    """A moment as RFC 3339 in UTC."""
    if at_ms is None:
        return "-"
    moment = datetime.fromtimestamp(at_ms / 1_000, tz=UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_ms % 1_000:03d}Z"


def lasted(duration_ms: int | None) -> str:
    """A duration in the unit that fits."""
    if duration_ms is None:
        return "-"
    seconds = max(duration_ms, 0) / 1_000
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def epoch(number: int) -> str:
    """A claim's number as `incarnation.n`."""
    return f"{number >> 32}.{number & _EPOCH_LOW}"


def compact(value: Any, width: int = 200) -> str:
    """A value on one line; words without quotes."""
    text = (
        value
        if isinstance(value, str)
        else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    )
    return text if len(text) <= width else text[: width - 1] + "…"


def show_job(record: JobRecord, door: Door, now_ms: int) -> None:
    """The whole of `orch status`."""
    for label, value in _header(record, now_ms):
        emit(harmless(f"{label:<9} {value}"))
    if record.question is not None:
        emit("")
        _show_question(record.question, record.job_id, door)
    if record.attempts:
        emit("")
        emit_table(
            ("ATTEMPT", "EPOCH", "RUNNER", "STARTED", "DURATION", "OUTCOME", "EXIT", "REASON"),
            [_attempt(attempt, now_ms) for attempt in record.attempts],
        )


def _header(record: JobRecord, now_ms: int) -> list[tuple[str, str]]:
    rows = [
        ("job", record.job_id),
        ("name", record.name),
        ("state", f"{record.state}{_waits_for(record)}"),
        ("where", f"pool {record.pool}, priority {record.priority}, tenant {record.tenant}"),
        ("created", at(record.created_at_ms)),
    ]
    if record.started_at_ms is not None:
        rows.append(("started", at(record.started_at_ms)))
    if record.finished_at_ms is not None:
        took_ms = record.finished_at_ms - (record.started_at_ms or record.created_at_ms)
        rows.append(("finished", f"{at(record.finished_at_ms)} after {lasted(took_ms)}"))
    if record.lease is not None and record.lease.heartbeat_at_ms is not None:
        silent_ms = now_ms - record.lease.heartbeat_at_ms
        rows.append(("lease", f"{record.lease.worker_id}, heartbeat {lasted(silent_ms)} ago"))
    if record.outcome is not None:
        rows.append(("outcome", record.outcome.value))
    if record.usage is not None:
        rows.append(("usage", _used(record.usage)))
    if record.result is not None:
        rows.append(("result", compact(record.result, 2_000)))
    return rows


def _used(usage: Usage) -> str:
    tokens = f"{usage.tokens_in} tokens in, {usage.tokens_out} out"
    cost = usage.cost_micros
    return tokens if cost is None else f"{tokens}, cost {cost // 1_000_000}.{cost % 1_000_000:06d}"


def _waits_for(record: JobRecord) -> str:
    holder = record.lease.worker_id if record.lease else "a runner"
    words = {
        State.SCHEDULED: f": due at {at(record.due_at_ms)}",
        State.QUEUED: f": waits for a free slot of pool {record.pool}",
        State.READY: f": waits for a runner of pool {record.pool} to take it",
        State.RUNNING: f" on {holder}"
        + (", will pause at its next step" if record.pause_wished else ""),
        State.PAUSED: ": waits for `orch resume`",
        State.BLOCKED: f": waits for a human ({record.block_reason or 'unknown'})",
        State.FAILED: f": {_GAVE_UP.get(record.reason or '', record.reason or 'no attempt is left')}",
    }
    return words.get(record.state, "")


def _attempt(attempt: Attempt, now_ms: int) -> tuple[str, ...]:
    ended_at_ms = attempt.ended_at_ms if attempt.ended_at_ms is not None else now_ms
    return (
        str(attempt.attempt),
        epoch(attempt.epoch),
        attempt.runner,
        at(attempt.started_at_ms),
        lasted(ended_at_ms - attempt.started_at_ms),
        attempt.outcome.value if attempt.outcome else "(running)",
        "-" if attempt.exit_code is None else str(attempt.exit_code),
        attempt.reason or "-",
    )


def _show_question(question: Question, job_id: str, door: Door) -> None:
    emit(harmless(f"question  {question.text}"))
    emit(harmless(f"          {question.kind}: {', '.join(choices(question))}"))
    if question.expires_at_ms is not None:
        emit(f"          lapses at {at(question.expires_at_ms)}")
    for choice in choices(question)[:1]:
        emit(harmless(f"answer    {answer_command(question, job_id, choice, door)}"))


def choices(question: Question) -> list[str]:
    """The values that answer it; for free text a place holder."""
    if question.kind == "approve":
        return ["approve", "deny"]
    return list(question.options or ["TEXT"])


def answer_command(question: Question, job_id: str, value: str, door: Door) -> str:
    """The command line that answers it, safe to paste."""
    return door.command("answer", job_id, value, "--question", question.question_id)


def next_step(record: JobRecord, door: Door) -> str:
    """What to type next, for a job that did not complete; else nothing."""
    if record.question is not None and record.state is State.BLOCKED:
        question = record.question
        return f"{question.text}  ->  {answer_command(question, record.job_id, choices(question)[0], door)}"
    if record.state in {State.COMPLETED, State.CANCELED}:
        return ""
    return f"why: {door.command('status', record.job_id)}"
