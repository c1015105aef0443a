"""What the composition root hands to a runner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from actors.desired import Follow
from actors.runner.figures import Figures
from actors.runner.terms import RunnerTerms
from actors.runner.traced import Traced
from orch.adapters.leases import Leases as GuardLeases
from orch.adapters.registry import Adapters
from orch.blobs import Blobs
from orch.ports import Beating, Clock, Heard, Ids
from orch.store.connection import BlockingReader
from orch.store.store import Store
from orch.telemetry.health import Health

MakeKeeper = Callable[[str, Heard], Beating]
"""(instance id, what to do about what it hears) -> what beats for it."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What the composition root hands in."""

    store: Store
    reader: BlockingReader
    adapters: Adapters
    blobs: Blobs
    guards: GuardLeases
    clock: Clock
    ids: Ids
    health: Health
    figures: Figures
    keeper: MakeKeeper
    from_keeper: Callable[[Callable[[], None]], None]
    """Runs a function in the loop's thread, called from the keeper's."""
    terms: RunnerTerms
    follow: Follow
    """Hears of operators' wishes for an instance, until it is canceled."""
    traced: Traced | None = None
    """Records spans; None where nobody wants any."""
