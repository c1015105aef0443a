"""The one module that touches the real clock, real chance and real ids.

Everything else takes `orch.ports`; ruff bans the direct calls everywhere but here.
"""

from __future__ import annotations

import random
import secrets
import time

import anyio

from orch.core.derived import ALPHABET, base32

_LETTERS = bytes(ord(ALPHABET[byte & 31]) for byte in range(256))
"""Five bits of each random byte as a letter of base32: several times faster than dividing a large number."""


def _random_letters(count: int) -> str:
    return secrets.token_bytes(count).translate(_LETTERS).decode()


class SystemClock:
    """The host's clocks."""

    def monotonic_ms(self) -> int:
        """CLOCK_MONOTONIC in milliseconds; the same for every process of the host."""
        return time.monotonic_ns() // 1_000_000

    def wall_ms(self) -> int:
        """Unix time in milliseconds."""
        return time.time_ns() // 1_000_000

    async def sleep_ms(self, duration_ms: float) -> None:
        """Wait; a cancel point."""
        await anyio.sleep(duration_ms / 1000)


class SystemIds:
    """Ids from the host's clock and its random source."""

    def __init__(self) -> None:
        self._last, self._written = 0, base32(0, 9)

    def job_id(self) -> str:
        """Nine characters of milliseconds, eleven random: 55 bits for the ids of one millisecond."""
        now = time.time_ns() // 1_000_000
        if now > self._last:
            self._last, self._written = now, base32(now, 9)
        return self._written + _random_letters(11)

    def token(self) -> str:
        """Fifty random bits."""
        return _random_letters(10)


class SystemRng:
    """Pseudo-random numbers, seeded from the host unless a seed is given."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed)  # noqa: S311 - jitter, not secrets

    def uniform(self, low: float, high: float) -> float:
        """A number in [low, high]."""
        return self._random.uniform(low, high)


def secret_letters(count: int) -> str:
    """Five random bits a letter, from the host's source for secrets."""
    return _random_letters(count)


def wall_ms() -> int:
    """Unix milliseconds, for the places that have no clock to take (the command line's rendering)."""
    return time.time_ns() // 1_000_000


def monotonic_s() -> float:
    """Monotonic seconds as fine as the host has them, for what is measured. The loop's own time is as old as
    its turn."""
    return time.perf_counter()


def monotonic_ms() -> int:
    """Monotonic milliseconds, for threads that live outside the event loop (the keeper)."""
    return time.monotonic_ns() // 1_000_000


def wall_ns() -> int:
    """Unix nanoseconds, for spans."""
    return time.time_ns()
