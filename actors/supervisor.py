"""The supervisor: a whole stack on one machine, each actor a process of its own.

It starts the private server when no Redis URL is given, restarts what dies, and is the one who knows at
once that a runner is dead. It holds no state: kill it and the stack stops; the next start goes on.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import structlog

from actors.body import make_store
from actors.children import Child, Part, leave_together
from actors.instance import Stop, stop_on_signal
from contracts.errors import ErrorCode, OrchError, Refused
from contracts.limits import BATCH_ITEMS_MAX
from orch.settings import Settings
from orch.store.embedded import private_server
from orch.store.store import Store
from orch.system import SystemClock

log = structlog.get_logger()

RESTART_MS_FIRST = 200
RESTART_MS_MAX = 5_000
EXIT_MS = 3_000
"""Above twice the grace (an agent may finish, then is asked to leave): the farewell itself."""


@dataclass(slots=True)
class Stack:
    """What runs, and where it can be found."""

    home: Path
    settings: Settings
    config: str | None
    overrides: tuple[str, ...]
    stop: Stop = field(default_factory=Stop)
    clock: SystemClock = field(default_factory=SystemClock)
    children: dict[str, Child] = field(default_factory=dict)
    metrics: dict[str, str] = field(default_factory=dict)
    url: str = ""
    started_at_ms: int = 0


@asynccontextmanager
async def _server(stack: Stack, tasks: anyio.abc.TaskGroup) -> AsyncIterator[str]:
    """The Redis URL: the settings', or that of a private server, which is started again when it dies."""
    if stack.settings.redis_url is not None:
        yield stack.settings.redis_url
        return
    done = anyio.Event()
    stopped = anyio.Event()
    url: str = await tasks.start(_keep_server, stack, done, stopped)
    try:
        yield url
    finally:
        done.set()
        with anyio.CancelScope(shield=True):
            await stopped.wait()


async def _keep_server(
    stack: Stack,
    done: anyio.Event,
    stopped: anyio.Event,
    *,
    task_status: anyio.abc.TaskStatus[str] = anyio.TASK_STATUS_IGNORED,
) -> None:
    first = True
    try:
        with anyio.CancelScope(shield=True):
            while not done.is_set():
                async with private_server(
                    stack.home, appendfsync=stack.settings.appendfsync
                ) as server:
                    log.info(
                        "server_ready", engine=server.engine, version=server.version, pid=server.pid
                    )
                    if first:
                        task_status.started(server.url)
                        first = False
                    async with anyio.create_task_group() as watch:
                        watch.start_soon(_cancel_when, server.died, watch.cancel_scope)
                        await done.wait()
                        watch.cancel_scope.cancel()
                if not done.is_set():
                    log.error("server_died", log=str(server.log))
    finally:
        stopped.set()


async def _cancel_when(fact: Any, scope: anyio.CancelScope) -> None:
    await fact()
    scope.cancel()


def _parts(stack: Stack, listener: socket.socket) -> list[Part]:
    common = ["--home", str(stack.home)]
    if stack.config:
        common += ["--config", stack.config]
    for word in stack.overrides:
        common += ["--set", word]
    roles = [
        Part(f"{role}-1", role, tuple(common))
        for role in ("admission", "scheduler", "reaper", "fallback", "notifier")
    ]
    gateway = Part(
        "gateway-1",
        "gateway",
        (*common, "--socket-fd", str(listener.fileno())),
        (listener.fileno(),),
    )
    runners = [
        Part(
            f"runner-{pool}-{n}",
            "runner",
            (*common, "--set", f"pool={pool}", "--url", stack.url),
            has_lifeline=True,
        )
        for pool in stack.settings.pools
        for n in range(1, stack.settings.runners + 1)
    ]
    return [*roles, gateway, *runners]


async def _keep(
    part: Part, stack: Stack, store: Store, env: dict[str, str], first_up: anyio.Event
) -> None:
    """Starts a part again whenever it ends, with a growing pause when it ends at once."""
    pause_ms = RESTART_MS_FIRST
    while not stack.stop.wished:
        started_ms = stack.clock.monotonic_ms()
        child = Child(part, env)
        stack.children[part.name] = child
        port = await child.ready()
        if port is not None:
            stack.metrics[part.name] = f"http://127.0.0.1:{port}/metrics"
            first_up.set()
            write_endpoint(stack)
        code = await child.ended()
        if stack.stop.wished:
            return
        log.error("part_ended", part=part.name, pid=child.pid, code=code)
        if part.has_lifeline:
            await _bury_runner(child, store)
        lived_ms = stack.clock.monotonic_ms() - started_ms
        pause_ms = (
            RESTART_MS_FIRST if lived_ms > RESTART_MS_MAX else min(pause_ms * 2, RESTART_MS_MAX)
        )
        await stack.clock.sleep_ms(pause_ms)


