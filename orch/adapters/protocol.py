"""What a runner and an adapter say to each other.

A runner gives an adapter one `Run` (what to do, and what earlier attempts left) and a `Desk` (where
output, durable notes and artifacts go). The adapter returns one `Ending`. It never speaks to Redis,
never decides on retries, and may be canceled at any await; then it leaves no process behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from contracts.outcomes import Outcome, ReasonCode
from contracts.record import OutputStream
from contracts.spec import JobSpec

Stream = OutputStream


@dataclass(frozen=True, slots=True)
class Claim:
    """The fenced right to run one attempt; `text` is compared whole by every function."""

    text: str
    """`<incarnation>.<n>.<random>`."""
    epoch: int
    """incarnation * 2**32 + n: the number handed to agents as ORCH_FENCE."""


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt of one job."""

    job_id: str
    attempt: int
    claim: Claim
    spec: JobSpec
    progress: Mapping[str, Any] = field(default_factory=dict)
    """What earlier attempts made durable: {step_id: {"state": started | finished, "key": …, …}}."""
    answer: Mapping[str, Any] | None = None
    """{question_id, step_id, value} not consumed yet."""
    traceparent: str | None = None
    """The span on which the agent's own hang, as W3C writes it; None for a job without a trace."""


@dataclass(frozen=True, slots=True)
class Question:
    """Asked instead of going on: the job blocks, the slot is free, the next attempt gets the answer."""

    question_id: str
    text: str
    kind: Literal["approve", "choose", "text"]
    options: tuple[str, ...] | None = None
    step_id: str | None = None
    block_reason: Literal["decision", "approval", "error"] = "decision"


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended."""

    outcome: Outcome
    reason: ReasonCode
    message: str = ""
    exit_code: int | None = None
    result: Any = None
    """JSON value; only with outcome done."""
    question: Question | None = None
    """Only with outcome human and reason question."""
    retry_after_ms: int | None = None
    """Only with outcome throttled."""


class Desk(Protocol):
    """Where a running attempt puts what must outlive it. Every call is fenced by the claim.

    Each method raises `contracts.errors.Refused` LEASE_OVER when the claim is no longer in force; the
    adapter then stops its work at once and lets the error pass.
    """

    async def output(self, stream: Stream, text: str) -> None:
        """Appends output in order, at most LOG_ENTRY_BYTES_MAX bytes of text; waits when the store is
        slow (backpressure), never drops."""
        ...

    async def note(
        self,
        event: str,
        payload: Mapping[str, Any],
        *,
        progress: Mapping[str, Any] | None = None,
        consume_answer: bool = False,
    ) -> None:
        """Appends one ledger event of the catalogue and, in the same function, replaces the durable
        progress when it is given and forgets the pending answer when `consume_answer` is set."""
        ...

    async def artifact(self, name: str, path: Path, *, step_id: str | None = None) -> str:
        """Stores a file as a blob, records `artifact_recorded` on the ledger; returns its SHA-256."""
        ...

    def pause_wished(self) -> bool:
        """Whether an operator wants this job to stop at the next step, or its runner leaves."""
        ...

    async def pause_wish(self) -> None:
        """Returns once an operator wants this job to stop."""
        ...


class Adapter(Protocol):
    """One way to run an agent."""

    async def run(self, run: Run, desk: Desk) -> Ending:
        """Runs one attempt to its end. Cancellation kills everything it started within the grace."""
        ...
