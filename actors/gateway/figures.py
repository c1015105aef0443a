"""What a gateway tells operators in numbers."""

from __future__ import annotations

from collections.abc import Callable

from orch.telemetry.exemplars import exemplar
from orch.telemetry.metrics import Metrics


class Figures:
    """The gateway's metrics, bound once: no label is looked up per request."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        responses = metrics.counter("orch_http_responses_total")
        self._responses = [responses.labels(status=f"{n}xx") for n in range(1, 6)]
        self._seconds = metrics.histogram("orch_http_request_seconds").labels()
        self._gaps = metrics.counter("orch_sse_gaps_total")
        self._resyncs = metrics.counter("orch_sse_resyncs_total")

    def watches(self, *, streams: Callable[[], int], jobs: Callable[[], int]) -> None:
        """Who knows how many streams are open, and how many jobs are watched."""
        self._metrics.read("orch_sse_streams", lambda: {(): streams()})
        self._metrics.read("orch_sse_watched_jobs", lambda: {(): jobs()})

    def answered(self, status: int, duration_s: float) -> None:
        """The head of an answer left."""
        self._responses[min(max(status // 100, 1), 5) - 1].inc()
        self._seconds.observe(duration_s, exemplar())

    def told_of_gaps(self, count: int) -> None:
        """A reader was told that history was trimmed."""
        self._gaps.inc(count)

    def resynced(self) -> None:
        """A part of the feed was missed: every watcher looks again."""
        self._resyncs.inc()
