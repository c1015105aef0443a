"""What was measured, as numbers: samples become rows, rows become ratios.

A row's value is the median of its samples, its spread (max - min) / median. A measurement that a peer does
not offer, or failed, is a row without a value and with a note; nothing is left out and nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement of one repetition."""

    peer: str
    measure: str
    mode: str
    value: float | None
    unit: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A measure of a peer in a mode."""

    peer: str
    measure: str
    mode: str
    value: float | None
    unit: str
    spread: float | None
    note: str = ""

    def document(self) -> dict[str, object]:
        """As it stands in latest.json."""
        shown: dict[str, object] = {
            "peer": self.peer,
            "measure": self.measure,
            "mode": self.mode,
            "value": None if self.value is None else rounded(self.value),
            "unit": self.unit,
            "spread": None if self.spread is None else round(self.spread, 3),
        }
        return {**shown, "note": self.note} if self.note else shown


def rounded(value: float) -> float:
    """Five figures: more would pretend."""
    return float(f"{value:.5g}")


def rows_of(samples: Iterable[Sample]) -> list[Row]:
    """One row for every peer, measure and mode, in the order of their first samples."""
    groups: dict[tuple[str, str, str], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.peer, sample.measure, sample.mode), []).append(sample)
    return [_row(group) for group in groups.values()]


def _row(group: Sequence[Sample]) -> Row:
    first = group[0]
    values = sorted(sample.value for sample in group if sample.value is not None)
    note = "; ".join(dict.fromkeys(sample.note for sample in group if sample.note))
    if not values:
        return Row(first.peer, first.measure, first.mode, None, first.unit, None, note)
    middle = median(values)
    spread = (values[-1] - values[0]) / middle if middle else 0.0
    return Row(first.peer, first.measure, first.mode, middle, first.unit, spread, note)


class Table:
    """Rows by what one asks for."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = list(rows)
        self._by = {(row.peer, row.measure, row.mode): row for row in rows}

    def value(self, peer: str, measure: str, mode: str) -> float | None:
        """The value, when it was measured."""
        row = self._by.get((peer, measure, mode))
        return row.value if row else None

    def values(self, peers: Iterable[str], measure: str, mode: str) -> dict[str, float]:
        """Of those that have one."""
        found = {peer: self.value(peer, measure, mode) for peer in peers}
        return {peer: value for peer, value in found.items() if value is not None}
