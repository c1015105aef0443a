"""A submission as a door received it."""

from __future__ import annotations

from dataclasses import dataclass


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
    job_id: str | None = None
    """The id when the spec names none; follows from the stream entry."""
