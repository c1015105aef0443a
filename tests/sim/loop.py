"""Virtual time and seeded scheduling: the event loop that every simulated process shares.

A process is a value of a context variable, inherited by everything it schedules. Each of its threads keeps
its own first-in-first-out queue, as asyncio promises inside one process; the seed picks which thread runs
next. Time jumps, and only when nobody can run. `kill` drops what a process scheduled for ever and keeps it
referenced, so that no `finally` runs; `freeze` skips its queues until `thaw`.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from functools import partial
from heapq import heappop, heappush
from random import Random
from types import MethodType
from typing import Any, NoReturn

from anyio._backends import _asyncio as anyio_asyncio

from tests.sim.timers import ARGS, CALLBACK, THREAD, Deadlines, SimHandle

STEPS_AT_ONE_INSTANT_MAX = 200_000
"""More turns than that without any time passing is a loop that spins."""
_CANCEL_AGAIN_S = 0.001
_CANCEL_AT_ONCE = 50
"""Deliveries of a cancellation at one instant, before they wait for time to pass."""
_DELIVER_CANCELLATION = anyio_asyncio.CancelScope._deliver_cancellation
_GRAVEYARD: list[object] = []
"""What killed processes would have done; never freed, because freeing a coroutine runs its `finally`."""


class Thread:
    """One queue of a process."""

    __slots__ = ("blocked", "listed", "process", "queue", "stalled")

    def __init__(self, process: Process) -> None:
        self.process = process
        self.queue: deque[SimHandle] = deque()
        self.listed = False
        self.stalled = False
        self.blocked = process.frozen or process.dead
        """Stalled, or its process is frozen or dead."""


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


def thread_of(context: contextvars.Context) -> Thread:
    """To which thread belongs what is scheduled with it."""
    return context.get(_THREAD, _ROOT)


def context_of(thread: Thread) -> contextvars.Context:
    """A context in which everything scheduled belongs to that thread."""
    context = contextvars.Context()
    context.run(_THREAD.set, thread)
    return context


class SimTask(asyncio.Task[Any]):
    """A task whose place in a set does not depend on its address."""

    __slots__ = ("_hash", "state")

    _numbers = itertools.count(1)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._hash = next(SimTask._numbers).__hash__
        self.state: Any = None
        """What anyio knows of it."""
        super().__init__(*args, **kwargs)


# Its number's own hash, without a Python function: anyio asks for it four times in every scope.
SimTask.__hash__ = SimTask._hash  # type: ignore[method-assign, assignment, misc]  # a slot with a method


def _make_task(
    loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **kwargs: Any
) -> SimTask:
    return SimTask(coro, loop=loop, **kwargs)


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
        self.now = 0.0
        """What `time` answers, for who asks often."""
        self._next_number = itertools.count().__next__
        self._timers: list[SimHandle] = []
        self._runnable: list[Thread] = []
        self.killed = 0
        """How many processes were."""
        self._retries = (0.0, 0)
        self.set_task_factory(_make_task)  # type: ignore[arg-type]  # any coroutine
        # asyncio prints what nobody awaited; a killed process leaves much of that.
        self.set_debug(False)
        # Each future is made without Python code of its loop's.
        self.create_future = partial(asyncio.Future, loop=self)  # type: ignore[method-assign]  # the same, without a call in between

    get_debug = staticmethod(bool)  # False; every future asks

    # -- what asyncio asks of a loop

    def time(self) -> float:
        """Virtual seconds since the beginning."""
        return self.now

    def call_soon(  # type: ignore[override]  # a handle of our own
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> SimHandle:
        """At the end of the queue of the thread that the context belongs to."""
        if (
            type(callback) is MethodType
            and callback.__func__ is _DELIVER_CANCELLATION
            and self._retried_often()
        ):
            # anyio tries again at every turn while a shielded call is under way: a real loop spins for
            # that long; here it would spin for ever, because nothing else makes the time pass.
            return self.call_at(self.now + _CANCEL_AGAIN_S, callback, *args, context=context)
        if context is None:
            context = copy_context()
        thread = context.get(_THREAD, _ROOT)
        handle = SimHandle((self.now, 0, callback, args, context, thread))
        thread.queue.append(handle)
        if not (thread.listed or thread.blocked):
            thread.listed = True
            self._runnable.append(thread)
        return handle

    def _retried_often(self) -> bool:
        if self._retries[0] != self.now:
            self._retries = (self.now, 0)
        self._retries = (self.now, self._retries[1] + 1)
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
            context = copy_context()
        when_s = self.now + delay if delay > 0 else self.now
        thread = context.get(_THREAD, _ROOT)
        handle = SimHandle((when_s, self._next_number(), callback, args, context, thread))
        if thread.process.dead:
            _GRAVEYARD.append(handle)
        else:
            heappush(self._timers, handle)
        return handle

    def call_at(  # type: ignore[override]  # as call_soon
        self,
        when: float,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> SimHandle:
        """At that virtual time."""
        if context is None:
            context = copy_context()
        thread = context.get(_THREAD, _ROOT)
        handle = SimHandle((when, self._next_number(), callback, args, context, thread))
        if thread.process.dead:
            _GRAVEYARD.append(handle)
        else:
            heappush(self._timers, handle)
        return handle

    def call_in_time(
        self,
        deadlines: Deadlines,
        callback: Callable[[], None],
        context: contextvars.Context,
        thread: Thread,
    ) -> SimHandle:
        """As call_later, after the length of these; the thread is the context's."""
        when_s = self.now + deadlines.length_s
        handle = SimHandle((when_s, self._next_number(), callback, (), context, thread))
        if thread.process.dead:
            _GRAVEYARD.append(handle)
            return handle
        deadlines.line.append(handle)
        if not deadlines.listed and (head := deadlines.head()) is not None:
            heappush(self._timers, head)
        return handle

    def push(
        self,
        delay_s: float,
        thread: Thread,
        context: contextvars.Context,
        callback: Callable[..., Any],
        *args: Any,
    ) -> None:
        """As call_later, of a thread that is known; nobody cancels it."""
        when_s = self.now + delay_s
        handle = SimHandle((when_s, self._next_number(), callback, args, context, thread))
        if thread.process.dead:
            _GRAVEYARD.append(handle)
        else:
            heappush(self._timers, handle)

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
        self.killed += 1
        for thread in process.threads:
            _GRAVEYARD.append(thread.queue)
            thread.queue = deque()
            _GRAVEYARD.append(thread.queue)  # of what the others still send it
            self._block(thread)

    def freeze(self, process: Process) -> None:
        """SIGSTOP."""
        process.frozen = True
        for thread in process.threads:
            self._block(thread)

    def thaw(self, process: Process) -> None:
        """SIGCONT: what became due in between runs now."""
        process.frozen = False
        for thread in process.threads:
            self._unblock(thread)

    def stall(self, thread: Thread) -> None:
        """User code blocks this thread; the process's others go on."""
        thread.stalled = True
        self._block(thread)

    def unstall(self, thread: Thread) -> None:
        """It returned."""
        thread.stalled = False
        self._unblock(thread)

    def _block(self, thread: Thread) -> None:
        thread.blocked = True
        if thread.listed:
            thread.listed = False
            self._runnable.remove(thread)

    def _unblock(self, thread: Thread) -> None:
        process = thread.process
        thread.blocked = thread.stalled or process.frozen or process.dead
        if thread.queue and not (thread.listed or thread.blocked):
            thread.listed = True
            self._runnable.append(thread)

    # -- the run

    def _run_once(self) -> None:
        runnable, random, turns_here = self._runnable, self._random, 0
        while not self._stopping:  # type: ignore[attr-defined]  # asyncio's own
            if not runnable:
                self._jump()
                turns_here = 0
                continue
            turns_here += 1
            if turns_here > STEPS_AT_ONE_INSTANT_MAX:
                raise Spinning(f"{runnable[0].process} spins at {self.now:.3f} s")
            thread = runnable[int(random() * len(runnable))]
            # It runs what its queue holds now, as asyncio's own loop would.
            queue = thread.queue
            for _ in range(len(queue)):
                _, _, callback, args, context, _ = queue.popleft()
                if callback is not None:
                    try:
                        context.run(callback, *args)
                    except (SystemExit, KeyboardInterrupt):
                        raise
                    except BaseException as error:  # noqa: BLE001 - as asyncio does: the loop outlives it
                        self.call_exception_handler({"message": "callback", "exception": error})
                if not thread.listed:  # killed or frozen by what it did
                    break
            else:
                if not queue:
                    thread.listed = False
                    runnable.remove(thread)

    def _jump(self) -> None:
        """To the next timer; everything due then is queued in the order of its time."""
        timers, runnable = self._timers, self._runnable
        while timers and timers[0][CALLBACK] is None:
            self._drop(heappop(timers))
        if not timers:
            raise Idle(f"nothing can run after {self.now:.3f} s")
        now = self.now = max(self.now, timers[0][0])
        while timers and timers[0][0] <= now:
            handle = heappop(timers)
            if handle[CALLBACK] is None:
                self._drop(handle)
                continue
            thread = handle[THREAD]
            thread.queue.append(handle)
            if not (thread.listed or thread.blocked):
                thread.listed = True
                runnable.append(thread)

    def _drop(self, handle: SimHandle) -> None:
        """A canceled timer goes; the head of a line makes room for the timer it stands for, and the next."""
        deadlines = handle[ARGS]
        if not deadlines:
            return
        head = deadlines.head()
        if head is not None and head[1] == handle[1]:
            heappush(self._timers, deadlines.line.popleft())
            head = deadlines.head()
        if head is not None:
            heappush(self._timers, head)
