"""The picture: drain rate of one worker for every peer, both modes, as a plain SVG of our own."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from bench.rows import Row

MEASURE: Final = "drain_1"
WIDTH: Final = 720
LEFT: Final = 150
RIGHT: Final = 90
BAR: Final = 11
GAP: Final = 12
TOP: Final = 52
COLORS: Final = {"none": "#2f6f9f", "always": "#c77d2e"}
NAMES: Final = {"none": "no persistence", "always": "appendfsync always"}


def chart(rows: Sequence[Row]) -> str:
    """Bars from the fastest to the slowest; an empty picture when no drain was measured."""
    values = {
        (row.peer, row.mode): row.value for row in rows if row.measure == MEASURE and row.value
    }
    peers = sorted({peer for peer, _ in values}, key=lambda p: -_best(values, p))
    most = max(values.values(), default=1.0)
    height = TOP + len(peers) * (2 * BAR + GAP) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}">',
        "<style>text { font: 12px sans-serif }</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        '<text x="10" y="20">No-op jobs drained a second, one worker process</text>',
        *_legend(),
    ]
    for place, peer in enumerate(peers):
        parts += _bars(peer, values, TOP + place * (2 * BAR + GAP), most)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _best(values: dict[tuple[str, str], float], peer: str) -> float:
    return max(values.get((peer, mode), 0.0) for mode in COLORS)


def _legend() -> list[str]:
    parts = []
    for place, (mode, color) in enumerate(COLORS.items()):
        x = LEFT + place * 160
        parts.append(f'<rect x="{x}" y="30" width="10" height="10" fill="{color}"/>')
        parts.append(f'<text x="{x + 16}" y="39">{NAMES[mode]}</text>')
    return parts


def _bars(peer: str, values: dict[tuple[str, str], float], y: int, most: float) -> list[str]:
    parts = [f'<text x="{LEFT - 8}" y="{y + BAR + 4}" text-anchor="end">{escape(peer)}</text>']
    for line, (mode, color) in enumerate(COLORS.items()):
        value = values.get((peer, mode))
        if value is None:
            continue
        width = max(1, round((WIDTH - LEFT - RIGHT) * value / most))
        top = y + line * BAR
        parts.append(
            f'<rect x="{LEFT}" y="{top}" width="{width}" height="{BAR - 1}" fill="{color}"/>'
        )
        parts.append(f'<text x="{LEFT + width + 6}" y="{top + BAR - 2}">{value:,.0f}</text>')
    return parts
