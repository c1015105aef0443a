"""What the functions answer about one submission, as the values that doors give on."""

from __future__ import annotations

from typing import Any

import orjson

from contracts.errors import ErrorCode, Refused
from contracts.record import Submitted
from orch.core.ledger import state_of


def refused_of(reply: list[Any]) -> Refused:
    """`refused`, code, message, details; for load also when to come again, and which rule said no."""
    for_load = len(reply) > 4
    return Refused(
        ErrorCode(reply[1]),
        reply[2],
        details=orjson.loads(reply[3]),
        retry_after_ms=int(reply[4]) if for_load else None,
        policy_label=str(reply[5]) if for_load else None,
    )


def submitted_of(reply: list[Any]) -> Submitted:
    """`new` or `duplicate`, id, state, position, milliseconds to the start; -1 is not known."""
    return Submitted(
        job_id=reply[1],
        state=state_of(reply[2]),
        queue_position=_known(reply[3]),
        predicted_start_ms=_known(reply[4]),
        duplicate=reply[0] == "duplicate",
    )


def _known(number: int | str) -> int | None:
    return int(number) if int(number) >= 0 else None
