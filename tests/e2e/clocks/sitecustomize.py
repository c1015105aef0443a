"""Gives each actor of a test stack the wall clock of another host: `TEST_CLOCKS/<role>` says how many
milliseconds it is ahead, read anew at every question. Python imports this at its start (tests/e2e/hosts.py).

Monotonic clocks go on, as they do on a host whose clock is set. `datetime.now` is C and asks the kernel
itself; only log lines are stamped by it. Guards and agents start without this.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

_FOLDER = os.environ["TEST_CLOCKS"]
_WORDS = sys.orig_argv
_ROLE = _WORDS[_WORDS.index("actors") + 1] if "actors" in _WORDS[:-1] else "nobody"
_TRUE_NS, _TRUE_OF = time.time_ns, time.clock_gettime
_TRUE_GM, _TRUE_LOCAL = time.gmtime, time.localtime


def _ahead_ms() -> int:
    try:
        with open(f"{_FOLDER}/{_ROLE}") as file:
            return int(file.read())
    except FileNotFoundError:
        return 0


def _time_ns() -> int:
    return _TRUE_NS() + _ahead_ms() * 1_000_000


def _time() -> float:
    return _time_ns() / 1e9


def _clock_gettime(clock: int) -> float:
    return _time() if clock == time.CLOCK_REALTIME else _TRUE_OF(clock)


def _gmtime(seconds: float | None = None) -> Any:
    return _TRUE_GM(_time() if seconds is None else seconds)


def _localtime(seconds: float | None = None) -> Any:
    return _TRUE_LOCAL(_time() if seconds is None else seconds)


vars(time).update(
    time=_time, time_ns=_time_ns, clock_gettime=_clock_gettime, gmtime=_gmtime, localtime=_localtime
)
