"""Which processes are below this one, and how is one of them signaled?

Standard library only, and little of it: the guard imports this, and its start is paid by every job.
"""

from __future__ import annotations

import os


def descendants(root: int) -> list[tuple[int, str]]:
    """Every process below `root` as (pid, state letter), parents first.

    Found by parent ids, so setsid and a double fork do not hide: the guard is the subreaper, an orphan
    becomes its child. One pass may miss a process forked meanwhile; callers repeat until it is stable.
    """
    children: dict[int, list[tuple[int, str]]] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                state, parent = file.read().rpartition(b") ")[2].split(None, 2)[:2]
        except (OSError, ValueError):
            continue
        children.setdefault(int(parent), []).append((int(name), state.decode()))
    found: list[tuple[int, str]] = []
    level = [root]
    while level:
        below = [child for pid in level for child in children.get(pid, ())]
        found.extend(below)
        level = [pid for pid, _ in below]
    return found


def send(pid: int, number: int) -> None:
    """Signals `pid`; one that has gone meanwhile, or changed its user, is no fault."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return
