"""The lanes of a runner: tasks started once that take what was claimed, one attempt after another.

Per small job there is no task, no scope and no event. A lane that was woken goes on until nothing waits, so
that bodies which never suspend run in one lane; and it wakes two others first if more waits than it can take
at once, so that bodies which do suspend soon run in all of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from actors.runner.attempt import Attempt
from actors.runner.bench import Bench
from actors.runner.conduct import close, conduct
from actors.runner.decide import CANCELED
from orch.adapters.protocol import Ending
from orch.core.handover import ClaimEnding
from orch.core.tracing import Carried
from orch.telemetry.subject import works_for

Ended = Callable[[Attempt, ClaimEnding], bool]
"""Takes the end of an attempt; whether somebody waits for the loop to turn."""
AllBegun = Callable[[], object]
"""Hears that nothing waits for a lane any more."""
_WAKES = 2


class Lanes:
    """As many as a runner has slots."""

    def __init__(self, bench: Bench, ended: Ended, all_begun: AllBegun) -> None:
        self.bench = bench
        self.ended = ended
        self.all_begun = all_begun
        self.waiting: deque[Attempt] = deque()
        """What no lane has begun, oldest first."""
        self._idle: list[anyio.Event] = []

    def start(self, tasks: TaskGroup, count: int) -> None:
        """Each lives until the group is canceled."""
        for _ in range(count):
            tasks.start_soon(_Lane(self).run)

    def put(self, attempts: Sequence[Attempt]) -> None:
        """They begin in this order; there must be a free lane for each."""
        self.waiting.extend(attempts)
        if attempts:
            self._wake(1)

    async def woken(self) -> Attempt:
        """Rests until something waits, and takes it."""
        while not self.waiting:
            event = anyio.Event()
            self._idle.append(event)
            await event.wait()
        attempt = self.waiting.popleft()
        self._wake(min(_WAKES, len(self.waiting)))
        return attempt

    def _wake(self, count: int) -> None:
        for _ in range(min(count, len(self._idle))):
            self._idle.pop().set()


class _Lane:
    """One task."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._attempt: Attempt | None = None
        """The one in work, until its end was taken."""
        self._ending: Ending | None = None

    def about(self) -> tuple[str, Carried | None]:
        """For logs: the job in work. Said once for all of them, and asked only when there is a line."""
        offer = None if self._attempt is None else self._attempt.offer
        return ("", None) if offer is None else (offer.job_id, offer.carried)

    async def run(self) -> None:
        """Until it is canceled."""
        works_for(self)
        while True:
            # One scope serves attempt after attempt, until a stop has spent it.
            with anyio.CancelScope() as scope:
                await self._serve(scope)
            if self._attempt is not None:
                await self._end(self._attempt)

    async def _serve(self, scope: anyio.CancelScope) -> None:
        waiting = self._lanes.waiting
        while not scope.cancel_called:
            self._attempt = waiting.popleft() if waiting else await self._lanes.woken()
            if not waiting:
                self._lanes.all_begun()
            await self._work(self._attempt, scope)

    async def _work(self, attempt: Attempt, scope: anyio.CancelScope) -> None:
        if attempt.stopped_for is None:
            attempt.scope = scope
            try:
                self._ending = await conduct(attempt, self._lanes.bench)
            finally:
                # A stop that comes later must not hit the next attempt of this lane.
                attempt.scope = None
        if not scope.cancel_called:
            await self._end(attempt)

    async def _end(self, attempt: Attempt) -> None:
        # Though it was stopped, it may have come to its own end.
        ending = self._ending or attempt.stopped_for or CANCELED
        closed = await close(attempt, ending, self._lanes.bench)
        self._attempt = self._ending = None
        if self._lanes.ended(attempt, closed):
            await checkpoint()
