"""A claim of the demo, and what stands behind it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that the demo says, with what it expected and what it found."""

    claim: str
    expected: str
    found: str
    ok: bool
