"""The lives of a runner's process, each with its own instance, claims and lanes.

A life begins with a registration and ends when the runner is told to stop or learns that it was buried;
then everything it started is killed and a new life begins.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio
import structlog

from actors.instance import Stop, depart, register, unless_stopped
from actors.runner.attempt import Attempt
from actors.runner.bench import Bench
from actors.runner.conduct import close
from actors.runner.decide import INTERRUPTED
from actors.runner.drain import Drain
from actors.runner.ear import Ear
from actors.runner.emitter import Emitter
from actors.runner.held import Held
from actors.runner.perform import Cycles
from actors.runner.tools import Tools
from contracts.errors import Refused
from orch.core.handover import ClaimEnding, Offer
from orch.ports import Beating, Heard
from orch.store.leases import Instance

log = structlog.get_logger()

FAREWELL_MS = 2_000
"""After the grace: for killing what did not stop, and for delivering how it ended."""
_PAUSE_MS = 100


class Life:
    """One incarnation of a runner, from its registration to its burial or farewell."""

    def __init__(
        self, tools: Tools, instance: Instance, stop: Stop, endings: list[ClaimEnding]
    ) -> None:
        """`endings` are what the life before could not deliver."""
        self._tools = tools
        self._instance = instance
        self._stop = stop
        self._held = Held(tools.terms.slots, endings)
        self._bench = Bench(
            adapters=tools.adapters,
            blobs=tools.blobs,
            claims=tools.store.claims,
            emitter=Emitter(tools.store.output, tools.clock),
            clock=tools.clock,
            figures=tools.figures,
            question_ttl_ms=tools.terms.question_ttl_ms,
            records_spans=tools.traced is not None,
        )
        self._scope = anyio.CancelScope()
        self._cycles = Cycles(
            tools, instance.instance_id, stop, self._held, self._bench, self.over
        )  # fmt: skip
        self._drain = Drain(tools, instance.instance_id, self._held, self.wake)
        self._ear = Ear(
            self, tools.reader, tools.store, instance, tools.terms, tools.clock, tools.health
        )

    async def live(self) -> None:
        """Until the stop, or until the runner is buried; leaves no attempt behind."""
        keeper = self._keeper()
        if not await unless_stopped(self._stop, self._be_known) or self._scope.cancel_called:
            return
        keeper.start()
        try:
            with self._scope:
                await self._work_through()
        finally:
            keeper.stop()

    async def _be_known(self) -> None:
        try:
            await register(self._tools.store.leases, self._instance, self._tools.clock)
        except Refused:
            # Registered by a call whose answer was lost, and buried before it was sent again.
            self._end()

    async def _work_through(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._bench.emitter.run)
            tasks.start_soon(self._ear.listen, tasks)
            self._cycles.lanes.start(tasks, self._tools.terms.slots)
            tasks.start_soon(self._watch_stop)
            tasks.start_soon(self._tools.follow, self._instance, self._drain.obey)
            tasks.start_soon(self._drain.run)
            await self._cycles.run()
            tasks.cancel_scope.cancel()

    # -- what the ear and the keeper tell

    @property
    def attempts(self) -> dict[str, Attempt]:
        """What it works on now, by claim."""
        return self._held.attempts

    def wake(self) -> None:
        """There is something to ask the store for."""
        self._cycles.wake()

    def handed(self, offer: Offer) -> None:
        """A job was claimed for it while it rested."""
        self._cycles.handed(offer)

    def has_room(self) -> bool:
        """Whether it would take another job."""
        return self._held.room > 0 and not self._stop.wished

    def over(self) -> None:
        """It was buried: its guards hear of it first."""
        self._tools.guards.condemn()
        self._end()

    def undelivered(self) -> list[ClaimEnding]:
        """For the next life to tell."""
        return self._held.undelivered()

    def _end(self) -> None:
        if self._scope.cancel_called:
            return
        self._tools.figures.lease_lost()
        held = len(self._held.attempts)
        log.warning("runner_over", instance=self._instance.instance_id, held=held)
        self._scope.cancel()

    def _keeper(self) -> Beating:
        def confirm(sent_ms: int, lease_ms: int) -> None:
            first = not self._tools.guards.holds
            self._tools.guards.confirm(sent_ms, lease_ms)
            self._tools.health.cycled("beat")
            if first:
                self._tools.from_keeper(self.wake)

        def over() -> None:
            # In the keeper's own thread: the guards hear of it first, whatever the loop is doing.
            self._tools.guards.condemn()
            self._tools.from_keeper(self._end)

        def forgotten() -> None:
            self._tools.from_keeper(self._ear.forgotten)

        return self._tools.keeper(self._instance.instance_id, Heard(confirm, over, forgotten))

    # -- the exit

    async def _watch_stop(self) -> None:
        """Takes the exit (RUN-6): nothing new; what has steps goes back at the end of one, what has none may
        finish within the grace, and the rest goes back."""
        await self._stop.event.wait()
        await self._hand_back_waiting()
        # At once, not late in the grace: a step that is killed in its middle may need a human to judge it.
        for attempt in self.attempts.values():
            attempt.wish_leave()
        log.info("leaving", instance=self._instance.instance_id, jobs=len(self.attempts))
        self.wake()
        with anyio.move_on_after(self._tools.terms.grace_ms / 1000):
            while self.attempts:
                await self._tools.clock.sleep_ms(_PAUSE_MS)
        for attempt in list(self.attempts.values()):
            attempt.interrupt()
        # A Redis that is gone for good must not keep us: what is undelivered will be found lost.
        await self._tools.clock.sleep_ms(self._tools.terms.grace_ms + FAREWELL_MS)
        left, held = len(self._held.endings), len(self.attempts)
        log.warning("left_undelivered", endings=left, held=held)
        self._scope.cancel()

    async def _hand_back_waiting(self) -> None:
        """What no lane has begun is not begun any more."""
        waiting = self._cycles.lanes.waiting
        while waiting:
            attempt = waiting.popleft()
            ending = attempt.stopped_for or INTERRUPTED
            self._held.end(attempt, await close(attempt, ending, self._bench))


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
