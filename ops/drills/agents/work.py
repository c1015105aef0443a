"""Small jobs: `work:echo` takes a moment, `work:needs` fails while something is missing."""

from __future__ import annotations

import os
import threading


def echo(value: int, duration_ms: int) -> int:
    """The value, after a while."""
    threading.Event().wait(duration_ms / 1_000)
    return value


def needs(path: str) -> str:
    """Says that it is there, or fails: a key that has ended, an endpoint that is down."""
    if not os.path.exists(path):
        message = f"{path} does not answer"
        raise RuntimeError(message)
    return "answered"
