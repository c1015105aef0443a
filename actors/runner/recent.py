"""The endings that a runner told the server of lately, should the server come back without them.

A failover or `everysec` may undo what was acknowledged. The runner still knows: it takes its claims back
(`reclaim`) and delivers the endings again, so that no finished work is done twice for a lost second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from contracts.limits import BATCH_ITEMS_MAX, MIB
from orch.core.handover import ClaimEnding, Working

BYTES_MAX = 16 * MIB


class Recent:
    """The newest endings, bounded in number and size."""

    def __init__(self) -> None:
        self._kept: deque[tuple[Working, ClaimEnding]] = deque()
        self._bytes = 0

    def remember(self, working: Working, ending: ClaimEnding) -> None:
        """One more; the oldest give way."""
        self._kept.append((working, ending))
        self._bytes += _size(working, ending)
        while len(self._kept) > BATCH_ITEMS_MAX or self._bytes > BYTES_MAX:
            self._bytes -= _size(*self._kept.popleft())

    def working(self) -> list[Working]:
        """What they were about, oldest first."""
        return [working for working, _ in self._kept]

    def endings(self, claims: Iterable[str]) -> list[ClaimEnding]:
        """The endings of those claims that are remembered."""
        kept = {ending.claim: ending for _, ending in self._kept}
        return [kept[claim] for claim in claims if claim in kept]


def _size(working: Working, ending: ClaimEnding) -> int:
    return len(working.progress) + len(ending.data)
