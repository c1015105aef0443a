"""The metrics of one process, built from the contract: what is not a row there cannot be made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from contracts.metrics import CATALOGUE, Metric
from orch.telemetry.distribution import Histogram, combinations

# A second series beside every one, saying when it began: nobody asks for it, and it has no row.
disable_created_metrics()  # type: ignore[no-untyped-call]  # no types there

_OF_SYSTEM: Final = frozenset(
    {
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
    }
)
Read = Callable[[], Mapping[tuple[str, ...], float]]
"""Numbers that another object keeps, by the values of the row's labels in their order."""


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

    def read(self, name: str, read: Read) -> None:
        """A counter or gauge whose numbers another object keeps; read in each scrape's thread."""
        self.registry.register(_Read(CATALOGUE[name], read))

    def counted_elsewhere(self, name: str, read: Callable[[], float]) -> None:
        """A counter without labels whose number another object keeps."""
        _row(name, "counter")
        self.read(name, lambda: {(): read()})

    def counted_by(self, name: str, read: Callable[[], Mapping[str, float]]) -> None:
        """As `counted_elsewhere`, for a counter with one label: a number for each of its values. Every value
        of the contract is there from the start, so that a first increase is one."""
        (label,) = _row(name, "counter").labels
        values = label.values or ()

        def told() -> Mapping[tuple[str, ...], float]:
            numbers = read()
            return {(value,): numbers.get(value, 0) for value in values}

        self.read(name, told)

    def of_system(self) -> None:
        """What the operating system knows of this process, as far as the contract has rows for it."""
        self.registry.register(_OfSystem(ProcessCollector(registry=None)))

    def _make(self, name: str, kind: str) -> Counter | Gauge | Histogram:
        row = _row(name, kind)
        if row.buckets is not None:
            made: Counter | Gauge | Histogram = Histogram(row)
            self.registry.register(made)
        else:
            labels = [label.name for label in row.labels]
            maker = Counter if row.type == "counter" else Gauge
            made = maker(name, row.help, labels, registry=self.registry)
            if (
                row.type == "counter"
                and labels
                and all(one.values is not None for one in row.labels)
            ):
                for values in combinations(row):
                    made.labels(*values)
        self._made[name] = made
        return made


class _Read(Collector):
    def __init__(self, row: Metric, read: Read) -> None:
        self._row = row
        self._read = read

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """One sample for each set of values."""
        row = self._row
        kind = CounterMetricFamily if row.type == "counter" else GaugeMetricFamily
        family = kind(row.name, row.help, labels=[label.name for label in row.labels])
        for values, number in self._read().items():
            family.add_metric(list(values), number)
        yield family


class _OfSystem(Collector):
    def __init__(self, inner: ProcessCollector) -> None:
        self._inner = inner

    def collect(self) -> Iterator[Family]:
        """Those with a row, in the contract's words."""
        for family in self._inner.collect():
            name = f"{family.name}_total" if family.type == "counter" else family.name
            if name in _OF_SYSTEM:
                family.documentation = CATALOGUE[name].help
                yield family


def _row(name: str, kind: str) -> Metric:
    row = CATALOGUE[name]
    assert row.type == kind, f"{name} is a {row.type} in the contract"
    return row
