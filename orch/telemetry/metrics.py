"""The metrics of every process. metrics.lint.json is their contract; a test compares both ways."""

from __future__ import annotations

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

RUN_BUCKETS_S = (0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 21600.0)


@dataclass(frozen=True, slots=True)
class Metrics:
    """One registry for each process, so that tests can hold several."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def counter(self, name: str, meaning: str, *labels: str) -> Counter:
        """A counter; `name` without its _total."""
        return Counter(name, meaning, labels, registry=self.registry)

    def gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        """A gauge."""
        return Gauge(name, meaning, labels, registry=self.registry)

    def histogram(self, name: str, meaning: str, *labels: str) -> Histogram:
        """A histogram with buckets for agent work, 10 ms to 6 h."""
        return Histogram(name, meaning, labels, registry=self.registry, buckets=RUN_BUCKETS_S)
