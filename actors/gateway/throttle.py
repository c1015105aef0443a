"""How often, and how many at once: requests of a caller by time, and streams by count.

All in the memory of one process: two gateways allow twice as much. What counts for the whole house is
admission's business.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from contracts.errors import ErrorCode, Refused
from orch.ports import Clock

CALLERS_MAX: Final = 10_000
"""Callers remembered; the one that was silent longest is forgotten, and may begin with a full burst."""
STREAM_RETRY_MS: Final = 5_000


class Throttle:
    """A token bucket for each caller. With a rate of 0 nothing is limited."""

    def __init__(self, clock: Clock, *, rate: int, burst: int) -> None:
        self._clock = clock
        self._rate, self._burst = rate, max(1, burst or rate)
        self._buckets: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def spend(self, caller: str) -> None:
        """Counts one request.

        Raises:
            Refused: RATE_LIMITED, with the time until the next one is allowed.
        """
        if self._rate == 0:
            return
        now_ms = self._clock.monotonic_ms()
        left, at_ms = self._buckets.pop(caller, (float(self._burst), now_ms))
        left = min(self._burst, left + (now_ms - at_ms) * self._rate / 1_000)
        allowed = left >= 1
        self._buckets[caller] = (left - 1 if allowed else left, now_ms)
        if len(self._buckets) > CALLERS_MAX:
            self._buckets.popitem(last=False)
        if not allowed:
            raise Refused(
                ErrorCode.RATE_LIMITED,
                f"more than {self._rate} requests a second",
                retry_after_ms=max(1, int((1 - left) * 1_000 / self._rate) + 1),
                details={"http_rate": self._rate, "http_burst": self._burst},
            )


class Seats:
    """Places for what stays open, for each caller and in all."""

    def __init__(self, *, total: int, each: int) -> None:
        self._total, self._each = total, each
        self._taken: Counter[str] = Counter()
        self._sum = 0

    @property
    def taken(self) -> int:
        """Places taken now."""
        return self._sum

    @contextmanager
    def seat(self, caller: str) -> Iterator[None]:
        """A place until the block ends.

        Raises:
            Refused: RATE_LIMITED, when this caller or all together have taken theirs.
        """
        for taken, bound, name in (
            (self._taken[caller], self._each, "caller_streams_max"),
            (self._sum, self._total, "streams_max"),
        ):
            if taken >= bound:
                raise Refused(
                    ErrorCode.RATE_LIMITED,
                    f"{bound} streams are open already ({name})",
                    retry_after_ms=STREAM_RETRY_MS,
                    details={name: bound},
                )
        self._taken[caller] += 1
        self._sum += 1
        try:
            yield
        finally:
            self._sum -= 1
            self._taken[caller] -= 1
            if not self._taken[caller]:
                del self._taken[caller]
