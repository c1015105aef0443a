"""What could a dead runner or a dead guard have left, and how is it removed?

Every process of an agent carries ORCH_CLAIM in its environment, every python worker ORCH_WORKER. Their
marks are read back from /proc; only processes of our own user are looked at.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from itertools import count
from typing import Final

from orch.adapters.tree import descendants, send

CLAIM_MARK: Final = "ORCH_CLAIM"
JOB_MARK: Final = "ORCH_JOB_ID"
WORKER_MARK: Final = "ORCH_WORKER"
GUARD_MARK: Final = "ORCH_GUARD"
"""Carried by guards themselves: which runner started it."""
_MARKS: Final = (CLAIM_MARK, JOB_MARK, WORKER_MARK, GUARD_MARK)
ROUNDS_MAX: Final = 200
"""Rounds of KILL before giving up on a process that the kernel does not let die."""


def started_ticks(pid: int) -> str | None:
    """When `pid` started, in clock ticks since boot: with the pid, the name of one process for ever."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2].split()[19].decode()
    except (OSError, IndexError):
        return None


def owner_mark() -> str:
    """This process for ever: `<pid>.<start>`."""
    return f"{os.getpid()}.{started_ticks(os.getpid())}"


_WORKERS: Final = count(1)


def worker_mark() -> str:
    """ORCH_WORKER of one worker: `<pid>.<start>.<n>`. Each has its own, for when its guard is lost all that
    carries its mark is killed, and its neighbours must live."""
    return f"{owner_mark()}.{next(_WORKERS)}"


def owner_lives(mark: str) -> bool:
    """Whether the process that an `owner_mark` or a `worker_mark` names still runs."""
    pid, _, rest = mark.partition(".")
    return pid.isdigit() and started_ticks(int(pid)) == rest.partition(".")[0]


def _ancestors(pid: int) -> dict[int, str]:
    """`pid` and those above it, with the letter of each one's state."""
    seen: dict[int, str] = {}
    while pid > 0 and pid not in seen:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                state, parent = file.read().rpartition(b") ")[2].split(None, 2)[:2]
        except (OSError, ValueError):
            break
        seen[pid] = state.decode()
        pid = int(parent)
    return seen


def _is_guarded(pid: int) -> bool:
    """Whether a guard that can act stands above it: that one ends it in its own time, and says why.
    One that is frozen cannot."""
    above = _ancestors(pid)
    return any(
        GUARD_MARK in _marks(str(one)) for one, state in above.items() if state not in "TtZX"
    )


def _marks(pid: str) -> dict[str, str]:
    try:
        if os.stat(f"/proc/{pid}").st_uid != os.getuid():
            return {}
        with open(f"/proc/{pid}/environ", "rb") as file:
            fields = file.read().split(b"\0")
    except OSError:
        return {}
    pairs = (field.decode("utf-8", "replace").partition("=") for field in fields)
    return {key: value for key, _, value in pairs if key in _MARKS}


def _marked() -> Iterator[tuple[int, dict[str, str]]]:
    # A runner started by an agent of another stack carries a mark itself.
    spared = _ancestors(os.getpid())
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in spared:
            marks = _marks(name)
            if marks:
                yield int(name), marks


def _kill_while(find: Callable[[], list[int]]) -> int:
    """KILLs what `find` returns until it returns nothing; how many processes that were."""
    killed: set[int] = set()
    for _ in range(ROUNDS_MAX):
        found = find()
        if not found:
            break
        for pid in found:
            send(pid, signal.SIGKILL)
        killed.update(found)
    return len(killed)


def kill_marked(key: str, value: str) -> int:
    """KILLs every process whose mark `key` is `value`; how many there were."""
    return _kill_while(lambda: [pid for pid, marks in _marked() if marks.get(key) == value])


def kill_below(root: int) -> int:
    """KILLs every living descendant of `root`, not `root` itself; how many there were."""
    return _kill_while(lambda: [pid for pid, state in descendants(root) if state not in "ZX"])


def claimed() -> set[tuple[str, str]]:
    """(job id, claim) of every agent of our user on this host, of this stack or another."""
    found = {(marks.get(JOB_MARK, ""), marks.get(CLAIM_MARK, "")) for _, marks in _marked()}
    return {(job_id, claim) for job_id, claim in found if job_id and claim}


def sweep(mark_is_dead: Callable[[str], bool]) -> int:
    """KILLs what dead runners left: processes whose ORCH_CLAIM `mark_is_dead` knows to be over and that no
    guard watches any more, and python workers whose runner is gone. Called at runner start; returns how many
    there were."""

    def dead() -> list[int]:
        return [pid for pid, marks in _marked() if _is_dead(pid, marks, mark_is_dead)]

    return _kill_while(dead)


def _is_dead(pid: int, marks: dict[str, str], mark_is_dead: Callable[[str], bool]) -> bool:
    claim, worker = marks.get(CLAIM_MARK), marks.get(WORKER_MARK)
    if worker is not None and not owner_lives(worker):
        return True
    return claim is not None and mark_is_dead(claim) and not _is_guarded(pid)
