"""The life every actor process leads: it registers, beats, and stops when it is told to.

What an actor does with its life is its own module's. The runner beats from a thread of its own (the
keeper, orch.store.keeper) because user code must not starve it; the others beat from their loop.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

import anyio
import structlog
from anyio.abc import TaskStatus

from actors.outage import Outage
from contracts import limits
from contracts.errors import OrchError, Refused, Unavailable
from orch import __version__
from orch.ports import Clock
from orch.store.leases import Instance, Leases
from orch.telemetry.health import STALE_MS, Health

log = structlog.get_logger()


@dataclass(slots=True)
class Stop:
    """The wish to stop, seen by everything that loops."""

    event: anyio.Event = field(default_factory=anyio.Event)

    @property
    def wished(self) -> bool:
        """Whether the process should end."""
        return self.event.is_set()


def about(lease_ms: int) -> dict[str, str | int]:
    """What operators see of this process."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "lease_ms": lease_ms,
        "version": __version__,
    }


async def stop_on_signal(
    stop: Stop, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Sets `stop` at the first SIGTERM or SIGINT; started as soon as it would notice one."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            stop.event.set()
            return


async def keep_beating(
    leases: Leases, instance: Instance, clock: Clock, *, lease_ms: int, health: Health | None = None
) -> None:
    """Beats every third of the lease, as one who is registered; registers anew when it was buried."""
    outage = Outage("beat", clock)
    if health is not None:
        health.expect("beat", stale_ms=lease_ms)
        health.cycled("beat")  # its registration was one
    while True:
        await clock.sleep_ms(lease_ms * limits.BEAT_FRACTION)
        try:
            if not await leases.beat(instance.instance_id):
                await leases.register(instance, again=True)
            if health is not None:
                health.cycled("beat")
            outage.over()
        except Refused:
            log.warning("actor_buried", instance=instance.instance_id)
            await register(leases, instance, clock)
        except Unavailable as error:
            await outage.wait(error)


async def register(leases: Leases, instance: Instance, clock: Clock) -> None:
    """Registers, waiting for Redis as long as it takes."""
    await patiently("register", partial(leases.register, instance), clock)


async def patiently(what: str, act: Callable[[], Awaitable[None]], clock: Clock) -> None:
    """Acts once Redis can be reached, however long that takes."""
    outage = Outage(what, clock)
    while True:
        try:
            await act()
        except Unavailable as error:
            await outage.wait(error)
        else:
            return


async def unless_stopped(stop: Stop, act: Callable[[], Awaitable[None]]) -> bool:
    """Acts, but not beyond the wish to stop; whether it came to its end."""
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            await stop.event.wait()
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        await act()
        tasks.cancel_scope.cancel()
        return True
    return False


async def every(
    period_ms: int | Callable[[], int],
    act: Callable[[], Awaitable[object]],
    *,
    clock: Clock,
    health: Health,
    what: str,
    stale_ms: int | None = None,
) -> None:
    """Acts, then waits: so long, or as long as `period_ms` says when it is asked after each act. A Redis that
    is away is waited for, never fatal. What takes its time says with `stale_ms` how long, and the process is
    ready before its first round is over."""
    ask = period_ms if callable(period_ms) else lambda: period_ms
    outage = Outage(what, clock)
    health.expect(what, stale_ms=stale_ms or STALE_MS + 2 * ask())
    if stale_ms is not None:
        health.cycled(what)
    while True:
        try:
            await act()
            health.cycled(what)
            outage.over()
        except Unavailable as error:
            await outage.wait(error)
        await clock.sleep_ms(ask())


async def depart(leases: Leases, instance_id: str) -> None:
    """Says goodbye, but never waits long for a Redis that is going away too."""
    with anyio.move_on_after(1, shield=True):
        try:
            await leases.leave(instance_id)
        except OrchError as error:
            log.info("left_without_goodbye", instance=instance_id, error=error.message)
