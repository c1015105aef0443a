"""Which commands there are, and how far one can have come: words alone.

Apart from `control.py`, whose models are dear to import: the command line needs these to show its help.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class CommandName(StrEnum):
    """What can be commanded."""

    DRAIN = "drain"
    """No new claims; what runs may finish, until the deadline."""
    UNDRAIN = "undrain"
    PAUSE = "pause"
    """Nothing is taken in, nothing is given out, or both."""
    RESUME = "resume"
    CANCEL = "cancel"
    """Every live job that the filter fits and that was there when the command came."""
    SET_LIMIT = "set-limit"
    """Overrides a setting for one pool, line, tenant or key; null lifts the override."""
    RELOAD = "reload"
    """The supervisor reads its configuration again, and goes on with it if it is sound."""


class CommandStatus(StrEnum):
    """How far a command has come."""

    PUSHED = "pushed"
    """It stands in the stream; no scheduler has read it yet."""
    APPLIED = "applied"
    """The desired state says so; not every instance has acknowledged, or its work goes on."""
    DONE = "done"
    REFUSED = "refused"
    """It changed nothing; `error` says why."""
    FAILED = "failed"
    """It was tried and taken back; `outcome` says why."""


OVER: Final = frozenset({CommandStatus.DONE, CommandStatus.REFUSED, CommandStatus.FAILED})
