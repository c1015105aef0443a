"""Virtual time and seeded scheduling: the event loop that every simulated process shares.

A process is a value of a context variable, inherited by everything it schedules. Each of its threads keeps
its own first-in-first-out queue, as asyncio promises inside one process; the seed picks which thread runs
next. Time jumps, and only when nobody can run. `kill` drops what a process scheduled for ever and keeps it
referenced, so that no `finally` runs; `freeze` skips its queues until `thaw`.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, NoReturn

from anyio._backends import _asyncio as anyio_asyncio
from anyio._core import _eventloop as anyio_eventloop

STEPS_AT_ONE_INSTANT_MAX = 200_000
"""More turns than that without any time passing is a loop that spins."""
_CANCEL_AGAIN_S = 0.001
_CANCEL_AT_ONCE = 50
"""Deliveries of a cancellation at one instant, before they wait for time to pass."""
_DELIVER_CANCELLATION = anyio_asyncio.CancelScope._deliver_cancellation
_GRAVEYARD: list[object] = []
"""What killed processes would have done; never freed, because freeing a coroutine runs its `finally`."""


class SimHandle:
    """What waits to be run; asyncio's own asks its loop for the debug mode at every step of its life."""

    __slots__ = ("args", "callback", "context", "thread", "when_s")

    def __init__(
        self,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
        context: contextvars.Context,
        when_s: float,
    ) -> None:
        self.callback: Callable[..., Any] | None = callback
        """None, once it was canceled."""
        self.args = args
        self.context = context
        self.thread = context.get(_THREAD, _ROOT)
        self.when_s = when_s

    def cancel(self) -> None:
        """It is skipped when its time comes."""
        self.callback = None
        self.args = ()

    def cancelled(self) -> bool:
        """Whether it will be skipped."""
        return self.callback is None

    def when(self) -> float:
        """The virtual time at which it is due."""
        return self.when_s


class Thread:
    """One queue of a process."""

    __slots__ = ("listed", "process", "queue", "stalled")

    def __init__(self, process: Process) -> None:
        self.process = process
        self.queue: deque[SimHandle] = deque()
        self.listed = False
        self.stalled = False


