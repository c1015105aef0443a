"""How the demo talks: plain lines, for pipes and for terminals that want no more.

`bright.py` says the same on a terminal with colour, a spinner and a progress bar. A reader who goes away
stops nothing but the talk: what was started must still be taken down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, Literal, TextIO

from orch.demo.check import Check

Style = Literal["title", "plain", "quiet", "good", "bad", "news", "added", "removed", "code"]
_DIFF_STYLES: Final[dict[str, Style]] = {"+": "added", "-": "removed", "@": "news"}
ASCII: Final = str.maketrans({"✓": "+", "✗": "!", "→": ">", "│": "|", "…": ".", "·": "-"})

"""What stands for our signs where the stream's encoding has none of them."""


class Voice:
    """Says things to one stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_plain = not _can_say(stream, "✓✗→│…·")

    def line(self, text: str, style: Style = "plain") -> None:
        """One line."""
        safe = harmless(text)
        with suppress(OSError, ValueError):
            print(safe.translate(ASCII) if self._is_plain else safe, file=self._stream, flush=True)

    def heading(self, text: str) -> None:
        """A new part begins."""
        self.line("")
        self.line(text, "title")

    def say(self, text: str) -> None:
        """What the demo itself does or wants to be known."""
        self.line(f"  {text}")

    def event(self, text: str) -> None:
        """What a ledger says has happened."""
        self.line(f"    → {text}", "news")

    def output(self, text: str) -> None:
        """What an agent printed."""
        for piece in text.rstrip("\n").split("\n"):
            self.line(f"      │ {piece}", "quiet")

    def check(self, check: Check) -> None:
        """A claim and, when it does not hold, what was expected and what was found."""
        if check.ok:
            self.line(f"  ✓ {check.claim}", "good")
            return
        self.line(f"  ✗ {check.claim}", "bad")
        self.line(f"      expected: {check.expected}", "bad")
        self.line(f"      found:    {check.found}", "bad")

    def command(self, words: str) -> None:
        """A command line to type."""
        self.line(f"    {words}", "code")

    def diff(self, text: str) -> None:
        """A unified diff."""
        for piece in text.splitlines():
            self.line(f"      {piece}", _diff_style(piece))

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Aligned columns."""
        widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
        for row in (headers, *rows):
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.line(f"  {'  '.join(cells).rstrip()}")

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """While something takes its time."""
        self.line(f"  … {text}", "quiet")
        yield

    @contextmanager
    def progress(self, total: int, text: str) -> Iterator[Callable[[int], None]]:
        """While `total` things get done; call what it gives with how many are done."""
        self.line(f"  … {text}", "quiet")
        told = 0

        def tell(done: int) -> None:
            nonlocal told
            fifth = 5 * done // total
            if fifth > told:
                told = fifth
                self.line(f"    {done} of {total}", "quiet")

        yield tell


def harmless(text: str) -> str:
    """`text` without control characters: what an agent prints must not move the cursor."""
    return "".join(
        c if c.isprintable() else "  " if c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def _can_say(stream: TextIO, text: str) -> bool:
    try:
        text.encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _diff_style(line: str) -> Style:
    if line.startswith(("+++", "---", "diff ", "index ")):
        return "quiet"
    return _DIFF_STYLES.get(line[:1], "plain")
