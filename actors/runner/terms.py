"""What the settings say about a runner."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunnerTerms:
    """What the settings say about a runner."""

    pool: str
    slots: int
    grace_ms: int
    question_ttl_ms: int
