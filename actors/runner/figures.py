"""What a runner tells operators in numbers."""

from __future__ import annotations

from collections.abc import Mapping

from orch.core.handover import Judgement
from orch.telemetry.metrics import Metrics


class Figures:
    """The runner's metrics, bound once: no label is looked up per job."""

    def __init__(self, metrics: Metrics, *, pool: str, slots: int) -> None:
        metrics.gauge("orch_runner_slots").labels(pool=pool).set(slots)
        self._attempts = metrics.gauge("orch_runner_attempts").labels(pool=pool)
        self._draining = metrics.gauge("orch_runner_draining").labels(pool=pool)
        self._endings = metrics.counter("orch_runner_endings_total")
        self._seconds = metrics.histogram("orch_runner_attempt_seconds")

    def drains(self, *, draining: bool) -> None:
        """Whether the runner takes nothing new."""
        self._draining.set(draining)

    def holds(self, attempts: int) -> None:
        """How many jobs the runner holds now."""
        self._attempts.set(attempts)

    def ended(self, answers: Mapping[tuple[str, Judgement], int]) -> None:
        """What the store answered to the endings of one call: how often, by verb and judgement."""
        for (verb, judgement), count in answers.items():
            self._endings.labels(verb=verb, accepted=judgement).inc(count)

    def took(self, duration_ms: int) -> None:
        """An attempt ended on this runner."""
        self._seconds.observe(duration_ms / 1000)