async def _bury_runner(child: Child, store: Store) -> None:
    """At once, but only when its guards have exited: until then an agent of its could still act."""
    await child.guards_gone()
    try:
        await bury_processes(store, {child.pid})
    except OrchError as error:
        log.warning("burial_left_to_reaper", pid=child.pid, error=error.message)


async def bury_processes(store: Store, pids: set[int]) -> None:
    """Buries the instances of processes of this host that are known to be dead."""
    beats = await store.leases.beats()
    for instance_id, about in (await store.leases.instances()).items():
        if about.get("host") == socket.gethostname() and about.get("pid") in pids:
            await _bury(store, instance_id, beats.get(instance_id, 0))


async def _bury(store: Store, instance_id: str, counter: int) -> None:
    while True:
        burial = await store.leases.bury(instance_id, counter, age_ms=0, most=BATCH_ITEMS_MAX)
        log.info("buried_at_once", instance=instance_id, freed=burial.freed)
        if not burial.left:
            return


async def bury_predecessors(store: Store) -> None:
    """With a private server only our own processes ever connect; those of an earlier start are dead once
    no process with their id is an actor."""
    pids = {int(about["pid"]) for about in (await store.leases.instances()).values()}
    await bury_processes(store, {pid for pid in pids if not is_actor(pid)})


def is_actor(pid: int) -> bool:
    """Whether a process of this id is an actor of ours."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"actors" in words


def write_endpoint(stack: Stack) -> None:
    """Says where the stack is; atomically, for the owner only."""
    document = {
        "url": stack.url,
        "pid": os.getpid(),
        "redis_url": stack.settings.redis_url,
        "metrics": dict(sorted(stack.metrics.items())),
        "started_at_ms": stack.started_at_ms,
    }
    write_private(stack.home / "endpoint.json", document)


def write_private(path: Path, document: dict[str, Any]) -> None:
    """A whole JSON file or none, mode 0600."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(document, file, indent=2)
    temporary.replace(path)


async def supervise(
    home: Path, settings: Settings, config: str | None, overrides: tuple[str, ...]
) -> None:
    """Runs the stack of `home` until SIGTERM or SIGINT.

    Raises:
        Refused: HOME_IN_USE, INVALID_CONFIG, DEPENDENCY_MISSING.
        Unavailable: the server did not start or cannot be reached.
    """
    stack = Stack(home, settings, config, overrides)
    stack.started_at_ms = stack.clock.wall_ms()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop_on_signal, stack.stop)
        async with _server(stack, tasks) as redis_url:
            stack.settings = replace(settings, redis_url=redis_url)
            await _run_stack(stack, redis_url, private=settings.redis_url is None)
        tasks.cancel_scope.cancel()


async def _run_stack(stack: Stack, redis_url: str, *, private: bool) -> None:
    store = make_store(stack.settings, actor="supervisor")
    listener = _listen(stack.settings.host, stack.settings.port)
    host, port = listener.getsockname()[:2]
    stack.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    env = {**os.environ, "ORCH_REDIS_URL": redis_url}
    try:
        await store.timers.declare(stack.settings.pools)
        if private:
            await bury_predecessors(store)
        parts = _parts(stack, listener)
        ups = {part.name: anyio.Event() for part in parts}
        async with anyio.create_task_group() as tasks:
            for part in parts:
                tasks.start_soon(partial(_keep, part, stack, store, env, ups[part.name]))
            tasks.start_soon(_tell_when_up, stack, list(ups.values()))
            await stack.stop.event.wait()
            (stack.home / "endpoint.json").unlink(missing_ok=True)
            within_ms = 2 * stack.settings.grace_ms + EXIT_MS
            with anyio.CancelScope(shield=True):
                await leave_together(
                    list(stack.children.values()), stack.clock, within_ms=within_ms
                )
            tasks.cancel_scope.cancel()
    finally:
        listener.close()
        await store.connection.aclose()


async def _tell_when_up(stack: Stack, ups: list[anyio.Event]) -> None:
    for up in ups:
        await up.wait()
    log.info("stack_up", url=stack.url, home=str(stack.home))


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise Refused(
            ErrorCode.INVALID_CONFIG,
            f"port: cannot listen on {host}:{port}: {error.strerror}",
            details={"key": "port", "value": port},
        ) from error
    return listener
