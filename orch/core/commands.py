"""The record of a command as readers see it, from the hash that holds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from contracts.commands import CommandName, CommandStatus
from contracts.control import ControlRecord
from contracts.record import ErrorBody

_MARK = "i:"


def control_record(command_id: str, fields: Mapping[str, str]) -> ControlRecord:
    """What became of it."""
    standing = {
        name.removeprefix(_MARK): text for name, text in fields.items() if name.startswith(_MARK)
    }
    works = fields.get("works") == "1"
    status = CommandStatus(fields["status"])
    waits = status is CommandStatus.APPLIED
    return ControlRecord(
        command_id=command_id,
        command=fields["command"],
        target=fields["target"],
        args=_parsed(fields["args"]),
        by=fields["by"],
        status=status,
        revision=_number(fields, "revision"),
        expected=sorted(standing),
        acked=sorted(name for name, text in standing.items() if text not in {"waiting", "gone"}),
        waiting=sorted(name for name, text in standing.items() if waits and not _settled(text, works)),
        outcome=_outcome(fields, standing),
        error=ErrorBody.model_validate_json(fields["error"]) if "error" in fields else None,
        at_ms=int(fields["at"]),
        applied_at_ms=_number(fields, "applied_at"),
        ended_at_ms=_number(fields, "ended_at"),
    )  # fmt: skip


def _parsed(text: str) -> Any:
    """Arguments as they were meant; of a command that was refused they may be no JSON."""
    try:
        return orjson.loads(text or "{}")
    except ValueError:
        return text


def _number(fields: Mapping[str, str], name: str) -> int | None:
    return int(fields[name]) if name in fields else None


def _settled(text: str, works: bool) -> bool:
    return text != "waiting" and not (works and text == "acked")


def _outcome(fields: Mapping[str, str], standing: Mapping[str, str]) -> dict[str, Any] | None:
    reports = {
        name: orjson.loads(text.partition(" ")[2])
        for name, text in sorted(standing.items())
        if text.startswith(("done", "failed"))
    }
    gone = sorted(name for name, text in standing.items() if text == "gone")
    outcome: dict[str, Any] = orjson.loads(fields.get("outcome", "{}"))
    match fields["command"]:
        case CommandName.DRAIN if "ended_at" in fields and "revision" in fields:
            outcome |= {
                "force_stopped": sum(one["force_stopped"] for one in reports.values()),
                "left": sum(one["left"] for one in reports.values()),
                "duration_ms": int(fields["ended_at"]) - int(fields["applied_at"]),
            }
        case CommandName.RELOAD:
            for report in reports.values():
                outcome |= report
        case CommandName.CANCEL if "matched" in fields:
            outcome |= {"matched": int(fields["matched"]), "canceled": int(fields["canceled"])}
    if gone:
        outcome["gone"] = gone
    return outcome or None