class Process:
    """Something that can be killed and frozen as a whole."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.frozen = False
        self.main = Thread(self)
        self.threads = [self.main]

    def thread(self) -> Thread:
        """Another thread, which a stall of the main one does not stop."""
        thread = Thread(self)
        self.threads.append(thread)
        return thread

    def __repr__(self) -> str:
        return self.name


_ROOT = Thread(Process("root"))
_THREAD: contextvars.ContextVar[Thread] = contextvars.ContextVar("sim_thread")


def current_process() -> Process:
    """The process whose code runs."""
    return _THREAD.get(_ROOT).process


def context_of(thread: Thread) -> contextvars.Context:
    """A context in which everything scheduled belongs to that thread."""
    context = contextvars.Context()
    context.run(_THREAD.set, thread)
    return context


class SimTask(asyncio.Task[Any]):
    """A task whose place in a set does not depend on its address."""

    _numbers = itertools.count(1)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._number = next(SimTask._numbers)
        super().__init__(*args, **kwargs)

    def __hash__(self) -> int:
        return self._number


def _make_task(
    loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **kwargs: Any
) -> SimTask:
    return SimTask(coro, loop=loop, **kwargs)


class _Ordered(dict[Any, None]):
    """A set in the order of its insertions; what anyio needs of one."""

    def add(self, item: Any) -> None:
        self[item] = None

    def remove(self, item: Any) -> None:
        del self[item]

    def discard(self, item: Any) -> None:
        self.pop(item, None)


def tame_anyio() -> None:
    """Cancel scopes visit their children in a set ordered by address: here, in the order they came.

    And anyio finds out anew which library runs, for each of them and for each sleep: here it never changes.
    """
    anyio_eventloop.current_async_library = lambda: "asyncio"
    scope_class = anyio_asyncio.CancelScope
    init = scope_class.__init__
    if getattr(init, "is_tame", False):
        return

    def tame(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        self._child_scopes = _Ordered()

    tame.is_tame = True  # type: ignore[attr-defined]  # a mark on the function
    scope_class.__init__ = tame  # type: ignore[method-assign]  # anyio's scopes, in a fixed order


class Spinning(Exception):
    """A process runs on and on without any time passing."""


class Idle(Exception):
    """Nothing is left that could ever run."""


class SimLoop(asyncio.BaseEventLoop):
    """See the module."""

    def __init__(self, seed: str) -> None:
        super().__init__()
        SimTask._numbers = itertools.count(1)  # whatever ran in this process before
        self._random = Random(seed).random
        self._now = 0.0
        self._numbers = itertools.count()
        self._timers: list[tuple[float, int, SimHandle]] = []
        self._runnable: list[Thread] = []
        self._retries = (0.0, 0)
        self.set_task_factory(_make_task)  # type: ignore[arg-type]  # any coroutine
        # asyncio prints what nobody awaited; a killed process leaves much of that.
        self.set_debug(False)

    # -- what asyncio asks of a loop

    def time(self) -> float:
        """Virtual seconds since the beginning."""
        return self._now

    def call_soon(  # type: ignore[override]  # a handle of our own
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> SimHandle:
        """At the end of the queue of the thread that the context belongs to."""
        if getattr(callback, "__func__", None) is _DELIVER_CANCELLATION and self._retried_often():
            # anyio tries again at every turn while a shielded call is under way: a real loop spins for
            # that long; here it would spin for ever, because nothing else makes the time pass.
            return self.call_at(self._now + _CANCEL_AGAIN_S, callback, *args, context=context)
        if context is None:
            context = contextvars.copy_context()
        handle = SimHandle(callback, args, context, self._now)
        self._enqueue(handle)
        return handle

    def _retried_often(self) -> bool:
        if self._retries[0] != self._now:
            self._retries = (self._now, 0)
        self._retries = (self._now, self._retries[1] + 1)
        return self._retries[1] > _CANCEL_AT_ONCE

    call_soon_threadsafe = call_soon  # type: ignore[assignment]  # there is one thread

    def call_later(  # type: ignore[override]  # as call_soon
        self,
        delay: float,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> SimHandle:
        """After so many virtual seconds."""
        if context is None:
            context = contextvars.copy_context()
        when_s = self._now + delay if delay > 0 else self._now
        return self._set_timer(SimHandle(callback, args, context, when_s))

    def call_at(  # type: ignore[override]  # as call_soon
        self,
        when: float,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> SimHandle:
        """At that virtual time."""
        if context is None:
            context = contextvars.copy_context()
        return self._set_timer(SimHandle(callback, args, context, when))

    def _set_timer(self, handle: SimHandle) -> SimHandle:
        if handle.thread.process.dead:
            _GRAVEYARD.append(handle)
        else:
            heapq.heappush(self._timers, (handle.when_s, next(self._numbers), handle))
        return handle

    def run_in_executor(self, *_args: Any) -> NoReturn:  # type: ignore[override]  # nothing leaves the loop
        """Real threads know nothing of virtual time."""
        raise RuntimeError("a simulated process may not start a thread")

    # -- processes

    def start(
        self, thread: Thread, main: Coroutine[Any, Any, Any], *, name: str | None = None
    ) -> asyncio.Task[Any]:
        """A task of that thread."""
        return self.create_task(main, name=name, context=context_of(thread))

    def on_thread(self, thread: Thread, act: Callable[[], None]) -> None:
        """Runs a function there, called from anywhere."""
        self.call_soon(act, context=context_of(thread))

    def kill(self, process: Process) -> None:
        """kill -9: nothing of it runs any more, not even its `finally` blocks."""
        process.dead = True
        for thread in process.threads:
            _GRAVEYARD.append(thread.queue)
            thread.queue = deque()
            self._unlist(thread)

    def freeze(self, process: Process) -> None:
        """SIGSTOP."""
        process.frozen = True
        for thread in process.threads:
            self._unlist(thread)

    def thaw(self, process: Process) -> None:
        """SIGCONT: what became due in between runs now."""
        process.frozen = False
        for thread in process.threads:
            self._list(thread)

    def stall(self, thread: Thread) -> None:
        """User code blocks this thread; the process's others go on."""
        thread.stalled = True
        self._unlist(thread)

    def unstall(self, thread: Thread) -> None:
        """It returned."""
        thread.stalled = False
        self._list(thread)

    def _enqueue(self, handle: SimHandle) -> None:
        thread = handle.thread
        if thread.process.dead:
            _GRAVEYARD.append(handle)
            return
        thread.queue.append(handle)
        if not thread.listed:
            self._list(thread)

    def _list(self, thread: Thread) -> None:
        process = thread.process
        if thread.queue and not (thread.listed or thread.stalled or process.frozen or process.dead):
            thread.listed = True
            self._runnable.append(thread)

    def _unlist(self, thread: Thread) -> None:
        if thread.listed:
            thread.listed = False
            self._runnable.remove(thread)

    # -- the run

    def _run_once(self) -> None:
        runnable, turns_here = self._runnable, 0
        while not self._stopping:  # type: ignore[attr-defined]  # asyncio's own
            if not runnable:
                self._jump()
                turns_here = 0
                continue
            turns_here += 1
            if turns_here > STEPS_AT_ONE_INSTANT_MAX:
                raise Spinning(f"{runnable[0].process} spins at {self._now:.3f} s")
            self._turn(runnable[int(self._random() * len(runnable))])

    def _turn(self, thread: Thread) -> None:
        """It runs what its queue holds now, as asyncio's own loop would."""
        queue = thread.queue
        for _ in range(len(queue)):
            handle = queue.popleft()
            if handle.callback is not None:
                try:
                    handle.context.run(handle.callback, *handle.args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:  # noqa: BLE001 - as asyncio does: the loop outlives it
                    self.call_exception_handler({"message": "callback", "exception": error})
            if not thread.listed:  # killed or frozen by what it did
                return
        if not queue:
            thread.listed = False
            self._runnable.remove(thread)

    def _jump(self) -> None:
        """To the next timer; everything due then is queued in the order of its time."""
        timers = self._timers
        while timers and timers[0][2].callback is None:
            heapq.heappop(timers)
        if not timers:
            raise Idle(f"nothing can run after {self._now:.3f} s")
        now = self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= now:
            handle = heapq.heappop(timers)[2]
            if handle.callback is not None:
                self._enqueue(handle)
