"""The metrics of one process, built from the contract: what is not a row there cannot be made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from contracts.metrics import CATALOGUE, Metric


class Metrics:
    """One registry for each process, so that a test can hold several. A metric appears in it when it is
    first asked for: a process exports only what it can measure."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._made: dict[str, Counter | Gauge | Histogram] = {}

    def counter(self, name: str) -> Counter:
        """The counter of that contract row, name with its _total."""
        made = self._made.get(name) or self._make(name, "counter")
        assert isinstance(made, Counter)
        return made

    def gauge(self, name: str) -> Gauge:
        """The gauge of that contract row."""
        made = self._made.get(name) or self._make(name, "gauge")
        assert isinstance(made, Gauge)
        return made

    def histogram(self, name: str) -> Histogram:
        """The histogram of that contract row."""
        made = self._made.get(name) or self._make(name, "histogram")
        assert isinstance(made, Histogram)
        return made

    def counted_elsewhere(self, name: str, read: Callable[[], float]) -> None:
        """A counter whose number another object keeps; read at each scrape."""
        row = _row(name, "counter")
        self.registry.register(_Read(row, read))

    def counted_by(self, name: str, read: Callable[[], Mapping[str, float]]) -> None:
        """As `counted_elsewhere`, for a counter with one label: a number for each of its values. Every value
        of the contract is there from the start, so that a first increase is one."""
        self.registry.register(_ReadBy(_row(name, "counter"), read))

    def _make(self, name: str, kind: str) -> Counter | Gauge | Histogram:
        row = _row(name, kind)
        labels = [label.name for label in row.labels]
        if row.buckets is not None:
            made: Counter | Gauge | Histogram = Histogram(
                name, row.help, labels, registry=self.registry, buckets=row.buckets
            )
        else:
            maker = Counter if row.type == "counter" else Gauge
            made = maker(name, row.help, labels, registry=self.registry)
        self._made[name] = made
        return made


class _Read(Collector):
    def __init__(self, row: Metric, read: Callable[[], float]) -> None:
        self._row = row
        self._read = read

    def collect(self) -> Iterator[CounterMetricFamily]:
        """One sample."""
        yield CounterMetricFamily(self._row.name, self._row.help, value=self._read())


class _ReadBy(Collector):
    def __init__(self, row: Metric, read: Callable[[], Mapping[str, float]]) -> None:
        self._row = row
        self._read = read

    def collect(self) -> Iterator[CounterMetricFamily]:
        """One sample a value."""
        (label,) = self._row.labels
        family = CounterMetricFamily(self._row.name, self._row.help, labels=[label.name])
        numbers = self._read()
        for value in label.values or ():
            family.add_metric([value], numbers.get(value, 0))
        yield family


def _row(name: str, kind: str) -> Metric:
    row = CATALOGUE[name]
    assert row.type == kind, f"{name} is a {row.type} in the contract"
    return row
