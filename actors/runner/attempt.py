"""A claimed job while the runner holds it: who may stop it, and what the store acknowledged of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import anyio

from actors.runner.decide import CANCELED, INTERRUPTED, PAUSED, REFUSED
from actors.runner.emitter import Sheet
from orch.adapters.protocol import Ending
from orch.core.handover import Offer, Working


@dataclass(slots=True, eq=False)
class Attempt:
    """One of them, from its offer to its end."""

    offer: Offer
    began_ms: int
    pause_is_wished: bool = False
    """Set by `wish_pause`."""
    pause_wish: anyio.Event | None = None
    """Where somebody waits for such a wish."""
    drain_is_wished: bool = False
    """The time of a drain is over: it shall stop at its next step, and go back to its line."""
    leave_is_wished: bool = False
    """Its runner leaves. The same, but what has no steps may go on to its end: it has the grace for that."""
    notes: int = 0
    """The number of the last note that the store acknowledged."""
    progress: str = ""
    """The durable progress of the last of them that carried any, JSON."""
    usage: Mapping[str, Any] | None = None
    """What it has used so far, as its endpoint said last."""
    sheet: Sheet | None = None
    """Its output on the way to the store, once it said anything."""
    scope: anyio.CancelScope | None = None
    """That of its lane, while it runs there: a stop that comes later must not hit the lane's next one."""
    stopped_for: Ending | None = None

    def wish_pause(self, wished: bool) -> None:
        """An operator wants it to stop at its next step, or does not any more."""
        self.pause_is_wished = wished
        if wished and self.pause_wish is not None:
            self.pause_wish.set()

    def wish_drain(self) -> None:
        """The time of a drain is over."""
        self.drain_is_wished = True
        if self.pause_wish is not None:
            self.pause_wish.set()

    def wish_leave(self) -> None:
        """The runner leaves, after its grace at the latest."""
        self.leave_is_wished = True

    def stop(self, ending: Ending) -> None:
        """Stops the work, or keeps it from beginning; `ending` says why. The first reason counts."""
        if self.stopped_for is None:
            self.stopped_for = ending
            if self.scope is not None:
                self.scope.cancel()

    def cancel(self) -> None:
        """The job is over: canceled or expired."""
        self.stop(CANCELED)

    def refused(self) -> None:
        """The claim is over, as far as the store knows."""
        self.stop(REFUSED)

    def pause(self) -> None:
        """It did not reach a step's end within the grace."""
        self.stop(PAUSED)

    def interrupt(self) -> None:
        """The runner leaves."""
        self.stop(INTERRUPTED)

    def working(self) -> Working:
        """As a server that came back is told of it."""
        job_id, claim, epoch, number, *_ = self.offer
        return Working(job_id, claim, epoch, number, self.notes, self.progress)
