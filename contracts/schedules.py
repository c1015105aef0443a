"""What a schedule is: the document that a caller writes, and what readers see of it.

A schedule makes a job of its template at each of its times. The template is a job spec without what can be
said only of one job: its id, its key, its absolute times. Whether an expression is one, and when it comes,
is judged in `orch.core.calendar`, which knows the time zones.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field, TypeAdapter, ValidationError

from contracts import limits
from contracts.adapters import AtMs, Id, Strict
from contracts.errors import ErrorCode, Refused
from contracts.record import View
from contracts.spec import JobSpec, adapter_config, content_of, refusal_of

OF_ONE_JOB: Final = ("id", "idempotency_key", "not_before_ms", "deadline_ms")
"""Keys of a job spec that a template cannot have: each of its jobs would be bound to the same."""


class Overlap(StrEnum):
    """What happens at a time at which the schedule's last job is not over."""

    SKIP = "skip"
    """No job is made; the schedule says so."""
    QUEUE = "queue"
    """One more job is made."""
    REPLACE = "replace"
    """The last job is canceled and a new one made, in one step."""


class MissedRuns(StrEnum):
    """Which of the runs are made up for whose time passed while no scheduler ran."""

    SKIP = "skip"
    """None."""
    LAST = "last"
    """The last one."""
    ALL = "all"
    """Every one, at most MISSED_RUNS_MAX of them."""


class Fate(StrEnum):
    """What came of one time of a schedule."""

    FIRED = "fired"
    """A job was made."""
    SKIPPED = "skipped"
    """The last job was not over, and the schedule's overlap is `skip`."""
    REFUSED = "refused"
    """Admission refused the job; code and message say why."""
    MISSED = "missed"
    """It came too late and is not made up for."""


class ScheduleSpec(Strict):
    """A schedule as a caller writes it."""

    schedule_id: Id
    cron: Annotated[str, Field(min_length=1, max_length=limits.CRON_CHARS_MAX)]
    time_zone: Annotated[str, Field(min_length=1, max_length=limits.TIME_ZONE_CHARS_MAX)] = "UTC"
    spec: JobSpec
    overlap: Annotated[Overlap, Field(strict=False)] = Overlap.SKIP
    missed_runs: Annotated[MissedRuns, Field(strict=False)] = MissedRuns.LAST
    start_at_ms: AtMs | None = None
    end_at_ms: AtMs | None = None
    paused: bool = False

    @property
    def tenant(self) -> str:
        """Whose schedule it is: the tenant of its jobs."""
        return self.spec.tenant


class Counts(View):
    """How often each fate met the schedule since it was made."""

    fired: int = 0
    skipped: int = 0
    refused: int = 0
    missed: int = 0


class Fired(View):
    """What came of one time."""

    result: Fate
    fire_at_ms: int
    """The time that it was for."""
    at_ms: int
    """When it was carried out."""
    by_hand: bool = False
    """Somebody fired it now; its own times are untouched."""
    missed: int = 0
    """Times before this one that were passed over; at most MISSED_RUNS_MAX are counted at a time."""
    job_id: str | None = None
    """fired: the job. skipped: the one that is not over."""
    code: ErrorCode | None = None
    message: str | None = None


class FireAnswer(Fired):
    """What came of a fire by hand."""

    duplicate: bool = False
    """The idempotency key stood for this job before: it is the first one's answer, nothing was made."""


class Schedule(View):
    """A schedule as it is now."""

    schedule_id: str
    tenant: str
    cron: str
    time_zone: str
    sentence: str
    """The expression in plain words."""
    spec: dict[str, Any]
    overlap: Overlap
    missed_runs: MissedRuns
    start_at_ms: int | None
    end_at_ms: int | None
    paused: bool
    revision: int
    """Grows with every change; fires do not change it."""
    created_at_ms: int
    changed_at_ms: int
    next_fire_at_ms: int | None
    """None while it is paused, and when no time is left."""
    last_fire_at_ms: int | None
    """The last of its times that was carried out, whatever came of it."""
    last_job_id: str | None
    last: Fired | None
    counts: Counts


class ScheduleList(View):
    """A page of schedules, the newest first."""

    schedules: list[Schedule]
    next_cursor: str | None


_SPEC: Final = TypeAdapter(ScheduleSpec)


def _invalid(path: str, message: str) -> Refused:
    return Refused(ErrorCode.INVALID_SPEC, f"{path}: {message}", details={"path": path})


def of_template(refused: Refused) -> Refused:
    """A refusal of the template, as one of the schedule: its path begins at the schedule."""
    details = refused.details or {}
    if "path" not in details:
        return refused
    details = {**details, "path": f"spec.{details['path']}"}
    return Refused(refused.code, f"spec.{refused.message}", details=details)


def parse_schedule(document: object) -> ScheduleSpec:
    """A valid schedule from a parsed JSON or YAML document; its expression and zone are not judged yet.

    Raises:
        Refused: INVALID_SPEC; details.path is the dotted key of the first fault.
    """
    if not isinstance(document, dict):
        raise _invalid("$", f"a schedule is an object, not {type(document).__name__}")
    try:
        schedule: ScheduleSpec = _SPEC.validator.validate_python(document)
    except ValidationError as error:
        raise refusal_of(error) from None
    for name in OF_ONE_JOB:
        if getattr(schedule.spec, name) is not None:
            raise _invalid(f"spec.{name}", "belongs to one job, a schedule makes many")
    try:
        adapter_config(schedule.spec.adapter.name, schedule.spec.adapter.config)
    except Refused as refused:
        raise of_template(refused) from None
    start, end = schedule.start_at_ms, schedule.end_at_ms
    if start is not None and end is not None and end < start:
        raise _invalid("end_at_ms", "lies before start_at_ms")
    return schedule


def schedule_content(schedule: ScheduleSpec) -> dict[str, Any]:
    """What the schedule says, as JSON values without defaults; that it is paused is a state, not content."""
    written: dict[str, Any] = schedule.model_dump(mode="json", exclude_defaults=True)
    written.pop("paused", None)
    return {**written, "spec": content_of(schedule.spec)}
