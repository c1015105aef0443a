"""What every attempt of a runner works with."""

from __future__ import annotations

from dataclasses import dataclass

from actors.runner.emitter import Emitter
from actors.runner.figures import Figures
from orch.adapters.registry import Adapters
from orch.blobs import Blobs
from orch.ports import Clock
from orch.store.claims import Claims


@dataclass(frozen=True, slots=True)
class Bench:
    """What every attempt of a runner works with."""

    adapters: Adapters
    blobs: Blobs
    claims: Claims
    emitter: Emitter
    clock: Clock
    figures: Figures
    question_ttl_ms: int
    records_spans: bool = False
    """Whether an attempt of a traced job has a span of its own, on which its agent's spans hang."""
