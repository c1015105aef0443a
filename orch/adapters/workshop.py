"""What every adapter of one runner works with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from orch.adapters.leases import Leases
from orch.adapters.protocol import Run
from orch.ports import Clock


class Stored(Protocol):
    """What a blob store says about a stored blob."""

    @property
    def sha256(self) -> str:
        """Its name."""
        ...


class Blobs(Protocol):
    """The part of `orch.blobs.Blobs` that adapters need."""

    async def put_file(self, path: Path) -> Stored:
        """Stores a copy of the file."""
        ...

    async def put_bytes(self, data: bytes) -> Stored:
        """Stores the bytes."""
        ...


def no_token(_run: Run) -> str | None:
    """For a stack whose gateway wants no token."""
    return None


@dataclass(frozen=True, slots=True)
class Workshop:
    """Made once per runner."""

    leases: Leases
    blobs: Blobs
    clock: Clock
    scratch: Path
    """The runner's own folder for spools and artifact folders; whatever a crash leaves there is rubbish."""
    grace_ms: int
    """Between TERM and KILL."""
    python_workers: int = 2
    url: str | None = None
    """The gateway, for ORCH_URL."""
    shard: int = 0
    """Where the runner's jobs are, for ORCH_SHARD; the first needs no name."""
    token_for: Callable[[Run], str | None] = no_token
    """The scoped token of one attempt, for ORCH_TOKEN."""
    http_hosts: tuple[str, ...] = ("*",)
    """Whom http jobs may call."""
    http_env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Names and values that http jobs may send as headers; secrets."""
