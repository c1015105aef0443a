"""Traces that a test looks at: the promises of `orch.telemetry.traces.Traces`, kept in a list."""

from __future__ import annotations

from itertools import count

from orch.core.tracing import TraceContext
from orch.telemetry.traces import Span


class Album:
    """Samples everything, or nothing."""

    def __init__(self, *, samples: bool = True) -> None:
        self.spans: list[Span] = []
        self._samples = samples
        self._ids = count(1)
        self._now_ns = 0

    def begin(self, parent: TraceContext | None, _name: str) -> TraceContext:
        """The next id."""
        span_id = f"{next(self._ids):016x}"
        trace_id = "a" * 32 if parent is None else parent.trace_id
        follows = self._samples and (parent is None or parent.sampled)
        return TraceContext(trace_id, span_id, follows)

    def now_ns(self) -> int:
        """One later each time."""
        self._now_ns += 1
        return self._now_ns

    def record(self, span: Span) -> None:
        """Kept."""
        if span.context.sampled:
            self.spans.append(span)

    def close(self) -> None:
        """Nothing to do."""

    def named(self, name: str) -> list[Span]:
        """Those of a name."""
        return [span for span in self.spans if span.name == name]
