"""`orch list`, `orch status`, `orch explain`: how jobs stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

from cyclopts import Parameter

from contracts.errors import ErrorCode, Refused
from contracts.limits import PAGE_ITEMS_MAX
from contracts.states import State
from orch.cli.door import HERE, Door, JobId
from orch.cli.output import emit, emit_table, harmless, say


@Parameter(name="*")
@dataclass(frozen=True)
class Which:
    """Which jobs a list shows; all that is given must fit."""

    state: Annotated[str | None, Parameter(help=f"Only jobs in it: {', '.join(State)}.")] = None
    tenant: Annotated[str | None, Parameter(help="Only this tenant's jobs.")] = None
    pool: Annotated[str | None, Parameter(help="Only jobs of this pool.")] = None
    name: Annotated[str | None, Parameter(help="Only jobs of exactly this name.")] = None
    session: Annotated[str | None, Parameter(help="Only jobs of this session.")] = None
    label: Annotated[
        tuple[str, ...],
        Parameter(help="Only jobs with this label, KEY=VALUE; repeatable.", negative=""),
    ] = ()
    created_from_ms: Annotated[
        int | None, Parameter(help="Only jobs created at this unix time (ms) or later.")
    ] = None
    created_to_ms: Annotated[
        int | None, Parameter(help="Only jobs created before this unix time (ms).")
    ] = None


_ALL = Which()


def list_jobs(
    *,
    which: Which = _ALL,
    limit: Annotated[int, Parameter(help=f"At most so many, 1 to {PAGE_ITEMS_MAX}.")] = 50,
    cursor: Annotated[
        str | None, Parameter(help="Go on where next_cursor of a page ended.")
    ] = None,
    door: Door = HERE,
) -> int:
    """List jobs, newest first."""
    from orch.cli.render import at
    from orch.client import calls

    if which.state is not None and which.state not in set(State):
        raise Refused(
            ErrorCode.INVALID_REQUEST, f"--state {which.state!r}: there are {', '.join(State)}"
        )
    if not 1 <= limit <= PAGE_ITEMS_MAX:
        raise Refused(ErrorCode.INVALID_REQUEST, f"--limit {limit}: 1 to {PAGE_ITEMS_MAX}")
    filters = {name: value for name, value in asdict(which).items() if name != "label"}
    call = calls.jobs(limit=limit, cursor=cursor, labels=_labels(which.label), **filters)
    page = door.ask(call)
    if page is None:
        return 0
    emit_table(
        ("JOB", "STATE", "POOL", "ATTEMPT", "CREATED", "NAME"),
        [
            (
                job.job_id,
                job.state.value,
                job.pool,
                str(job.attempt),
                at(job.created_at_ms),
                job.name,
            )
            for job in page.jobs
        ],
    )
    if page.next_cursor is not None:
        say(harmless(f"there are more: --cursor {page.next_cursor}"))
    return 0


def _labels(words: Sequence[str]) -> dict[str, str]:
    labels = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise Refused(ErrorCode.INVALID_REQUEST, f"--label {word!r}: give KEY=VALUE")
        labels[key] = value
    return labels


def status(job_id: JobId, /, *, door: Door = HERE) -> int:
    """Show one job: its state and what it waits for, its attempts, its open question."""
    from orch.cli.render import show_job
    from orch.client import calls
    from orch.system import wall_ms

    record = door.ask(calls.job(job_id))
    if record is not None:
        show_job(record, door, wall_ms())
    return 0


def explain(job_id: JobId, /, *, door: Door = HERE) -> int:
    """Say why a job is where it is, and what unblocks it."""
    from orch.cli.render import compact
    from orch.client import calls

    why = door.ask(calls.explain(job_id))
    if why is None:
        return 0
    emit(harmless(f"{why.job_id} is {why.state}: {why.reason}"))
    emit(harmless(f"what unblocks it: {why.unblocks}"))
    for name, value in why.facts.items():
        emit(harmless(f"  {name}: {compact(value)}"))
    return 0
