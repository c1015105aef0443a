"""What a runner adds to traces: the wait of each attempt in its line, its work, its result, the job's end.

Only of jobs that carry a sampled context; a runner that nobody wants traces of has none of this. Times are
taken where things happen. What has to be asked of the store is asked afterwards, in a task of its own, so
that no attempt waits for its picture.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import anyio

from actors.runner.attempt import Attempt
from contracts.errors import OrchError
from contracts.states import TERMINAL
from orch.core.handover import ClaimEnding, Judgement, Offer
from orch.core.tracing import context_of
from orch.store.reading import Reading
from orch.telemetry import spans
from orch.telemetry.ends import record_ended
from orch.telemetry.exemplars import Labels
from orch.telemetry.subject import exemplar_of
from orch.telemetry.traces import Traces

WAITING_MAX: Final = 10_000
"""What the store is still to be asked about; beyond that, traces lose spans and nobody anything else."""
FAREWELL_MS: Final = 1_000


@dataclass(slots=True)
class _Open:
    """A traced attempt that this runner holds, or whose end the store has not judged."""

    trail: spans.Trail
    offer: Offer
    took_ns: int
    ended_ns: int = 0
    usage: Mapping[str, Any] | None = None


class Traced:
    """Of one runner process, over all its lives."""

    def __init__(self, traces: Traces, reading: Reading, *, pool: str) -> None:
        self._traces = traces
        self._reading = reading
        self._pool = pool
        self._open: dict[str, _Open] = {}
        self._later: deque[Callable[[], Awaitable[None]]] = deque(maxlen=WAITING_MAX)
        self._news = anyio.Event()
        self._idle = anyio.Event()

    # -- what the runner tells

    def took(self, offers: Iterable[Offer]) -> None:
        """They were claimed."""
        for offer in offers:
            carried = offer.carried
            context = None if carried is None else context_of(carried.traceparent)
            if context is not None and context.sampled:
                trail = spans.Trail(offer.job_id, context)
                self._open[offer.claim] = _Open(trail, offer, self._traces.now_ns())
                self._put(partial(self._dispatched, trail, offer.attempt))

    def exemplar(self, attempt: Attempt) -> Labels | None:
        """Its span, for numbers about it; None of an attempt that is not traced."""
        one = self._open.get(attempt.offer.claim)
        return None if one is None else exemplar_of(one.trail.attempt(attempt.offer.attempt))

    def ended(self, attempt: Attempt) -> None:
        """Its work is over."""
        one = self._open.get(attempt.offer.claim)
        if one is not None:
            one.ended_ns, one.usage = self._traces.now_ns(), attempt.usage

    def judged(self, told: Iterable[tuple[ClaimEnding, Judgement]], runner: str) -> None:
        """What the store said to the ends of attempts."""
        if not self._open:
            return
        now_ns = self._traces.now_ns()
        for ending, judgement in told:
            one = self._open.pop(ending.claim, None)
            if one is None:
                continue
            one.ended_ns = one.ended_ns or now_ns
            if judgement == "over":
                self._put(partial(self._late, one, ending, runner))
                continue
            self._worked(one, ending, runner)
            if ending.verb == "settle":
                number = one.offer.attempt
                times = one.ended_ns, now_ns
                self._traces.record(spans.settle(one.trail, number, times, judgement))
                self._put(partial(self._finished, one.trail))

    # -- and what is made of it

    async def run(self) -> None:
        """Until it is canceled."""
        while True:
            while self._later:
                await self._later.popleft()()
            self._idle.set()
            self._news = anyio.Event()
            await self._news.wait()

    async def finish(self) -> None:
        """Returns when nothing waits any more, or FAREWELL_MS are over."""
        with anyio.move_on_after(FAREWELL_MS / 1000):
            await self._idle.wait()

    def _put(self, act: Callable[[], Awaitable[None]]) -> None:
        self._later.append(act)
        if self._idle.is_set():
            self._idle = anyio.Event()
        self._news.set()

    def _worked(self, one: _Open, ending: ClaimEnding, runner: str) -> None:
        worked = spans.Worked(
            number=one.offer.attempt,
            fence=one.offer.epoch,
            runner=runner,
            started_ns=one.took_ns,
            ended_ns=one.ended_ns,
            ending=ending.payload,
            usage=one.usage,
        )
        self._traces.record(spans.attempt(one.trail, worked, spans.nature_of(one.offer.spec)))

    async def _dispatched(self, trail: spans.Trail, number: int) -> None:
        try:
            moments = await self._reading.moments(trail.job_id)
        except OrchError:
            return
        if moments is None or moments.attempt != number:
            return
        queued, claimed = moments.queued_at_ms, moments.claimed_at_ms
        if queued is not None and claimed is not None:
            self._traces.record(spans.dispatch(trail, number, queued, claimed, self._pool))

    async def _finished(self, trail: spans.Trail) -> None:
        try:
            moments = await self._reading.moments(trail.job_id)
        except OrchError:
            return
        if moments is not None:
            record_ended(self._traces, trail, moments)

    async def _late(self, one: _Open, ending: ClaimEnding, runner: str) -> None:
        """Its claim was over. A canceled or expired job is told of here; a lost attempt by fallback, which
        decided about it meanwhile."""
        try:
            moments = await self._reading.moments(one.offer.job_id)
        except OrchError:
            return
        if (
            moments is not None
            and moments.state in TERMINAL
            and moments.attempt == one.offer.attempt
            and moments.outcome in {"canceled", "expired"}
        ):
            self._worked(one, ending, runner)
            record_ended(self._traces, one.trail, moments)
