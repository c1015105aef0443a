"""A histogram that takes many values at once, and knows how many label sets it may have.

The one of prometheus_client takes a lock and walks its buckets for every value, which a runner of 35,000
jobs a second would notice. Values come from one thread, and a scrape copies the counts in one step.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from math import inf
from typing import Any, Final

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from contracts.metrics import Metric
from orch.telemetry.exemplars import LABELS_CHARS_MAX, Labels

OTHER: Final = "other"
"""The value of a label that would have one value too many."""


class Distribution:
    """One histogram with its labels filled in."""

    __slots__ = ("_bounds", "_counts", "_exemplars", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._exemplars: dict[int, Exemplar] = {}

    def observe(self, value: float, exemplar: Labels | None = None) -> None:
        """One value, with the trace behind it."""
        at = bisect_left(self._bounds, value)
        self._counts[at] += 1
        self._sum += value
        if (
            exemplar is not None
            and sum(map(len, (*exemplar, *exemplar.values()))) <= LABELS_CHARS_MAX
        ):
            self._exemplars[at] = Exemplar(dict(exemplar), value)

    def observe_all(self, values: Iterable[float]) -> None:
        """Values of one batch."""
        bounds, counts, total = self._bounds, self._counts, 0.0
        for value in values:
            counts[bisect_left(bounds, value)] += 1
            total += value
        self._sum += total

    def into(self, family: HistogramMetricFamily, labels: list[str]) -> None:
        """Its samples, cumulative as the format wants them."""
        counts, exemplars, total = self._counts.copy(), self._exemplars.copy(), 0
        buckets: list[Any] = []
        for at, count in enumerate(counts):
            total += count
            bound = self._bounds[at] if at < len(self._bounds) else inf
            buckets.append((floatToGoString(bound), total, exemplars.get(at)))  # type: ignore[no-untyped-call]  # no types there
        family.add_metric(labels, buckets, self._sum)


class Histogram(Collector):
    """The histogram of one row. Every listed value of a label is there from the start."""

    def __init__(self, row: Metric) -> None:
        assert row.buckets is not None
        self._row = row
        self._children: dict[tuple[str, ...], Distribution] = {}
        if all(label.values is not None for label in row.labels):
            for values in combinations(row):
                self._child(values)

    def labels(self, **values: str) -> Distribution:
        """The one with these labels; look it up once, not for every value."""
        return self._child(bounded(self._row, values, self._children))

    def observe(self, value: float, exemplar: Labels | None = None) -> None:
        """One value of a histogram without labels."""
        self._child(()).observe(value, exemplar)

    def observe_all(self, values: Iterable[float]) -> None:
        """Values of one batch, of a histogram without labels."""
        self._child(()).observe_all(values)

    def _child(self, values: tuple[str, ...]) -> Distribution:
        child = self._children.get(values)
        if child is None:
            assert len(values) == len(self._row.labels), f"{self._row.name} has other labels"
            child = self._children[values] = Distribution(self._row.buckets or ())
        return child

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """All samples."""
        names = [label.name for label in self._row.labels]
        family = HistogramMetricFamily(self._row.name, self._row.help, labels=names)
        for values, child in list(self._children.items()):
            child.into(family, list(values))
        yield family


def combinations(row: Metric) -> list[tuple[str, ...]]:
    """Every set of values of a row whose labels are all listed."""
    found: list[tuple[str, ...]] = [()]
    for label in row.labels:
        found = [(*head, value) for head in found for value in label.values or ()]
    return found


def bounded(
    row: Metric, given: dict[str, str], known: Iterable[tuple[str, ...]]
) -> tuple[str, ...]:
    """The values in the row's order, none beyond what the contract allows: one too many is told as `other`.

    A listed label with a value that is not listed is a defect of ours; one that is counted takes names from
    outside, which no metric may follow without end (MET-2).
    """
    assert given.keys() == {label.name for label in row.labels}, f"{row.name} has other labels"
    seen = list(known)
    values = []
    for at, label in enumerate(row.labels):
        value = given[label.name]
        if label.values is not None:
            assert value in label.values, f"{row.name}: {value} is no value of {label.name}"
        else:
            met = {one[at] for one in seen}
            if value not in met and len(met | {OTHER}) >= (label.max or 0):
                value = OTHER
        values.append(value)
    return tuple(values)
