"""`orch control` and `orch pools`: operators' commands, what became of them, and pools at a glance.

A target is `pool:NAME`, `queue:POOL:CLASS`, `tenant:NAME`, `runner:ID`, `key:TENANT:KEY`, or `*`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from contracts.commands import OVER, CommandName, CommandStatus
from contracts.errors import ErrorCode, ExitCode, Refused, Unavailable
from orch.cli import stack
from orch.cli.door import HERE, Door
from orch.cli.output import emit, emit_document, emit_table, say
from orch.cli.render import at, lasted

if TYPE_CHECKING:
    from contracts.control import ControlRecord
    from orch.client import OrchSync

_SHOWN_MAX = 20

Target = Annotated[str, Parameter(name="TARGET", help="pool:x, tenant:x, … or *.")]
What = Annotated[
    Literal["intake", "dispatch", "both"], Parameter(help="Which gate: intake, dispatch or both.")
]


@Parameter(name="*")
@dataclass(frozen=True)
class Giving:
    """How a command is given."""

    command_id: Annotated[
        str | None, Parameter(name="--id", help="Its id, used once; default: one is made.")
    ] = None
    if_revision: Annotated[
        int | None, Parameter(help="Refused unless the desired state has this revision.")
    ] = None
    wait: Annotated[
        bool, Parameter(negative="", help="Return when it is over; exit 1 when it failed.")
    ] = False
    timeout: Annotated[float, Parameter(help="With --wait: seconds.")] = 60.0


PLAINLY = Giving()


@Parameter(name="*")
@dataclass(frozen=True)
class Which:
    """Which jobs are meant; what is left out means any."""

    tenant: Annotated[str | None, Parameter(help="Of this tenant.")] = None
    pool: Annotated[str | None, Parameter(help="Of this pool.")] = None
    state: Annotated[str | None, Parameter(help="In this state.")] = None
    label: Annotated[str | None, Parameter(help="With this label: key=value, or key.")] = None
    name: Annotated[str | None, Parameter(help="Of this name.")] = None


ANY = Which()


def drain(
    target: Target,
    /,
    *,
    deadline_ms: Annotated[
        int | None, Parameter(help="Until when jobs may finish; default: as long as it takes.")
    ] = None,
    giving: Giving = PLAINLY,
    door: Door = HERE,
) -> int:
    """No new claims; what runs may finish, at the deadline it goes back to its line."""
    args = {} if deadline_ms is None else {"deadline_ms": deadline_ms}
    return _give(CommandName.DRAIN, target, args, giving, door)


def undrain(target: Target, /, *, giving: Giving = PLAINLY, door: Door = HERE) -> int:
    """Take work again."""
    return _give(CommandName.UNDRAIN, target, {}, giving, door)


def pause(
    target: Target, /, *, what: What = "both", giving: Giving = PLAINLY, door: Door = HERE
) -> int:
    """Take nothing in, give nothing out, or both. What runs goes on."""
    return _give(CommandName.PAUSE, target, {"what": what}, giving, door)


def resume(
    target: Target, /, *, what: What = "both", giving: Giving = PLAINLY, door: Door = HERE
) -> int:
    """Open what a pause has closed."""
    return _give(CommandName.RESUME, target, {"what": what}, giving, door)


def cancel(
    target: Annotated[str, Parameter(name="TARGET", help="Where; default: everywhere.")] = "*",
    /,
    *,
    which: Which = ANY,
    dry_run: Annotated[
        bool, Parameter(name="--dry-run", negative="", help="Only count them.")
    ] = False,
    giving: Giving = PLAINLY,
    door: Door = HERE,
) -> int:
    """Cancel every live job that the filter fits and that is there now."""
    given = {key: value for key, value in asdict(which).items() if value is not None}
    args = {"filter": given, "dry_run": dry_run}
    return _give(CommandName.CANCEL, target, args, giving, door)


def set_limit(
    target: Target,
    limit: Annotated[str, Parameter(name="LIMIT", help="queue_jobs_max, running_max, rate …")],
    value: Annotated[str, Parameter(name="VALUE", help="A number, a word, or null.")],
    /,
    *,
    giving: Giving = PLAINLY,
    door: Door = HERE,
) -> int:
    """Override a setting for one pool, line, tenant or key; null lifts the override."""
    args = {"limit": limit, "value": _value(value)}
    return _give(CommandName.SET_LIMIT, target, args, giving, door)


def reload(
    target: Annotated[
        str, Parameter(name="TARGET", help="pool:x for the stacks that run it.")
    ] = "*",
    /,
    *,
    giving: Giving = PLAINLY,
    door: Door = HERE,
) -> int:
    """Have the stack read its configuration again; it keeps the old one when the new one fails."""
    return _give(CommandName.RELOAD, target, {}, giving, door)


def status(
    command_id: Annotated[str, Parameter(name="ID", help="The command.")],
    /,
    *,
    door: Door = HERE,
) -> int:
    """Show what became of a command: who obeys it, who not yet, how it ended."""
    from orch.client import calls

    record = door.ask(calls.commanded(command_id))
    if record is not None:
        _show(record)
    return ExitCode.OK


def list_commands(
    *,
    limit: Annotated[int, Parameter(help="At most so many.")] = 50,
    door: Door = HERE,
) -> int:
    """List commands of the last seven days, newest first."""
    from orch.client import calls

    page = door.ask(calls.commands(limit=limit))
    if page is None:
        return ExitCode.OK
    rows = [
        (one.command_id, at(one.at_ms), one.status.value, one.command, one.target, one.by)
        for one in page.commands
    ]
    emit_table(("COMMAND", "AT", "STATUS", "WHAT", "TARGET", "BY"), rows)
    say(f"revision {page.revision}")
    return ExitCode.OK


def pools(*, door: Door = HERE) -> int:
    """List pools: runners, slots, what waits and what runs."""
    from orch.client import calls

    found = door.ask(calls.pools())
    if found is None:
        return ExitCode.OK
    emit_table(
        ("POOL", "STATUS", "INTAKE", "DISPATCH", "RUNNERS", "SLOTS", "FREE", "QUEUED", "RUNNING"),
        [
            (
                one.pool, one.status, one.intake, one.dispatch, str(one.runners), str(one.slots),
                str(one.free), str(one.queued), str(one.running),
            )
            for one in found.pools
        ],
    )  # fmt: skip
    return ExitCode.OK


# ---------------------------------------------------------------- giving one


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _give(name: CommandName, target: str, args: dict[str, Any], giving: Giving, door: Door) -> int:
    with door.client() as client:
        given = client.control(
            name.value, target, args,
            command_id=giving.command_id, if_revision=giving.if_revision,
        )  # fmt: skip
        if giving.wait:
            return _waited(client, given.command_id, giving, door)
    if door.as_json:
        emit_document({"command_id": given.command_id})
    else:
        emit(given.command_id)
    return ExitCode.OK


def _waited(client: OrchSync, command_id: str, giving: Giving, door: Door) -> int:
    def is_over() -> bool:
        return client.commanded(command_id).status in OVER

    over = stack.wait_until(is_over, int(giving.timeout * 1_000))
    record = client.commanded(command_id)
    if not over:
        waiting = _names(record.waiting) if record.waiting else "a scheduler"
        raise Unavailable(
            ErrorCode.TIMEOUT, f"command {command_id} is {record.status}; it waits for {waiting}"
        )
    return _told(record, door)


def _told(record: ControlRecord, door: Door) -> int:
    if record.error is not None:
        raise Refused(record.error.code, record.error.message, details=record.error.details)
    if door.as_json:
        emit_document(record.model_dump(mode="json"))
    else:
        _show(record)
    return ExitCode.OK if record.status is CommandStatus.DONE else ExitCode.JOB_FAILED


def _show(record: ControlRecord) -> None:
    rows = [
        ("command", f"{record.command} {record.target} {json.dumps(record.args)}"),
        ("id", record.command_id),
        ("status", record.status.value),
        ("by", f"{record.by} at {at(record.at_ms)}"),
        ("revision", "-" if record.revision is None else str(record.revision)),
        ("acknowledged", f"{len(record.acked)} of {len(record.expected)}"),
        ("waits for", _names(record.waiting)),
        ("outcome", "-" if record.outcome is None else json.dumps(record.outcome)),
    ]
    if record.ended_at_ms is not None:
        rows.append(("took", lasted(record.ended_at_ms - record.at_ms)))
    if record.error is not None:
        rows.append(("error", f"{record.error.code}: {record.error.message}"))
    for name, text in rows:
        emit(f"{name:<13} {text}")


def _names(names: list[str]) -> str:
    more = len(names) - _SHOWN_MAX
    return (", ".join(names[:_SHOWN_MAX]) or "-") + (f" and {more} more" if more > 0 else "")
