"""The supervisor: a whole stack on one machine, each actor a process of its own.

It starts the private server when no Redis URL is given, restarts what dies, and is the one who knows at
once that a runner is dead. It holds no state: kill it and the stack stops; the next start goes on.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import structlog
from anyio.abc import TaskGroup, TaskStatus

from actors.body import look_at_server, make_store
from actors.burials import bury_predecessors, bury_processes
from actors.children import Part
from actors.desired import LISTEN_MS, follow
from actors.generation import Generation, Terms
from actors.instance import Stop, about, depart, keep_beating, register, stop_on_signal
from actors.listening import tls_of, url_of
from actors.reload import Means, Reloads, digest_of
from contracts.defaults import DEFAULTS
from contracts.errors import ErrorCode, Refused
from orch.settings import Settings, load_settings
from orch.store.connection import BlockingReader
from orch.store.embedded import private_server
from orch.store.leases import Instance
from orch.store.store import Store
from orch.system import SystemClock, SystemIds

log = structlog.get_logger()


@dataclass(slots=True)
class Stack:
    """What runs, and where it can be found."""

    home: Path
    settings: Settings
    """As they were loaded: without the address of a private server."""
    config: str | None
    flags: Mapping[str, object]
    listener: socket.socket
    stop: Stop = field(default_factory=Stop)
    clock: SystemClock = field(default_factory=SystemClock)
    generations: list[Generation] = field(default_factory=list)
    current: Generation | None = None
    """The one that is shown."""
    url: str = ""
    redis_url: str = ""
    started_at_ms: int = 0


@asynccontextmanager
async def _server(stack: Stack, tasks: TaskGroup) -> AsyncIterator[str]:
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
    task_status: TaskStatus[str] = anyio.TASK_STATUS_IGNORED,
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


def _parts(stack: Stack, settings: Settings, written: Path) -> list[Part]:
    common = ("--home", str(stack.home), "--settings", str(written))
    roles = [
        Part(f"{role}-1", role, common)
        for role in ("admission", "scheduler", "reaper", "fallback", "notifier")
    ]
    fd = stack.listener.fileno()
    gateway = Part("gateway-1", "gateway", (*common, "--socket-fd", str(fd)), (fd,))
    runners = [
        Part(
            f"runner-{pool}-{n}",
            "runner",
            (*common, "--set", f"pool={pool}", "--url", stack.url),
            has_lifeline=True,
        )
        for pool in settings.pools
        for n in range(1, settings.runners + 1)
    ]
    return [*roles, gateway, *runners]


def write_settings(stack: Stack, settings: Settings) -> Path:
    """What all processes of a generation live by; the URL of Redis, with its password, is handed on in the
    environment."""
    values = {key: settings.value(key) for key in DEFAULTS if key != "redis_url"}
    folder = stack.home / "settings"
    # With a server of somebody else's nothing has made the home yet.
    stack.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{digest_of(settings)}.json"
    write_private(path, values)
    return path


def write_endpoint(stack: Stack) -> None:
    """Says where the stack is; atomically, for the owner only."""
    document = {
        "url": stack.url,
        "pid": os.getpid(),
        "redis_url": stack.redis_url,
        "metrics": dict(sorted(stack.current.metrics.items())) if stack.current else {},
        "started_at_ms": stack.started_at_ms,
        "tls_cert": str(Path(cert).absolute()) if (cert := stack.settings.tls_cert) else None,
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
    home: Path, settings: Settings, config: str | None, flags: Mapping[str, object]
) -> None:
    """Runs the stack of `home` until SIGTERM or SIGINT; `flags` stay above the files in every reload.

    Raises:
        Refused: HOME_IN_USE, INVALID_CONFIG, DEPENDENCY_MISSING.
        Unavailable: the server did not start or cannot be reached.
    """
    _check_ports(settings)
    with _listen(settings.host, settings.port) as listener:
        stack = Stack(home, settings, config, flags, listener)
        stack.started_at_ms = stack.clock.wall_ms()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stop_on_signal, stack.stop)
            async with _server(stack, tasks) as redis_url:
                stack.redis_url = redis_url
                await _run_stack(stack)
            tasks.cancel_scope.cancel()


async def _run_stack(stack: Stack) -> None:
    stack.url = url_of(stack.listener, is_tls=tls_of(stack.settings) is not None)
    settings = replace(stack.settings, redis_url=stack.redis_url)
    # Once for all parts: one that refused its server would be started again for ever.
    await look_at_server(settings, stack.clock)
    store = make_store(settings, actor="supervisor")
    try:
        await store.timers.declare(settings.pools)
        if stack.settings.redis_url is None:
            await bury_predecessors(store)
        async with anyio.create_task_group() as tasks:
            await _live(stack, store, tasks)
            tasks.cancel_scope.cancel()
    finally:
        await store.connection.aclose()


async def _live(stack: Stack, store: Store, tasks: TaskGroup) -> None:
    for left in (stack.home / "settings").glob("*.json"):
        left.unlink()
    obeyed = (await store.control.wanted()).reload
    first = _begin(stack, store, tasks, stack.settings)
    stack.current = first
    instance = _instance(stack.settings)
    means = _means(stack, store, tasks, instance)
    reloads = Reloads(means, stack.settings, first, obeyed=obeyed)
    reader = store.connection.reader(LISTEN_MS)
    tasks.start_soon(_tell_when_up, stack, first)
    tasks.start_soon(partial(_be_known, stack, store, instance, reloads, reader=reader))
    await stack.stop.event.wait()
    (stack.home / "endpoint.json").unlink(missing_ok=True)
    with anyio.CancelScope(shield=True):
        await depart(store.leases, instance.instance_id)
        async with anyio.create_task_group() as farewells:
            for generation in stack.generations:
                farewells.start_soon(generation.retire)


def _begin(stack: Stack, store: Store, tasks: TaskGroup, settings: Settings) -> Generation:
    """Starts a generation beside those that run."""

    async def bury(pid: int) -> None:
        await bury_processes(store, {pid})

    env = {**os.environ, "ORCH_REDIS_URL": stack.redis_url}
    terms = Terms(stack.clock, env, bury, partial(write_endpoint, stack))
    written = write_settings(stack, settings)
    generation = Generation(terms, _parts(stack, settings, written), settings.grace_ms, written)
    stack.generations = [one for one in stack.generations if not one.retired]
    stack.generations.append(generation)
    tasks.start_soon(generation.run)
    return generation


def _instance(settings: Settings) -> Instance:
    about_us = {**about(settings.lease_ms), "serves": " ".join(settings.pools)}
    return Instance(f"supervisor-{SystemIds().token()}", "supervisor", about_us)


async def _be_known(
    stack: Stack, store: Store, instance: Instance, reloads: Reloads, *, reader: BlockingReader
) -> None:
    """As an instance: operators' commands reach the supervisor like everybody else."""
    await register(store.leases, instance, stack.clock)
    async with anyio.create_task_group() as tasks:
        lease_ms = stack.settings.lease_ms
        tasks.start_soon(
            partial(keep_beating, store.leases, instance, stack.clock, lease_ms=lease_ms)
        )
        tasks.start_soon(reloads.run)
        await follow(instance, reloads.obey, store=store, reader=reader, clock=stack.clock)


