"""anyio, made to go the same way every time, and without what it asks anew at each scope and each sleep.

Cancel scopes visit their children in a set ordered by address: here, in the order they came. Which library
runs, and which loop, never changes here. What it knows of a task stands on the task instead of in a table
of weak references.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache, partial
from typing import Any

import anyio
from anyio._backends import _asyncio as anyio_asyncio
from anyio._core import _eventloop as anyio_eventloop
from anyio._core import _tasks as anyio_tasks

from orch.core import ledger
from tests.sim.loop import SimLoop, SimTask

_anyio: Any = anyio_asyncio
_Scope = _anyio.CancelScope
_INIT = _Scope.__init__
_PARSE = ledger.parse_entry
_ENTRIES_KEPT = 10_000


class _Ordered(dict[Any, None]):
    """A set in the order of its insertions; what anyio needs of one."""

    add = dict.setdefault
    remove = dict.__delitem__

    def discard(self, item: Any) -> None:
        self.pop(item, None)


class _States:
    """What anyio knows of tasks."""

    def __getitem__(self, task: SimTask) -> Any:
        if task.state is None:
            raise KeyError(task)
        return task.state

    def get(self, task: SimTask | None) -> Any:
        return None if task is None else task.state

    def __setitem__(self, task: SimTask, state: object) -> None:
        task.state = state

    def __delitem__(self, task: SimTask) -> None:
        task.state = None


def _init(self: Any, *args: Any, **kwargs: Any) -> None:
    _INIT(self, *args, **kwargs)
    self._child_scopes = _Ordered()


def remember_entries() -> None:
    """An entry of a ledger never changes, and a run reads each of them many times: it is parsed once."""
    ledger.parse_entry = lru_cache(_ENTRIES_KEPT)(_PARSE)


def tame_anyio(loop: SimLoop) -> None:
    """For as long as this process lives: it runs nothing but simulations, one after the other."""
    anyio_eventloop.current_async_library = lambda: "asyncio"
    # Which task runs is asked of this loop's entry at once.
    _anyio.current_task = partial(asyncio.tasks._current_tasks.get, loop)  # type: ignore[attr-defined]  # what anyio and asyncio keep to themselves
    _anyio._task_states = _States()
    # A run that is over leaves tasks behind, with the numbers of the new ones.
    asyncio.tasks._all_tasks.data.clear()  # type: ignore[attr-defined]  # what anyio and asyncio keep to themselves
    _Scope.__init__ = _init
    # The class itself: the one in front of it finds it anew, and makes it twice.
    anyio.CancelScope = _Scope  # type: ignore[misc]  # what anyio and asyncio keep to themselves
    anyio_tasks.CancelScope = _Scope  # type: ignore[misc]  # what anyio and asyncio keep to themselves
