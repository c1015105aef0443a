"""A job as the fake store keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field

from contracts.record import Artifact, JobRecord, LedgerEvent, LogLine
from contracts.spec import JobSpec


@dataclass
class FakeJob:
    spec: JobSpec
    digest: str
    record: JobRecord
    events: list[LedgerEvent] = field(default_factory=list)
    lines: list[LogLine] = field(default_factory=list)
    trimmed: int = 0
    artifacts: list[Artifact] = field(default_factory=list)
