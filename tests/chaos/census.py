"""Which processes of a run are there: guards and agents below a runner, and what is left at the end?"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from orch.adapters.tree import descendants


@dataclass(frozen=True, slots=True)
class Found:
    """A living process."""

    pid: int
    words: tuple[str, ...]
    claim: str

    @property
    def is_guard(self) -> bool:
        """The watchman of an agent."""
        return any("orch.adapters.guard" in word for word in self.words)

    @property
    def is_nursery(self) -> bool:
        """The mother of all actors."""
        return "tests.chaos.nursery" in self.words


def _words(pid: int) -> tuple[str, ...]:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(os.fsdecode(word) for word in raw.split(b"\0")[:-1])


def _environ(pid: int) -> dict[str, str]:
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (os.fsdecode(field).partition("=") for field in raw.split(b"\0"))
    return {key: value for key, _, value in pairs}


def guards_of(runner: int) -> list[int]:
    """The living guards that a runner has started. What a guard forks is called like it until it becomes the
    agent: to kill that is to kill an agent."""
    below = [pid for pid, state in descendants(runner) if state not in "ZX"]
    called = {pid for pid in below if any("orch.adapters.guard" in word for word in _words(pid))}
    forked = {child for guard in called for child, _ in descendants(guard)}
    return sorted(called - forked)


def leftovers(root: Path) -> list[Found]:
    """Guards, agents and workers of a run that still live: they work below its root or have it as HOME."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        pid = int(entry.name)
        environ = _environ(pid)
        try:
            is_below = (entry / "cwd").readlink().is_relative_to(root)
        except OSError:  # it is gone, or a zombie
            continue
        words = _words(pid)
        if words and (is_below or environ.get("HOME") == str(root)):
            found.append(Found(pid, words, environ.get("ORCH_CLAIM", "")))
    return found
