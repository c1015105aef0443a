"""A submission on its way through a door: what its jobs take along, and its spans.

Both doors use it: the gateway for a request, admission for an entry of the stream. Where there is neither a
context nor a correlation id nor anybody who wants traces there is no `Submitting` at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

import structlog

from contracts.errors import OrchError, Refused
from contracts.record import Submitted
from orch.core.tracing import Carried, TraceContext, context_of
from orch.telemetry import spans
from orch.telemetry.subject import OneJob, handling
from orch.telemetry.traces import Traces

log = structlog.get_logger()


def submitting(
    traces: Traces | None,
    *,
    traceparent: str | None,
    correlation_id: str = "",
    is_given: bool = False,
    began_ns: int | None = None,
) -> Submitting | None:
    """The submission; None when nothing travels and nothing is recorded. A `correlation_id` that the caller
    gave travels in any case, one of ours only beside a context; `began_ns` (Unix) is when it was sent, if not
    now."""
    parent = context_of(traceparent)
    if traces is None and parent is None and not is_given:
        return None
    context = None if traces is None else traces.begin(parent, "submit requests")
    if context is not None and not context.sampled:
        # Not recorded, so what comes after hangs on the caller's span, and is not recorded either.
        context = None
        parent = parent and TraceContext(parent.trace_id, parent.span_id, sampled=False)
        if parent is None and not is_given:
            return None
    return Submitting(traces, context, parent, correlation_id, began_ns)


class Submitting:
    """One request, of one job or of many; a context manager around all that is done for it."""

    def __init__(
        self,
        traces: Traces | None,
        context: TraceContext | None,
        parent: TraceContext | None,
        correlation_id: str,
        began_ns: int | None,
    ) -> None:
        """`context` is the request's own span; None where none is recorded."""
        self._traces = traces if context is not None else None
        self._context = context
        self._parent = parent
        self._correlation_id = correlation_id
        self._began_ns = began_ns or (0 if self._traces is None else self._traces.now_ns())
        self._asked_ns = self._began_ns
        self._taken: list[Carried] = []
        self._error: str | None = None

    @property
    def traceparent(self) -> str:
        """Of the request's own span; where none is recorded, of its caller's; empty without either."""
        context = self._context or self._parent
        return "" if context is None else context.traceparent

    def carried(self) -> Carried:
        """What the next of its jobs takes along: the span of its admission, or the caller's."""
        context = self._parent
        if self._traces is not None:
            if not self._taken:
                self._asked_ns = self._traces.now_ns()
            context = self._traces.begin(self._context, "admit queue")
        taken = Carried("" if context is None else context.traceparent, self._correlation_id)
        self._taken.append(taken)
        return taken

    def told(self, answers: Sequence[Submitted | Refused]) -> None:
        """What became of them, in the order in which `carried` was asked."""
        refused = [answer.code.value for answer in answers if isinstance(answer, Refused)]
        if len(refused) == len(answers) and refused:
            self._error = refused[0]
        for carried, answer in zip(self._taken, answers, strict=True):
            if isinstance(answer, Refused):
                self._record(carried, error=answer.code.value)
                continue
            job_id, state, duplicate = answer.job_id, answer.state.value, answer.duplicate
            with handling(OneJob(job_id, carried)):
                log.info("job_admitted", state=state, duplicate=duplicate)
            self._record(carried, job_id=job_id, state=state, duplicate=duplicate)

    def made(self, job_id: str) -> None:
        """It was no request but a timer of our own, and this job came of it."""
        with self:
            (carried,) = self._taken
            self._record(carried, job_id=job_id)

    def _record(
        self,
        carried: Carried,
        *,
        job_id: str | None = None,
        state: str | None = None,
        duplicate: bool = False,
        error: str | None = None,
    ) -> None:
        context = context_of(carried.traceparent)
        if self._traces is None or self._context is None or context is None:
            return
        times = self._asked_ns, self._traces.now_ns()
        span = spans.admit(
            context, self._context, times,
            job_id=job_id, state=state, duplicate=duplicate, error=error,
        )  # fmt: skip
        self._traces.record(span)

    def __enter__(self) -> Submitting:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._traces is None or self._context is None:
            return
        if error is not None:
            self._error = error.code.value if isinstance(error, OrchError) else type(error).__name__
        span = spans.submit(
            self._context, self._parent, (self._began_ns, self._traces.now_ns()),
            count=len(self._taken), correlation_id=self._correlation_id, error=self._error,
        )  # fmt: skip
        self._traces.record(span)
