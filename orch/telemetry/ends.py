"""The end of a job that no runner and no decision brought: canceled, or its time was over."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

import anyio

from contracts.errors import OrchError
from contracts.states import TERMINAL
from orch.core.tracing import Carried, Moments, context_of
from orch.telemetry import spans
from orch.telemetry.traces import Traces


class Jobs(Protocol):
    """What has to be known of a job."""

    async def moments(self, job_id: str) -> Moments | None:
        """When what happened to it."""
        ...

    async def carried(self, job_id: str) -> Carried | None:
        """What travels with it."""
        ...


WAITING_MAX: Final = 10_000
"""Jobs whose end is still to be recorded; beyond it the oldest go without."""


class Ends:
    """Records, beside a process's work, the ends that its calls brought about on the way."""

    def __init__(self, traces: Traces, jobs: Jobs) -> None:
        self._traces = traces
        self._jobs = jobs
        self._waiting: deque[str] = deque(maxlen=WAITING_MAX)
        self._news: anyio.Event | None = None

    def put(self, job_ids: Sequence[str]) -> None:
        """They are over."""
        self._waiting.extend(job_ids)
        if job_ids and self._news is not None:
            self._news.set()

    async def run(self) -> None:
        """Until it is canceled."""
        while True:
            while self._waiting:
                await record_end(self._traces, self._jobs, self._waiting.popleft())
            self._news = anyio.Event()
            await self._news.wait()


async def record_end(traces: Traces, jobs: Jobs, job_id: str) -> None:
    """Records that a job is over, if it is and has a trace. A store that does not answer costs the span,
    nothing else."""
    try:
        carried = await jobs.carried(job_id)
        context = None if carried is None else context_of(carried.traceparent)
        if context is None or not context.sampled:
            return
        moments = await jobs.moments(job_id)
    except OrchError:
        return
    if moments is not None:
        record_ended(traces, spans.Trail(job_id, context), moments)


def record_ended(traces: Traces, trail: spans.Trail, moments: Moments) -> None:
    """The same, of a job whose moments are known."""
    if moments.state in TERMINAL and moments.finished_at_ms is not None:
        at_ns = moments.finished_at_ms * 1_000_000
        traces.record(spans.end(trail, at_ns, state=moments.state.value, outcome=moments.outcome))
