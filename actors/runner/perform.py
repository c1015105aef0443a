"""A runner's conversation with the store, one call at a time: how jobs ended, and which come next.

While a call is under way the lanes work, and what ends goes with the next one. An end is told at once when no
job waits for a lane; while some do, a runner with many slots calls as soon as half of them are free, so that
bodies and server work side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio
import structlog
from anyio.lowlevel import checkpoint_if_cancelled

from actors.instance import Stop
from actors.outage import Outage
from actors.runner.attempt import Attempt
from actors.runner.bench import Bench
from actors.runner.decide import handed_back
from actors.runner.held import Held
from actors.runner.lanes import Lanes
from actors.runner.recall import Recall
from actors.runner.tools import Tools
from contracts.errors import Refused, Unavailable
from contracts.limits import BATCH_ITEMS_MAX, CLAIM_EVERY_MS
from orch.core.handover import ClaimEnding, Cycled, Gone, Offer
from orch.telemetry.subject import OneJob, handling

log = structlog.get_logger()

_OVERLAP_SLOTS_MIN = 64
"""A call costs what some ten small jobs do: with fewer slots it pays to make half as many calls."""


class Cycles:
    """One life's calls, from its registration on."""

    def __init__(
        self, tools: Tools, instance_id: str, stop: Stop, held: Held, bench: Bench,
        over: Callable[[], None],
    ) -> None:  # fmt: skip
        """`over` hears that the runner was buried."""
        self._tools = tools
        self._instance_id = instance_id
        self._stop = stop
        self._held = held
        self._over = over
        self._recall = Recall(tools, instance_id, held)
        self._outage = Outage("cycle", tools.clock)
        self.lanes = Lanes(bench, self.ended, self.look)
        self._number = 0
        slots = tools.terms.slots
        self._step = -(-slots // 2) if slots >= _OVERLAP_SLOTS_MIN else slots
        """So many free slots are worth a call while the lanes are busy."""
        self._woken = False
        self._more = False
        """The last call brought all it asked for: there may be more."""
        self._rest: anyio.Event | None = None
        """Set by what there is to call for, while nothing was."""
        self._heard = 0
        """The newest epoch of what was handed to it."""
        self._may_be_handed = False
        """The last call left room: the store may claim a job for it at any time."""

    async def run(self) -> None:
        """Until the runner is told to stop and nothing is left to run or to deliver."""
        while not self._is_done():
            self._woken = False
            await self._call()
            if not self._is_done():
                await self._until_due()

    def handed(self, offer: Offer | Gone) -> None:
        """A job was claimed for this runner while it rested; told in the inbox, by a call, or by both."""
        if offer.epoch <= self._heard:
            return
        self._heard = offer.epoch
        if isinstance(offer, Gone) or self._stop.wished:
            self._held.endings.append(handed_back(offer.job_id, offer.claim))
        else:
            self._begin([offer])
        # The store hands over the next one when it knows that this one has arrived.
        self.wake()

    def wake(self) -> None:
        """There is something to call for."""
        self._woken = True
        if self._rest is not None:
            self._rest.set()

    def ended(self, attempt: Attempt, ending: ClaimEnding) -> bool:
        """An attempt came to its end; whether a call is about to be made for it."""
        self._held.end(attempt, ending)
        if attempt.offer.carried is None:
            self._took(attempt)
        else:
            with handling(OneJob(attempt.offer.job_id, attempt.offer.carried)):
                self._took(attempt)
                self._tell_of(attempt, ending)
        return self.look()

    def _took(self, attempt: Attempt) -> None:
        traced = self._tools.traced
        self._tools.figures.took(
            self._tools.clock.monotonic_ms() - attempt.began_ms,
            None if traced is None else traced.exemplar(attempt),
        )

    def _tell_of(self, attempt: Attempt, ending: ClaimEnding) -> None:
        """What carries an id from outside has a line, so that it is found by it."""
        log.info(
            "attempt_ended",
            attempt=attempt.offer.attempt,
            verb=ending.verb,
            outcome=ending.payload["outcome"],
            reason=ending.payload["reason"],
        )
        if self._tools.traced is not None:
            self._tools.traced.ended(attempt)

    def look(self) -> bool:
        """Whether a call was waited for that is due now, and is about to be made."""
        if self._rest is None or not self._is_due():
            return False
        self._rest.set()
        return True

    def _is_done(self) -> bool:
        busy = self._held.attempts or self._held.endings or self._may_be_handed
        return self._stop.wished and not busy

    def _is_due(self) -> bool:
        if self._woken:
            return True
        room = self._held.room
        if not (self._held.endings or (self._more and room)):
            return False
        return room >= self._step or not self.lanes.waiting

    async def _until_due(self) -> None:
        if self._is_due():
            # A call to the store is no cancel point, and under load there is no other.
            await checkpoint_if_cancelled()
            return
        self._rest = anyio.Event()
        with anyio.move_on_after(CLAIM_EVERY_MS / 1000):
            await self._rest.wait()
        self._rest = None

    async def _call(self) -> None:
        held = self._held
        endings = held.endings[:BATCH_ITEMS_MAX]
        # Before the first acknowledged beat a guard knows no deadline, and in a life after a burial it lets
        # nothing start: a job taken now would be without a bound, or come back.
        idle = self._stop.wished or not self._tools.guards.holds
        free = 0 if idle else held.room
        try:
            cycled = await self._tools.store.claims.cycle(
                self._instance_id,
                self._tools.terms.pool,
                number=self._number + 1,
                free=free,
                random=self._tools.ids.token(),
                endings=endings,
                heard=self._heard,
            )
            if cycled is None:
                await self._recall.reclaim()
        except Unavailable as error:
            self._woken = True
            # Who leaves does not wait for a server only to hear whether it was handed something.
            self._may_be_handed = self._may_be_handed and not self._stop.wished
            await self._outage.wait(error)
            return
        except Refused:
            self._over()
            return
        self._outage.over()
        if cycled is None:
            self._woken = True
            return
        # Not before they are answered: what is cut off half way is told again, by this life or the next.
        del held.endings[: len(endings)]
        self._number += 1
        self._more = 0 < free <= len(cycled.offers)
        self._may_be_handed = free > len(cycled.offers)
        await self._take(endings, cycled)

    async def _take(self, endings: list[ClaimEnding], cycled: Cycled) -> None:
        self._begin(cycled.offers)
        if cycled.handed is not None:
            self.handed(cycled.handed)
        self._tools.health.cycled("cycle")
        self._report(endings, cycled)
        await self._recall.reconcile()
        self._tools.figures.holds(len(self._held.attempts))

    def _begin(self, offers: Sequence[Offer]) -> None:
        if self._tools.traced is not None:
            self._tools.traced.took(offers)
        now_ms = self._tools.clock.monotonic_ms()
        self.lanes.put([self._held.begin(offer, now_ms) for offer in offers])
        self._tools.figures.began(offers)

    def _report(self, endings: list[ClaimEnding], cycled: Cycled) -> None:
        told = list(zip(endings, cycled.judgements, strict=True))
        if self._tools.traced is not None:
            self._tools.traced.judged(told, self._instance_id)
        self._tools.figures.ended(told)
        for one, judgement in told:
            if judgement == "over":
                log.info("ending_refused", job_id=one.job_id, claim=one.claim, verb=one.verb)