def _means(stack: Stack, store: Store, tasks: TaskGroup, instance: Instance) -> Means:
    def load() -> Settings:
        return load_settings(flags=stack.flags, home=stack.home, config=stack.config)

    async def begin(settings: Settings) -> Generation:
        await store.timers.declare(settings.pools)
        return _begin(stack, store, tasks, settings)

    async def switch(settings: Settings, generation: Generation) -> None:
        stack.settings, stack.current = settings, generation
        write_endpoint(stack)
        await store.leases.register(replace(instance, about=_instance(settings).about), again=True)

    async def runners(generation: Generation) -> list[str]:
        pids, host = generation.pids("runner"), socket.gethostname()
        known = await store.leases.instances()
        return sorted(
            name
            for name, one in known.items()
            if one.get("pid") in pids and one.get("host") == host and one["role"] == "runner"
        )

    return Means(store, stack.clock, instance.instance_id, load, begin, switch, runners)


async def _tell_when_up(stack: Stack, first: Generation) -> None:
    while len(first.ports) < len(first.parts):
        await stack.clock.sleep_ms(50)
    log.info("stack_up", url=stack.url, home=str(stack.home))


def _check_ports(settings: Settings) -> None:
    # The parts would take it from each other, and be started again for ever.
    if settings.metrics_port != 0:
        raise Refused(
            ErrorCode.INVALID_CONFIG,
            f"metrics_port: one port ({settings.metrics_port}) is not enough for the parts of a stack",
            details={"key": "metrics_port", "value": settings.metrics_port},
            hint="Set it to 0 (ORCH_METRICS_PORT=0): each part takes a free one, endpoint.json lists them.",
        )


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
