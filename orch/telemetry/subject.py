"""What is this task about? The ids that logs and exemplars carry, found when a line is written.

A task says once what it works for: an object that tells the ids of the moment when it is asked. So a runner's
lane, which runs thousands of jobs a second, does nothing for each of them.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Protocol

from orch.core.tracing import Carried, TraceContext, context_of

JOB_ID: Final = "job_id"
CORRELATION_ID: Final = "correlation_id"
TRACE_ID: Final = "trace_id"
SPAN_ID: Final = "span_id"


class Subject(Protocol):
    """Whatever a task works for."""

    def about(self) -> tuple[str, Carried | None]:
        """The job of the moment, empty when there is none (yet), and what travels with it."""
        ...


@dataclass(frozen=True, slots=True)
class OneJob:
    """One job, for as long as it is handled."""

    job_id: str
    carried: Carried | None = None

    def about(self) -> tuple[str, Carried | None]:
        """Itself."""
        return self.job_id, self.carried


_SUBJECT: Final[ContextVar[Subject | None]] = ContextVar("subject", default=None)


def works_for(subject: Subject | None) -> None:
    """From here on, this task (and what it starts) works for it."""
    _SUBJECT.set(subject)


@contextmanager
def handling(subject: Subject) -> Iterator[None]:
    """This task works for it within the block."""
    token = _SUBJECT.set(subject)
    try:
        yield
    finally:
        _SUBJECT.reset(token)


def ids_of(job_id: str, carried: Carried | None) -> dict[str, str]:
    """As they stand in a log line: job_id, trace_id, correlation_id, those that there are."""
    ids = {JOB_ID: job_id} if job_id else {}
    if carried is not None:
        context = context_of(carried.traceparent)
        if context is not None:
            ids[TRACE_ID] = context.trace_id
        if carried.correlation_id:
            ids[CORRELATION_ID] = carried.correlation_id
    return ids


def exemplar_of(span: TraceContext | None) -> dict[str, str] | None:
    """A span as the labels of an exemplar; None when there is none, or it is not recorded."""
    if span is None or not span.sampled:
        return None
    return {TRACE_ID: span.trace_id, SPAN_ID: span.span_id}


def exemplar_of_task() -> dict[str, str] | None:
    """The same, of what this task works on."""
    subject = _SUBJECT.get()
    carried = None if subject is None else subject.about()[1]
    return None if carried is None else exemplar_of(context_of(carried.traceparent))


def add_ids(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A step of structlog: the ids of what the task works for; what a line says itself stands."""
    subject = _SUBJECT.get()
    if subject is not None:
        for name, value in ids_of(*subject.about()).items():
            event.setdefault(name, value)
    return event
