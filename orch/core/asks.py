"""What doors ask the store for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts.record import DeadLetter
from contracts.states import State
from orch.core.tracing import Carried


@dataclass(frozen=True, slots=True)
class Ask:
    """What admission judges; the document is not validated yet."""

    document: object
    """The parsed JSON or YAML."""
    idempotency_key: str | None = None
    """From a header; the spec's own key when absent."""
    entry_id: str = ""
    """The entry in `requests`, when it came through the stream."""
    request_id: str = ""
    """Where a raw producer looks for its answer."""
    tenant: str | None = None
    """The caller's: taken where the document names none, and no other is admitted; None: any."""
    job_id: str | None = None
    """The id when the spec names none; follows from the stream entry."""
    carried: Carried | None = None
    """What the job takes along for traces and logs; no part of its content."""


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which dead letters are meant; None means any."""

    tenant: str | None = None
    pool: str | None = None
    reason: str | None = None

    def fits(self, letter: DeadLetter) -> bool:
        """Whether this letter is meant; its tenant chose the list already."""
        return self.pool in (None, letter.pool) and self.reason in (None, letter.reason)


@dataclass(frozen=True, slots=True)
class ScheduleFilter:
    """Which schedules are meant; None means any."""

    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs are meant; None means any. Each part that is given must fit."""

    tenant: str | None = None
    state: State | None = None
    pool: str | None = None
    name: str | None = None
    session: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    created_from_ms: int | None = None
    created_to_ms: int | None = None

    @property
    def asks_the_head(self) -> bool:
        """Whether state, pool or time have to be read to tell."""
        return any(
            one is not None
            for one in (self.state, self.pool, self.created_from_ms, self.created_to_ms)
        )

    @property
    def asks_the_spec(self) -> bool:
        """Whether a job's spec has to be read to tell."""
        return bool(self.name is not None or self.session is not None or self.labels)

    def fits(self, state: State, pool: str, created_at_ms: int) -> bool:
        """Whether a job that stands so may be meant; its tenant chose the list already."""
        return (
            self.state in (None, state)
            and self.pool in (None, pool)
            and (self.created_from_ms is None or created_at_ms >= self.created_from_ms)
            and (self.created_to_ms is None or created_at_ms < self.created_to_ms)
        )

    def fits_spec(self, spec: Mapping[str, Any]) -> bool:
        """Whether a job with this spec may be meant."""
        labels = spec.get("labels") or {}
        return (
            self.name in (None, spec.get("name"))
            and self.session in (None, spec.get("session"))
            and all(labels.get(key) == value for key, value in self.labels)
        )


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """Which sessions are meant; None means any."""

    tenant: str | None = None
