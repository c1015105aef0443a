"""The voice on a terminal: the same words with colour, a spinner, a progress bar. NO_COLOR is honoured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text
from typing_extensions import override

from orch.demo.voice import ASCII, Style, Voice, harmless

STYLES: Final[dict[Style, str]] = {
    "title": "bold",
    "plain": "",
    "quiet": "bright_black",
    "good": "green",
    "bad": "bold red",
    "news": "cyan",
    "added": "green",
    "removed": "red",
    "code": "bold",
}


class BrightVoice(Voice):
    """Says things to a terminal, through rich."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._console = Console(file=stream, highlight=False)

    @override
    def line(self, text: str, style: Style = "plain") -> None:
        with suppress(OSError):
            self._console.print(
                Text(self._sayable(text), STYLES[style]), soft_wrap=True, emoji=False
            )

    @override
    def heading(self, text: str) -> None:
        self.line("")
        with suppress(OSError):
            self._console.rule(
                Text(self._sayable(text), STYLES["title"]),
                align="left",
                characters="-" if self._is_plain else "─",
            )

    @override
    def table(self, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2), header_style="bold")
        for header in headers:
            table.add_column(header)
        for row in rows:
            table.add_row(*(Text(self._sayable(cell), _cell_style(cell)) for cell in row))
        with suppress(OSError):
            self._console.print(table)

    @override
    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        spinner = "line" if self._is_plain else "dots"
        with self._console.status(Text(self._sayable(text)), spinner=spinner):
            yield

    @override
    @contextmanager
    def progress(self, total: int, text: str) -> Iterator[Callable[[int], None]]:
        bar = Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
        )
        with bar:
            task = bar.add_task(text, total=total)
            yield lambda done: bar.update(task, completed=done)

    def _sayable(self, text: str) -> str:
        safe = harmless(text)
        return safe.translate(ASCII) if self._is_plain else safe


def _cell_style(cell: str) -> str:
    if cell.startswith("✓") or cell == "completed":
        return STYLES["good"]
    return STYLES["bad"] if cell.startswith("✗") else ""
