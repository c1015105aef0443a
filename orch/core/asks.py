"""What doors ask the store for."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.record import DeadLetter


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


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which dead letters are meant; None means any."""

    tenant: str | None = None
    pool: str | None = None
    reason: str | None = None

    def fits(self, letter: DeadLetter) -> bool:
        """Whether this letter is meant; its tenant chose the list already."""
        return self.pool in (None, letter.pool) and self.reason in (None, letter.reason)
