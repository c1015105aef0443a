"""The end of a job that no runner and no decision brought: canceled, or its time was over."""

from __future__ import annotations

from typing import Protocol

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
