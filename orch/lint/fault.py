"""What a check finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is not as it should be."""

    rule: str
    where: str
    """A file, a metric, or a place in a file."""
    message: str
    fix: str
    """What to do about it."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a run of checks came to."""

    faults: Sequence[Fault]
    counted: dict[str, int]
    """How much was looked at, by kind."""
    skipped: Sequence[str] = ()
    """What was not looked at, and why."""
