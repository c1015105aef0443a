"""Where words go: data to stdout, talk to stderr, errors by the table of exit codes.

Text that came from a job is made harmless before a human sees it: a name must not move the cursor.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

from contracts.errors import OrchError


def show_error(error: OrchError, *, as_json: bool) -> int:
    """Tell of a failure: the error body on stdout with --json, else two lines on stderr, and
    a third where it is known when to try again. Its exit code."""
    if as_json:
        body = getattr(error, "answer", None) or error.body()
        print(json.dumps(body, ensure_ascii=False), flush=True)
    else:
        print(f"{error.code}: {harmless(error.message)}", file=sys.stderr)
        print(harmless(error.hint), file=sys.stderr)
        if error.retry_after_ms is not None:
            rule = f" ({harmless(error.policy_label)})" if error.policy_label else ""
            print(f"retry after {error.retry_after_ms} ms{rule}", file=sys.stderr)
    return int(error.entry.exit_code)


def say(text: str) -> None:
    """Talk: to stderr, never part of the data."""
    print(text, file=sys.stderr, flush=True)


def say_renamed(warnings: Sequence[str]) -> None:
    """Talk of settings that were given by an old name: `Settings.renamed`."""
    for warning in warnings:
        say(f"warning: {harmless(warning)}")


def emit(text: str) -> None:
    """Data: one line or more to stdout, at once, so that a pipe sees it when it happens."""
    print(text, flush=True)


def emit_body(body: bytes) -> None:
    """An HTTP body exactly as it came, and a line's end."""
    emit(body.decode("utf-8", "replace"))


def emit_document(document: Any) -> None:
    """One JSON document on one line."""
    emit(json.dumps(document, ensure_ascii=False, separators=(",", ":")))


def harmless(text: str) -> str:
    """`text` without control characters; line breaks become spaces."""
    return "".join(
        c if c.isprintable() else " " if c in "\n\t\r" else "\N{REPLACEMENT CHARACTER}"
        for c in text
    )


def is_coloured() -> bool:
    """Whether stdout takes colour: a terminal, and nobody said NO_COLOR."""
    return (
        sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    )


def emit_piece(text: str) -> None:
    """A piece of a job's output as it is, line end or not."""
    print(text, end="", flush=True)


def emit_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Aligned columns; on a terminal states have their colour. A long row is left to the terminal to wrap."""
    safe = [[harmless(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(headers, *safe, strict=True)]
    show = _coloured_row if is_coloured() else _plain_row
    for row in (headers, *safe):
        show(row, widths)


def _plain_row(cells: Sequence[str], widths: Sequence[int]) -> None:
    emit("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())


def _coloured_row(cells: Sequence[str], widths: Sequence[int]) -> None:
    from rich.console import Console
    from rich.text import Text

    line = Text()
    for cell, width in zip(cells, widths, strict=True):
        line.append(
            cell.ljust(width + 2), style=_STYLES.get(cell, "bold" if cell.isupper() else "")
        )
    line.rstrip()
    Console().print(line, soft_wrap=True)


_STYLES: Final = {
    "completed": "green",
    "done": "green",
    "failed": "red",
    "expired": "red",
    "lost": "red",
    "blocked": "yellow",
    "running": "cyan",
}
