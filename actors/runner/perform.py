"""The runner's shell: lives of one process, each with its own instance, claims and lanes.

A life begins with a registration and ends when the runner is told to stop or learns that it was buried;
then everything it started is killed and a new life begins. Lanes are started once: per job there is no
task, no span, no log line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import anyio
import structlog
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from actors.instance import Stop, depart, register, unless_stopped
from actors.outage import Outage
from actors.runner.attempt import Attempt, Bench, perform
from actors.runner.decide import handed_back
from actors.runner.ear import Ear
from actors.runner.emitter import Emitter
from actors.runner.figures import Figures
from actors.runner.recent import Recent
from actors.runner.terms import RunnerTerms
from contracts.errors import Refused, Unavailable
from contracts.limits import BATCH_ITEMS_MAX, CLAIM_EVERY_MS, MINUTE_MS
from orch.adapters.leases import Leases as GuardLeases
from orch.adapters.registry import Adapters
from orch.blobs import Blobs
from orch.core.handover import ClaimEnding, Cycled, Offer
from orch.ports import Beating, Clock, Heard, Ids
from orch.store.connection import BlockingReader
from orch.store.leases import Instance
from orch.store.store import Store
from orch.telemetry.health import Health

log = structlog.get_logger()

FAREWELL_MS = 2_000
"""After the grace: for killing what did not stop, and for delivering how it ended."""
_PAUSE_MS = 100


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


class Life:
    """One incarnation of a runner, from its registration to its burial or farewell."""

    def __init__(
        self, tools: Tools, instance: Instance, stop: Stop, endings: list[ClaimEnding]
    ) -> None:
        """`endings` are what the life before could not deliver: evidence now, for its claims are over."""
        self._tools = tools
        self._instance = instance
        self._stop = stop
        self.attempts: dict[str, Attempt] = {}
        """By claim."""
        self._endings = endings
        self._recent = Recent()
        self._work = anyio.Event()
        self._number = 0
        self._restarts = tools.store.connection.watermark.restarts
        self._reconcile_at_ms = 0
        self._bench = Bench(
            adapters=tools.adapters,
            blobs=tools.blobs,
            claims=tools.store.claims,
            emitter=Emitter(tools.store.output, tools.clock),
            clock=tools.clock,
            question_ttl_ms=tools.terms.question_ttl_ms,
        )
        self._outage = Outage("cycle", tools.clock)
        self._scope = anyio.CancelScope()
        self._ear = Ear(self, tools.reader, tools.store, instance, tools.terms, tools.clock)
        self._offers: MemoryObjectSendStream[Attempt]
        self._offers, self._lanes = anyio.create_memory_object_stream[Attempt](tools.terms.slots)

    async def live(self) -> None:
        """Until the stop, or until the runner is buried; leaves no attempt behind."""
        keeper = self._keeper()
        known = partial(register, self._tools.store.leases, self._instance, self._tools.clock)
        if not await unless_stopped(self._stop, known):
            return
        keeper.start()
        try:
            with self._scope:
                await self._work_through()
        finally:
            keeper.stop()
            self._offers.close()
            self._lanes.close()

    async def _work_through(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._bench.emitter.run)
            tasks.start_soon(self._ear.listen, tasks)
            for _ in range(self._tools.terms.slots):
                tasks.start_soon(self._lane, self._lanes.clone())
            tasks.start_soon(self._watch_stop)
            await self._cycle_until_done()
            tasks.cancel_scope.cancel()

    # -- the lease

    def _keeper(self) -> Beating:
        def confirm(sent_ms: int, lease_ms: int) -> None:
            first = not self._tools.guards.holds
            self._tools.guards.confirm(sent_ms, lease_ms)
            if first:
                self._tools.from_keeper(self.wake)

        def over() -> None:
            # In the keeper's own thread: the guards hear of it first, whatever the loop is doing.
            self._tools.guards.condemn()
            self._tools.from_keeper(self._end)

        def forgotten() -> None:
            self._tools.from_keeper(self._ear.forgotten)

        return self._tools.keeper(self._instance.instance_id, Heard(confirm, over, forgotten))

    def wake(self) -> None:
        """There is something to cycle for."""
        self._work.set()

    def has_room(self) -> bool:
        """Whether it would take another job."""
        return len(self.attempts) < self._tools.terms.slots and not self._stop.wished

    def over(self) -> None:
        """It was buried: its guards hear of it first."""
        self._tools.guards.condemn()
        self._end()

    def undelivered(self) -> list[ClaimEnding]:
        """For the next life to tell: results that came too late, and claims that were taken from it."""
        lost = [handed_back(one.offer.job_id, claim) for claim, one in self.attempts.items()]
        return self._endings + lost

    def _end(self) -> None:
        log.warning("runner_over", instance=self._instance.instance_id, held=len(self.attempts))
        self._scope.cancel()

    # -- claims and endings

    async def _cycle_until_done(self) -> None:
        while not self._is_done():
            await self._cycle()
            if not self._is_done():
                await self._until_work()

    def _is_done(self) -> bool:
        """Told to stop, and nothing is left to run or to deliver."""
        return self._stop.wished and not self.attempts and not self._endings

    async def _until_work(self) -> None:
        with anyio.move_on_after(CLAIM_EVERY_MS / 1000):
            await self._work.wait()
        self._work = anyio.Event()

    async def _cycle(self) -> None:
        endings = self._endings[:BATCH_ITEMS_MAX]
        # Before the first acknowledged beat the guards let nothing start: a job taken now would come back.
        idle = self._stop.wished or not self._tools.guards.holds
        free = 0 if idle else self._tools.terms.slots - len(self.attempts)
        try:
            cycled = await self._tools.store.claims.cycle(
                self._instance.instance_id,
                self._tools.terms.pool,
                number=self._number + 1,
                free=free,
                random=self._tools.ids.token(),
                endings=endings,
            )
            if cycled is None:
                await self._reclaim()
        except Unavailable as error:
            self._work.set()
            await self._outage.wait(error)
            return
        except Refused:
            self.over()
            return
        self._outage.over()
        if cycled is None:
            self._work.set()
            return
        # Not before they are answered: what is cut off half way is told again, by this life or the next.
        del self._endings[: len(endings)]
        self._number += 1
        self._tools.health.cycled("cycle")
        self._report(endings, cycled)
        for offer in cycled.offers:
            self._begin(offer)
        await self._reconcile()
        self._tools.figures.holds(len(self.attempts))
        if self._endings:
            self._work.set()

    async def _reclaim(self) -> None:
        """The server came back, maybe with earlier data: it hears what we work on, and again how the claims
        ended whose ends it forgot."""
        working = [attempt.working() for attempt in self.attempts.values()] + self._recent.working()
        verdicts = await self._tools.store.claims.reclaim(
            self._instance.instance_id, self._tools.terms.pool, working
        )
        in_force = {one.claim for one, holds in zip(working, verdicts, strict=True) if holds}
        for claim, attempt in self.attempts.items():
            if claim not in in_force:
                attempt.refused()
        waiting = {ending.claim for ending in self._endings}
        ended = [one.claim for one in working if one.claim in in_force - waiting]
        again = self._recent.endings(ended)
        self._endings += again
        if again:
            log.warning("endings_told_again", jobs=len(again))

    async def _reconcile(self) -> None:
        """After every restart of the server, and now and then: it may have come back with an earlier state,
        in which we hold jobs whose ends it had acknowledged. Only we could give them back while we live."""
        restarts = self._tools.store.connection.watermark.restarts
        now_ms = self._tools.clock.monotonic_ms()
        if restarts == self._restarts and now_ms < self._reconcile_at_ms:
            return
        try:
            held = await self._tools.store.claims.held(self._instance.instance_id)
        except Unavailable:
            return
        known = {*self.attempts, *(ending.claim for ending in self._endings)}
        lost = {job_id: claim for job_id, claim in held.items() if claim not in known}
        self._endings += [handed_back(job_id, claim) for job_id, claim in lost.items()]
        if lost:
            log.warning("endings_lost_by_server", jobs=len(lost))
        self._restarts = restarts
        self._reconcile_at_ms = now_ms + MINUTE_MS

    def _report(self, endings: list[ClaimEnding], cycled: Cycled) -> None:
        for ending, judgement in zip(endings, cycled.judgements, strict=True):
            self._tools.figures.ended(ending.verb, judgement)
            if judgement == "over":
                log.info("ending_refused", job=ending.job_id, claim=ending.claim, verb=ending.verb)

    def _begin(self, offer: Offer) -> None:
        attempt = Attempt(offer, self._tools.clock.monotonic_ms())
        self.attempts[offer.claim] = attempt
        # There is one place in the stream for each slot, and a claim only for a free slot.
        self._offers.send_nowait(attempt)

    async def _lane(self, lane: MemoryObjectReceiveStream[Attempt]) -> None:
        with lane:
            async for attempt in lane:
                self._ended(attempt, await perform(attempt, self._bench))
                self._tools.figures.took(self._tools.clock.monotonic_ms() - attempt.began_ms)
                self._work.set()

    def _ended(self, attempt: Attempt, ending: ClaimEnding) -> None:
        del self.attempts[attempt.offer.claim]
        self._endings.append(ending)
        self._recent.remember(attempt.working(), ending)

    # -- the exit

    async def _watch_stop(self) -> None:
        """Takes the exit (RUN-6): nothing new, what runs may finish within the grace, the rest goes back."""
        await self._stop.event.wait()
        await self._drain_lanes()
        self._work.set()
        with anyio.move_on_after(self._tools.terms.grace_ms / 1000):
            while self.attempts:
                await self._tools.clock.sleep_ms(_PAUSE_MS)
        for attempt in list(self.attempts.values()):
            attempt.interrupt()
        # A Redis that is gone for good must not keep us: what is undelivered will be found lost.
        await self._tools.clock.sleep_ms(self._tools.terms.grace_ms + FAREWELL_MS)
        log.warning("left_undelivered", endings=len(self._endings), held=len(self.attempts))
        self._scope.cancel()

    async def _drain_lanes(self) -> None:
        """Hands back what no lane has begun."""
        while True:
            try:
                attempt = self._lanes.receive_nowait()
            except anyio.WouldBlock:
                return
            attempt.interrupt()
            self._ended(attempt, await perform(attempt, self._bench))


class Runner:
    """One process: life after life."""

    def __init__(self, tools: Tools, make_instance: Callable[[], Instance], stop: Stop) -> None:
        self._tools = tools
        self._make_instance = make_instance
        self._stop = stop

    async def run(self) -> None:
        """Until the stop."""
        endings: list[ClaimEnding] = []
        while not self._stop.wished:
            instance = self._make_instance()
            life = Life(self._tools, instance, self._stop, endings)
            await life.live()
            endings = life.undelivered()
            if self._stop.wished:
                await depart(self._tools.store.leases, instance.instance_id)
