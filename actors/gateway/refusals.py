"""What was refused at the door or by a route, for operators: codes and counts, never a word of what was sent.

Each kind is told at most once in TOLD_EVERY_MS: a flood of bad requests must not become one of log lines.
"""

from __future__ import annotations

from typing import Final

import structlog

from contracts.errors import ErrorCode
from orch.ports import Clock

log = structlog.get_logger()
TOLD_EVERY_MS: Final = 10_000


class Refusals:
    """By code, of which there are few."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kinds: dict[ErrorCode, tuple[int, int]] = {}

    def note(self, code: ErrorCode) -> None:
        """One more."""
        now_ms = self._clock.monotonic_ms()
        told_at_ms, untold = self._kinds.get(code, (-TOLD_EVERY_MS, 0))
        if now_ms - told_at_ms < TOLD_EVERY_MS:
            self._kinds[code] = (told_at_ms, untold + 1)
            return
        self._kinds[code] = (now_ms, 0)
        log.info("refused_at_the_door", code=code.value, count=untold + 1)
