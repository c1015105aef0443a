"""What a run looks like, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from tests.chaos.nemesis import Nemesis
from tests.chaos.verdict import Violation

Servers: TypeAlias = Literal["one", "sentinels", "cluster"]
"""One server; a primary with replicas, watched by sentinels; a Cluster."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a run looks like."""

    name: str
    appendfsync: str = "always"
    engine: str = "valkey"
    seconds: float = 30.0
    lease_ms: int = 1_000
    runners: int = 6
    slots: int = 4
    others: int = 2
    submitters: int = 3
    most_open: int = 50
    pause_s: float = 0.15
    pace: float = 1.0
    only: tuple[str, ...] = ()
    servers: Servers = "one"
    small_disk: bool = False
    """Its data are on a disk of their own, which is filled."""
    jobs_min: int = 1
    """A run in which fewer complete proves too little."""
    more: Mapping[str, object] = field(default_factory=dict)
    """Settings of the actors beside the usual ones."""

    def values(self) -> dict[str, object]:
        """The settings of its actors."""
        return {
            "lease_ms": self.lease_ms, "slots": self.slots, "backoff_ms": 50, "backoff_ms_max": 500,
            "grace_ms": 500, "log_level": "info", **self.more,
        }  # fmt: skip


@dataclass
class Outcome:
    """What came of a run."""

    shape: Shape
    seed: str
    root: Path
    violations: list[Violation] = field(default_factory=list)
    nemesis: Nemesis | None = None
    skipped: dict[str, str] = field(default_factory=dict)
    jobs: Counter[str] = field(default_factory=Counter)
    notes: dict[str, Any] = field(default_factory=dict)
    invalid: list[str] = field(default_factory=list)
    """Why the run proves less than it should."""
