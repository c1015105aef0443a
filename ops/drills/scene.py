"""One drill while it runs: where it works, what it says and claims, and that nothing of it stays.

A claim that does not hold ends the drill (`Failed`); what this machine lacks ends it too (`Lacking`). What
was opened is closed on the way out, last opened first; a process that is left after that is a failure.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from orch.system import monotonic_ms

T = TypeVar("T")

WITHIN_S: Final = 30.0
"""Bounds a failure: a drill that goes well never waits for it."""
_LOOK_S: Final = 0.05
ENDING_S: Final = 5.0
"""How long what was ended may take to be gone."""


class Failed(Exception):
    """A claim of the drill does not hold, or a step of the runbook did not work."""


class Lacking(Exception):
    """This machine lacks what the drill needs; the message says what, and how to get it."""


@dataclass(slots=True)
class Scene:
    """Where one drill works."""

    root: Path
    say: Callable[[str], None]
    opened: ExitStack = field(default_factory=ExitStack)
    """What has to be ended."""

    def step(self, text: str) -> None:
        """What is done next."""
        self.say(f"* {text}")

    def saw(self, text: str) -> None:
        """What was found, in plain lines."""
        for line in text.rstrip().splitlines():
            self.say(f"    {line}")

    def typed(self, words: Sequence[str]) -> None:
        """A command line, as an operator would type it."""
        self.say(f"  $ {shlex.join(words)}")

    def holds(self, claim: str, fact: bool, found: object) -> None:
        """Claims something.

        Raises:
            Failed: it is not so.
        """
        if not fact:
            raise Failed(f"{claim}: found {found}")
        self.say(f"  ok  {claim} ({found})")

    def equal(self, claim: str, found: object, expected: object) -> None:
        """Claims that something is exactly so. Raises what `holds` raises."""
        if found != expected:
            raise Failed(f"{claim}: expected {expected}, found {found}")
        self.say(f"  ok  {claim} ({found})")

    def until(self, claim: str, fact: Callable[[], T | None], within_s: float = WITHIN_S) -> T:
        """Claims that something comes true in time; its first value that is neither false nor None.

        Raises:
            Failed: it did not.
        """
        began_ms = monotonic_ms()
        value = waited(fact, within_s)
        if value is None:
            raise Failed(f"{claim}: not within {within_s:g} s")
        self.say(f"  ok  {claim} (after {(monotonic_ms() - began_ms) / 1_000:.1f} s)")
        return value


def pause(duration_s: float = _LOOK_S) -> None:
    """Between two looks at a fact."""
    threading.Event().wait(duration_s)


def waited(fact: Callable[[], T | None], within_s: float = WITHIN_S) -> T | None:
    """The first value of `fact()` that is neither false nor None; None when none came in time."""
    until_ms = monotonic_ms() + int(within_s * 1_000)
    while True:
        value = fact()
        if value:
            return value
        if monotonic_ms() >= until_ms:
            return None
        pause()


@contextmanager
def scene(say: Callable[[str], None], *, ending_s: float = ENDING_S) -> Iterator[Scene]:
    """A folder to work in; afterwards neither it nor any process in it is there.

    Raises:
        Failed: a process was left and had to be killed.
    """
    root = Path(tempfile.mkdtemp(prefix="orch-drill-"))
    made = Scene(root, say)
    left: list[str] = []
    try:
        with made.opened:
            yield made
    finally:
        left = _sweep(root, ending_s)
        shutil.rmtree(root, ignore_errors=True)
    if left:
        raise Failed(f"these were left and had to be killed: {', '.join(left)}")


def _sweep(root: Path, ending_s: float) -> list[str]:
    """What still runs in the folder after a moment, killed."""
    waited(lambda: not below(root), ending_s)
    left = below(root)
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    waited(lambda: not below(root), ending_s)
    return [f"{pid} {words}" for pid, words in left.items()]


def below(root: Path) -> dict[int, str]:
    """Living processes that work in this folder or on a home in it, with their command lines; never us."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                words = (
                    (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
                works_here = (entry / "cwd").readlink().is_relative_to(root)
                if words and (works_here or f"--home {root}" in words):
                    found[int(entry.name)] = words.strip()[:120]
    return found
