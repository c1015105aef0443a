"""Call an agent's endpoint in the runner's own loop: what it streams becomes tokens, what it used is counted.

No process is started, so no guard watches it. Instead the attempt watches itself: without a confirmed lease
nothing is sent, and at two thirds of the lease without confirmation the open request is closed (LSE-4). What
the endpoint does with a closed request is its own affair.
"""

from __future__ import annotations

import anyio

from contracts.adapters import HttpConfig
from contracts.events import EventType
from contracts.outcomes import Outcome, ReasonCode
from orch.adapters.http_call import call_for
from orch.adapters.http_exchange import Exchange
from orch.adapters.http_outcomes import AnswerFault
from orch.adapters.http_wire import Wire
from orch.adapters.output import Output
from orch.adapters.protocol import Desk, Ending, Run
from orch.adapters.workshop import Workshop


class HttpAdapter:
    """One attempt is one request. Owns the runner's HTTP client; `aclose` closes it."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._wire = Wire(workshop.http_hosts)

    async def run(self, run: Run, desk: Desk) -> Ending:
        """Asks, and follows the answer to its end; canceled, the connection is closed at once."""
        config = HttpConfig.model_validate(run.spec.adapter.config)
        try:
            call = call_for(run, config, self._workshop)
        except AnswerFault as fault:
            return fault.ending
        output = Output(desk, self._workshop.clock, self._workshop.scratch)
        exchange = Exchange(call, config, output, self._workshop.clock)
        try:
            watch = Watch(self._workshop, desk)
            ending = await watch.over(exchange, self._wire, config.wall_ms)
            if ending.reason is ReasonCode.LEASE_OVER:
                return ending
            return await self._closed(ending, exchange, output, desk)
        finally:
            output.close()

    async def aclose(self) -> None:
        """Closes idle connections."""
        await self._wire.aclose()

    async def _closed(
        self, ending: Ending, exchange: Exchange, output: Output, desk: Desk
    ) -> Ending:
        """The ending once what it used and said is kept."""
        if exchange.tally is not None:
            await desk.note(EventType.USAGE_REPORTED, exchange.tally.document())
        stored = await output.store(self._workshop.blobs)
        if stored is not None and ending.outcome is Outcome.DONE:
            ending.result["output"] = stored
        return ending


class Watch:
    """What ends an exchange from outside: wall time, a lease that is not confirmed, a wish to pause."""

    def __init__(self, workshop: Workshop, desk: Desk) -> None:
        self._leases = workshop.leases
        self._clock = workshop.clock
        self._desk = desk
        self._ending: Ending | None = None

    async def over(self, exchange: Exchange, wire: Wire, wall_ms: int | None) -> Ending:
        """How it ended."""
        ending: Ending | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._lease, tasks.cancel_scope)
            tasks.start_soon(self._pause, tasks.cancel_scope)
            with anyio.move_on_after(None if wall_ms is None else wall_ms / 1000):
                ending = await exchange.run(wire, self._may_send)
            tasks.cancel_scope.cancel()
        if ending is None:
            ending = self._ending or Ending(
                Outcome.RESOURCE, ReasonCode.WALL_LIMIT, "stopped at its limit of wall time"
            )
        return ending

    def _may_send(self) -> None:
        """Raises when the lease is not confirmed: the job goes back, for nothing was done."""
        if self._left_ms() <= 0:
            message = "nothing was sent: the lease was not confirmed"
            raise AnswerFault(Outcome.TRANSIENT, ReasonCode.INTERRUPTED, message)

    def _left_ms(self) -> int:
        return self._leases.acts_until_ms - self._clock.monotonic_ms()

    async def _lease(self, scope: anyio.CancelScope) -> None:
        while (left_ms := self._left_ms()) > 0:
            await self._clock.sleep_ms(left_ms)
        self._ending = self._ending or Ending(
            Outcome.LOST, ReasonCode.LEASE_OVER, "closed: its lease was not confirmed"
        )
        scope.cancel()

    async def _pause(self, scope: anyio.CancelScope) -> None:
        await self._desk.pause_wish()
        self._ending = self._ending or Ending(Outcome.HUMAN, ReasonCode.PAUSED)
        scope.cancel()
