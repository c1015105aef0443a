"""Hosts whose clocks are wrong: the actors of a stack, each role with a wall clock that a test may set."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.stack import Stack, a_stack, wait_until

_OWN: Final = str(Path(__file__).parent / "clocks")
_NEAR_MS: Final = 60_000
"""A clock that was set by an hour cannot be taken for one that was not."""


class Clocks:
    """The wall clocks of the roles of one stack."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def jump(self, stack: Stack, ahead_ms: Mapping[str, int]) -> None:
        """Sets them; returns when each of these parts tells the new time itself: no jump may be missed."""
        for role, ms in ahead_ms.items():
            written = self._folder / f"{role}.new"
            written.write_text(str(ms))
            written.replace(self._folder / role)
        for part, url in stack.endpoint()["metrics"].items():
            role = part.partition("-")[0]
            if role in ahead_ms:
                fact = partial(_is_ahead, stack, url, ahead_ms[role])
                wait_until(fact, what=f"the clock of {part} jumps")


def _is_ahead(stack: Stack, url: str, ms: int) -> bool:
    return abs(told_ms(url) - server_ms(stack) - ms) < _NEAR_MS


def told_ms(url: str) -> int:
    """What an actor holds for the time: its /metrics carry a Date."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        return int(parsedate_to_datetime(answer.headers["Date"]).timestamp() * 1_000)


def server_ms(stack: Stack) -> int:
    """The server's time, which alone counts."""
    seconds, micros = stack.redis.time()
    return int(seconds) * 1_000 + int(micros) // 1_000


@contextmanager
def a_stack_on_hosts(root: Path, **settings: object) -> Iterator[tuple[Stack, Clocks]]:
    """A running stack, and the clocks of its parts."""
    folder = root / "clocks"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", _OWN)
        patch.setenv("TEST_CLOCKS", str(folder))
        with a_stack(root, **settings) as stack:
            yield stack, Clocks(folder)
