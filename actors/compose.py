"""The composition root of one actor process: settings in, a running actor out.

Every role is started the same way: a greeted connection, an instance that registers and beats, a port for
metrics and health, and the role's own loops in one task group. What a role does is in its own package.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import anyio
import anyio.abc
import structlog

from actors.instance import Stop, about, depart, every, keep_beating, register, stop_on_signal
from actors.mailbox import Mailbox, serve
from contracts.errors import ErrorCode, Refused
from contracts.limits import MINUTE_MS, TICK_MS
from orch.core.scheduling import scheduling_policy
from orch.settings import Settings
from orch.store.connection import Connection
from orch.store.leases import Instance
from orch.store.store import Store, open_store
from orch.system import SystemClock, SystemIds, SystemRng
from orch.telemetry.health import Health
from orch.telemetry.logs import configure_logs
from orch.telemetry.metrics import Metrics
from orch.telemetry.serve import telemetry_server

log = structlog.get_logger()

ROLES = ("admission", "scheduler", "runner", "reaper", "fallback", "gateway")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process works: its home on disk, and what its starter passed down."""

    home: Path
    socket_fd: int | None = None
    """The gateway's listening socket, kept by the supervisor over restarts."""
    lifeline_fd: int | None = None
    """Held by a runner and its guards; see orch.adapters.leases."""
    url: str | None = None
    """The gateway's address, for agents."""


@dataclass(frozen=True, slots=True)
class Body:
    """What every role is made of."""

    settings: Settings
    store: Store
    clock: SystemClock
    ids: SystemIds
    health: Health
    metrics: Metrics
    stop: Stop
    instance: Instance
    place: Place


def make_store(settings: Settings, *, actor: str) -> Store:
    """The store that the settings describe.

    Raises:
        Refused: INVALID_CONFIG, without a Redis URL or with a bad one.
    """
    if settings.redis_url is None:
        raise Refused(
            ErrorCode.INVALID_CONFIG,
            "an actor alone needs a server: give --redis-url or set ORCH_REDIS_URL",
            details={"key": "redis_url"},
        )
    policy = scheduling_policy(
        settings.classes,
        default_class=settings.default_class,
        scheduling=settings.scheduling,
        aging_ms=settings.aging_ms,
    )
    connection = Connection(settings.redis_url, SystemClock(), shard=settings.shard)
    return open_store(
        connection, SystemIds(), policy, actor=actor, queue_jobs_max=settings.queue_jobs_max
    )


def _instance(role: str, settings: Settings, ids: SystemIds) -> Instance:
    runs = role == "runner"
    return Instance(
        instance_id=f"{role}-{ids.token()}",
        role=role,  # type: ignore[arg-type]  # argparse offers only ROLES
        about=about(settings.lease_ms),
        pool=settings.pool if runs else "",
        slots=settings.slots if runs else 0,
    )


@asynccontextmanager
async def living(body: Body) -> AsyncIterator[anyio.abc.TaskGroup]:
    """A task group in which the instance is registered and beats; it departs at the end."""
    leases = body.store.leases
    await register(leases, body.instance, body.clock)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(
            partial(keep_beating, leases, body.instance, body.clock, lease_ms=body.settings.lease_ms)
        )
        yield tasks
        await body.stop.event.wait()
        await depart(leases, body.instance.instance_id)
        tasks.cancel_scope.cancel()


async def run_admission(body: Body) -> None:
    """Raw requests from the stream."""
    from actors.admission.perform import AdmissionActor

    actor = AdmissionActor(body.store)
    mailbox = _mailbox(body, body.store.connection.keys.requests, "admission")
    async with living(body) as tasks:
        tasks.start_soon(
            partial(serve, mailbox, actor.handle, actor.give_up, clock=body.clock, health=body.health)
        )


async def run_fallback(body: Body) -> None:
    """Decisions about outcomes."""
    from actors.fallback.decide import RetryDefaults
    from actors.fallback.perform import FallbackActor

    s = body.settings
    defaults = RetryDefaults(s.attempts_max, s.backoff_ms, s.backoff_ms_max, s.crashes_max)
    actor = FallbackActor(body.store, SystemRng(), defaults)
    mailbox = _mailbox(body, body.store.connection.keys.outcomes, "fallback")
    async with living(body) as tasks:
        tasks.start_soon(
            partial(serve, mailbox, actor.handle, actor.give_up, clock=body.clock, health=body.health)
        )


def _mailbox(body: Body, stream: str, group: str) -> Mailbox:
    from actors.mailbox import BLOCK_MS

    return Mailbox(
        stream=stream,
        group=group,
        instance_id=body.instance.instance_id,
        reader=body.store.connection.reader(BLOCK_MS),
        register=partial(body.store.leases.register, body.instance),
    )


