"""`orch schedule`: jobs made by time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from contracts.errors import ErrorCode, ExitCode, Refused
from orch.cli.door import HERE, Door
from orch.cli.output import emit, emit_body, emit_document, emit_table, harmless, say
from orch.cli.render import at, lasted

if TYPE_CHECKING:
    from contracts.schedules import Fired, Schedule

ScheduleId = Annotated[str, Parameter(name="ID", help="The schedule.", allow_leading_hyphen=False)]
Tenant = Annotated[str | None, Parameter(help="Whose schedule it is; default: default.")]


def put(
    file: Annotated[
        str,
        Parameter(
            name="FILE", help="A YAML or JSON schedule, or - for stdin.", allow_leading_hyphen=True
        ),
    ],
    /,
    *,
    if_revision: Annotated[
        int | None, Parameter(help="Only if it has this revision; 0: only if it is new.")
    ] = None,
    door: Door = HERE,
) -> int:
    """Store the schedule that a YAML or JSON file describes, new or in place of the one of its id.

    The same again changes nothing. `cwd` and `path` of its template are read as `orch submit` reads them.
    """
    from orch.cli.documents import STDIN, read_schedule
    from orch.client import calls

    if file.startswith("-") and file != STDIN:  # the parser lets it pass for the sake of `-`
        raise Refused(ErrorCode.INVALID_REQUEST, f"Unknown option: {file}")
    stored = door.ask(calls.put_schedule(read_schedule(file), if_revision))
    if stored is not None:
        say(harmless(f"{stored.sentence}, {stored.time_zone}; next: {at(stored.next_fire_at_ms)}"))
        emit(stored.schedule_id)
    return ExitCode.OK


def list_schedules(
    *,
    tenant: Annotated[str | None, Parameter(help="Of this tenant only.")] = None,
    limit: Annotated[int, Parameter(help="At most so many.")] = 50,
    cursor: Annotated[str | None, Parameter(help="next_cursor of the page before.")] = None,
    door: Door = HERE,
) -> int:
    """List schedules, newest first."""
    from orch.client import calls

    page = door.ask(calls.schedules(tenant=tenant, limit=limit, cursor=cursor))
    if page is None:
        return ExitCode.OK
    emit_table(
        ("SCHEDULE", "TENANT", "CRON", "ZONE", "NEXT", "LAST", "RESULT"),
        [
            (
                one.schedule_id,
                one.tenant,
                one.cron,
                one.time_zone,
                "paused" if one.paused else at(one.next_fire_at_ms),
                at(one.last.fire_at_ms if one.last else None),
                one.last.result.value if one.last else "-",
            )
            for one in page.schedules
        ],
    )
    if page.next_cursor is not None:
        say(f"more: --cursor {page.next_cursor}")
    return ExitCode.OK


def show(schedule_id: ScheduleId, /, *, tenant: Tenant = None, door: Door = HERE) -> int:
    """Show one schedule: its times, and what came of the last one."""
    from orch.client import calls

    found = door.ask(calls.schedule(schedule_id, tenant))
    if found is not None:
        _show(found)
    return ExitCode.OK


def _show(one: Schedule) -> None:
    counts = ", ".join(f"{n} {name}" for name, n in one.counts.model_dump().items())
    rows = [
        ("schedule", f"{one.schedule_id} (tenant {one.tenant}, revision {one.revision})"),
        ("when", f"{one.sentence} ({one.cron}), {one.time_zone}"),
        ("next", "paused" if one.paused else at(one.next_fire_at_ms)),
        ("overlap", one.overlap.value),
        ("missed runs", one.missed_runs.value),
        ("last", _told(one.last) if one.last else "-"),
        ("last job", one.last_job_id or "-"),
        ("so far", counts),
    ]
    for label, value in rows:
        emit(harmless(f"{label:12} {value}"))


def _told(fired: Fired) -> str:
    late = fired.at_ms - fired.fire_at_ms
    words = [f"{fired.result.value}, for {at(fired.fire_at_ms)}"]
    words += ["by hand"] if fired.by_hand else [f"{lasted(late)} after it"]
    words += [f"job {fired.job_id}"] if fired.job_id else []
    words += [f"{fired.code}: {fired.message}"] if fired.code else []
    return ", ".join(words)


def delete(schedule_id: ScheduleId, /, *, tenant: Tenant = None, door: Door = HERE) -> int:
    """Take a schedule away; its jobs stay."""
    from orch.client import calls

    gone = door.ask(calls.delete_schedule(schedule_id, tenant))
    if gone is not None:
        emit(f"{gone.schedule_id} is deleted")
    return ExitCode.OK


def pause(schedule_id: ScheduleId, /, *, tenant: Tenant = None, door: Door = HERE) -> int:
    """Let a schedule make no jobs until it is resumed, and none later for the times between."""
    return _hold(schedule_id, tenant, door, paused=True)


def resume(schedule_id: ScheduleId, /, *, tenant: Tenant = None, door: Door = HERE) -> int:
    """Let a paused schedule go on with its next time."""
    return _hold(schedule_id, tenant, door, paused=False)


def _hold(schedule_id: str, tenant: str | None, door: Door, *, paused: bool) -> int:
    from orch.client import calls

    held = door.ask(calls.hold_schedule(schedule_id, "pause" if paused else "resume", tenant))
    if held is not None:
        then = "paused" if held.paused else f"next: {at(held.next_fire_at_ms)}"
        emit(f"{held.schedule_id}: {then}")
    return ExitCode.OK


def fire(
    schedule_id: ScheduleId,
    /,
    *,
    tenant: Tenant = None,
    idempotency_key: Annotated[
        str | None, Parameter(help="Firing again under the same key gives the same job.")
    ] = None,
    door: Door = HERE,
) -> int:
    """Make a job of a schedule now, as at one of its times, which stay as they are.

    Prints the job's id. Exit 1 when none was made, because the last one is not over and overlap is `skip`.
    """
    from contracts.schedules import Fate
    from orch.client import calls

    with door.client() as client:
        call = calls.fire_schedule(schedule_id, tenant, idempotency_key)
        answer = client.send(call)
        fired = client.read(call, answer)
    if door.as_json:
        emit_body(answer.body)
    elif fired.result is Fate.FIRED:
        if fired.duplicate:
            say("it was fired under this key before; nothing new was made")
        emit(fired.job_id or "")
    else:
        say(f"{fired.result.value}: job {fired.job_id} is not over")
    return ExitCode.OK if fired.result is Fate.FIRED else ExitCode.JOB_FAILED


def show_times(
    expression: Annotated[
        str, Parameter(name="EXPR", help="Five fields in quotes, or a word such as @daily.")
    ],
    /,
    *,
    zone: Annotated[str, Parameter(help="A time zone by its IANA name.")] = "UTC",
    count: Annotated[int, Parameter(help="How many times, 1 to 100.")] = 5,
    as_json: Annotated[
        bool, Parameter(name="--json", negative="", help="Print one JSON document.")
    ] = False,
) -> int:
    """Show when a cron expression comes, there and in UTC; needs no server."""
    from contracts.limits import TIMES_SHOWN_MAX
    from orch.core.calendar import local_time, next_times, sentence_of
    from orch.system import wall_ms

    if not 1 <= count <= TIMES_SHOWN_MAX:
        raise Refused(ErrorCode.INVALID_REQUEST, f"--count is 1 to {TIMES_SHOWN_MAX}, not {count}")
    sentence = sentence_of(expression)
    times = [(one, local_time(zone, one)) for one in next_times(expression, zone, wall_ms(), count)]
    if as_json:
        shown = [{"at_ms": at_ms, "local": local} for at_ms, local in times]
        emit_document({"cron": expression, "time_zone": zone, "sentence": sentence, "times": shown})
        return ExitCode.OK
    say(harmless(f"{sentence}, {zone}"))
    for at_ms, local in times:
        emit(f"{local}  {at(at_ms)}")
    return ExitCode.OK
