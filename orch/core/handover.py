"""What runner, store and fallback hand to each other about one attempt.

What is made for every job is a tuple: a frozen dataclass of nine fields takes twice as long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from contracts.record import OutputStream
from orch.core.tracing import Carried

EndingVerb = Literal["settle", "release", "ask", "handback", "stop"]
Judgement = Literal["ok", "same", "over"]
"""Of an ending: accepted, accepted before (a repeated call), or its claim is over."""


class Offer(NamedTuple):
    """A job under a fresh claim; texts are JSON as stored, empty when there is none."""

    job_id: str
    claim: str
    epoch: int
    attempt: int
    spec: str
    progress: str
    answer: str
    wish: str
    outs: int
    """Pieces of output written by earlier attempts."""
    waited_ms: int = 0
    """From the moment it came into its line until this claim, on the server's clock."""
    class_name: str = ""
    carried: Carried | None = None
    """What travels with the job for traces and logs; `spec` is without it."""


class ClaimEnding(NamedTuple):
    """How a claim ends. `data` is the result (settle) or the question (ask) as JSON."""

    verb: EndingVerb
    job_id: str
    claim: str
    payload: Mapping[str, Any]
    data: str = ""
    expires_in_ms: int = 0


class Working(NamedTuple):
    """A claim that a runner works under, or whose ending it delivered lately, as a server that came back is
    told of it."""

    job_id: str
    claim: str
    epoch: int
    attempt: int
    notes: int
    """Notes that the server acknowledged."""
    progress: str
    """The durable progress of the last of them, JSON; empty when none carried any."""


class Gone(NamedTuple):
    """A claim that a runner was given and that was over before it heard of it."""

    job_id: str
    claim: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Cycled:
    """The reply of a cycle: one judgement for each ending, in order, and the jobs claimed."""

    judgements: Sequence[Judgement]
    offers: Sequence[Offer]
    handed: Offer | Gone | None = None
    """What the runner's inbox had told it, and it had not heard of."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """Consecutive output of one claim, the first piece numbered `first`."""

    job_id: str
    claim: str
    first: int
    pieces: Sequence[tuple[OutputStream, str]]


@dataclass(frozen=True, slots=True)
class Undecided:
    """An outcome as fallback finds it."""

    job_id: str
    seq: str
    entry_id: str
    spec: str
    ending: str
    failures: int
    crashes: int
    attempt: int = 0
    """The one that ended so."""
    claimed_at_ms: int = 0
    runner: str = ""
    carried: Carried | None = None
    """What travels with the job for traces and logs; `spec` is without it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What fallback decided, for the store to carry out."""

    job_id: str
    seq: str
    entry_id: str
    verb: Literal["retry", "backoff", "fail", "block"]
    delay_ms: int
    payload: Mapping[str, Any]
    failures: int
    crashes: int
