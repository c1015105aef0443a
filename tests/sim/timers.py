"""What waits for its time in the simulation's loop."""

from __future__ import annotations

from collections import deque
from typing import Any

CALLBACK, ARGS, THREAD = 2, 3, 5


class SimHandle(list[Any]):
    """What waits to be run: [when, number, callback, args, context, thread].

    A list, because the heap of timers then compares (when, number) and making one runs no Python code. The
    callback is None once it was canceled. asyncio's own asks its loop for the debug mode at every step.
    """

    __slots__ = ()

    def cancel(self) -> None:
        """It is skipped when its time comes."""
        self[CALLBACK] = None
        self[ARGS] = ()

    def cancelled(self) -> bool:
        """Whether it will be skipped."""
        return self[CALLBACK] is None

    def when(self) -> float:
        """The virtual time at which it is due."""
        when_s: float = self[0]
        return when_s


class Deadlines:
    """Timers of one length, of which hardly any rings: in a line of their own, the heap knows its head."""

    __slots__ = ("length_s", "line", "listed")

    def __init__(self, length_s: float) -> None:
        self.length_s = length_s
        self.line: deque[SimHandle] = deque()
        self.listed = False

    def head(self) -> SimHandle | None:
        """What stands in the heap for the first that was not canceled; it looks like one that was."""
        line = self.line
        while line and line[0][CALLBACK] is None:
            line.popleft()
        self.listed = bool(line)
        return SimHandle((line[0][0], line[0][1], None, self, None, None)) if line else None