async def run_scheduler(body: Body) -> None:
    """Timers and sweeps."""
    from actors.scheduler.perform import SWEEP_MS, SchedulerActor

    reader = body.store.connection.reader(SWEEP_MS)
    actor = SchedulerActor(body.store, reader, body.instance.instance_id, body.clock, body.health)
    async with living(body) as tasks:
        tasks.start_soon(actor.run)


async def run_reaper(body: Body) -> None:
    """Silence, repetition, retention."""
    from actors.reaper.perform import Reaper

    s = body.settings
    reaper = Reaper(body.store, body.clock, lease_ms=s.lease_ms, retention_ms=s.retention_ms)
    duties: list[tuple[str, int, Callable[[], Awaitable[None]]]] = [
        ("look", TICK_MS, reaper.look),
        ("announce", 2 * TICK_MS, reaper.announce),
        ("finish_burials", 10 * TICK_MS, reaper.finish_burials),
        ("retire", MINUTE_MS, reaper.retire),
    ]
    async with living(body) as tasks:
        for what, period_ms, act in duties:
            health = body.health if period_ms < MINUTE_MS else Health(body.clock)
            tasks.start_soon(partial(every, period_ms, act, clock=body.clock, health=health, what=what))


async def run_runner(body: Body) -> None:
    """Claims and attempts."""
    from actors.runner.attempt import Bench
    from actors.runner.emitter import Emitter
    from actors.runner.perform import Runner, RunnerTerms, Tools
    from contracts.limits import CLAIM_EVERY_MS
    from orch.adapters.leases import Leases as GuardLeases
    from orch.adapters.registry import Adapters
    from orch.adapters.workshop import Workshop
    from orch.blobs import Blobs

    s = body.settings
    guards = GuardLeases(suspend_max_ms=s.suspend_max_ms, lifeline_fd=body.place.lifeline_fd)
    blobs = Blobs(body.place.home / "blobs")
    scratch = body.place.home / "scratch" / body.instance.instance_id
    scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    workshop = Workshop(
        leases=guards, blobs=blobs, clock=body.clock, scratch=scratch, grace_ms=s.grace_ms,
        python_workers=s.python_workers, url=body.place.url,
    )  # fmt: skip
    async with Adapters(workshop) as adapters:
        bench = Bench(
            adapters, blobs, body.store.claims, Emitter(body.store.output, body.clock), body.clock, s.question_ttl_ms
        )
        tools = Tools(
            store=body.store,
            reader=body.store.connection.reader(CLAIM_EVERY_MS),
            bench=bench,
            guards=guards,
            clock=body.clock,
            ids=body.ids,
            health=body.health,
            terms=RunnerTerms(s.pool, s.slots, s.lease_ms, s.grace_ms, s.shard),
        )
        make = partial(_instance, "runner", s, body.ids)
        await Runner(tools, make, body.stop).run()


async def run_gateway(body: Body) -> None:
    """HTTP."""
    from actors.gateway.app import create_app
    from actors.gateway.serve import bind
    from actors.gateway.serve import serve as serve_http
    from actors.gateway.services import Services
    from orch.blobs import Blobs

    s = body.settings
    services = Services(
        store=body.store,
        blobs=Blobs(body.place.home / "blobs"),
        clock=body.clock,
        ids=body.ids,
        registry=body.metrics.registry,
    )
    app = create_app(services)
    fd = body.place.socket_fd
    sock = socket.socket(fileno=fd) if fd is not None else bind(s.host, s.port)
    log.info("gateway_listens", address=sock.getsockname())
    body.health.cycled("gateway")
    async with living(body) as tasks:
        tasks.start_soon(partial(every, TICK_MS * 5, body.store.connection.ping, clock=body.clock, health=body.health, what="ping"))
        await serve_http(app, sock, stop=body.stop.event, grace_ms=s.grace_ms)


_RUN: dict[str, Callable[[Body], Awaitable[None]]] = {
    "admission": run_admission,
    "scheduler": run_scheduler,
    "runner": run_runner,
    "reaper": run_reaper,
    "fallback": run_fallback,
    "gateway": run_gateway,
}


async def run_role(
    role: str, settings: Settings, place: Place, *, announce: Callable[[int], None]
) -> None:
    """One actor, from its first connection to its farewell; `announce` gets its metrics port."""
    configure_logs(settings.log_level, actor=role)
    clock, ids, metrics, stop = SystemClock(), SystemIds(), Metrics(), Stop()
    health = Health(clock)
    store = make_store(settings, actor=role)
    body = Body(
        settings, store, clock, ids, health, metrics, stop, _instance(role, settings, ids), place
    )
    with telemetry_server(settings.metrics_port, metrics.registry, health) as port:
        announce(port)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stop_on_signal, stop)
            await _RUN[role](body)
            tasks.cancel_scope.cancel()
    await store.connection.aclose()


def with_flags(settings: Settings, **flags: object) -> Settings:
    """The settings with some values replaced; for the supervisor's children."""
    return replace(settings, **flags)  # type: ignore[arg-type]  # keys are checked by dataclasses.replace
