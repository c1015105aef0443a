"""What a command changes in the desired state, and whom it concerns: the command as data for one function.

The desired state is one hash; the functions that admit, dispatch and claim read its fields themselves, and
instances obey it. Nothing here knows what stands in it now.
"""

from __future__ import annotations

from dataclasses import dataclass

from contracts.commands import CommandName
from contracts.control import CancelArgs, Command, DrainArgs, GateArgs, SetLimitArgs

PAUSED = "paused"
_GATES = {"intake": ("intake",), "dispatch": ("dispatch",), "both": ("intake", "dispatch")}
_INTAKE_ROLES = ("admission", "gateway")
_DISPATCH_ROLES = ("runner", "scheduler")


@dataclass(frozen=True, slots=True)
class Plan:
    """A command, carried out by `apply`."""

    writes: tuple[tuple[str, str], ...] = ()
    """Field and value; an empty value removes the field, `+n` is the time in n ms."""
    roles: tuple[str, ...] = ()
    """Whose instances must acknowledge."""
    only: str = ""
    """Of those, the runners of this pool, or this one instance."""
    works: bool = False
    """An acknowledgement is not the end: the instance reports when its work is done."""
    cancels: bool = False


def plan_of(command: Command) -> Plan:
    """What the command does."""
    scope, target = command.target.text, command.target
    only = target.ids[0] if target.kind in {"pool", "runner"} else ""
    match command.args:
        case DrainArgs(deadline_ms=deadline_ms):
            by = "" if deadline_ms is None else f"+{deadline_ms}"
            writes = ((f"{scope}:drain", command.command_id), (f"{scope}:drain_by", by))
            return Plan(writes, ("runner",), only, works=True)
        case GateArgs(what=what):
            return _gates(command, scope, what)
        case CancelArgs():
            return Plan(cancels=True)
        case SetLimitArgs(limit=limit, value=value):
            written = "" if value is None else str(value)
            return Plan(((f"{scope}:{limit}", written),), (*_INTAKE_ROLES, "scheduler"))
        case _ if command.name is CommandName.RELOAD:
            return Plan((("reload", command.command_id),), ("supervisor",), only, works=True)
        case _:
            drops = ((f"{scope}:drain", ""), (f"{scope}:drain_by", ""))
            return Plan(drops, ("runner",), only)


def _gates(command: Command, scope: str, what: str) -> Plan:
    value = PAUSED if command.name is CommandName.PAUSE else ""
    gates = _GATES[what]
    roles = (_INTAKE_ROLES if "intake" in gates else ()) + (
        _DISPATCH_ROLES if "dispatch" in gates else ()
    )
    return Plan(tuple((f"{scope}:{gate}", value) for gate in gates), roles, command.target.pool())
