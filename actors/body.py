"""What every actor process is made of, and the life around its work.

Every role is put together the same way: a greeted connection, an instance that registers and beats, a port
for metrics and health. What a role does with it is its own `main.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import anyio
import anyio.abc
import structlog

from actors.desired import LISTEN_MS, Follow, as_it_stands, follow
from actors.instance import (
    Stop,
    about,
    depart,
    keep_beating,
    patiently,
    register,
    unless_stopped,
)
from contracts.errors import ErrorCode, Refused
from orch.core.bounds import Bounds
from orch.core.scheduling import TiePolicy, scheduling_policy
from orch.settings import Settings
from orch.store.connection import Connection
from orch.store.examination import meet, ungreeted
from orch.store.fitness import judge, refuse_unfit
from orch.store.leases import Instance
from orch.store.libraries import Libraries
from orch.store.store import Store, open_store
from orch.system import SystemClock, SystemIds
from orch.telemetry.ends import Ends
from orch.telemetry.health import Health
from orch.telemetry.metrics import Metrics
from orch.telemetry.traces import Traces

log = structlog.get_logger()


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
    is_alone: bool = False
    """Nobody has looked at the server before: a supervisor does so for all of its parts."""


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
    traces: Traces | None = None
    """Where its spans go; None where nobody wants any."""
    ends: tuple[Ends, ...] = ()
    """Who records the ends of jobs that its calls end on the way, for each store; empty without traces."""
    further: Mapping[int, Store] = field(default_factory=dict)
    """A gateway's stores of other shards, by number."""
    libraries: Libraries | None = None
    """The server's function libraries; None where there is only a model of a server."""

    @property
    def follow(self) -> Follow:
        """Hears of operators' wishes on a connection of its own; one for each process."""
        reader = self.store.connection.reader(LISTEN_MS)
        return partial(
            follow, store=self.store, reader=reader, clock=self.clock, health=self.health
        )


def make_store(settings: Settings, *, actor: str) -> Store:
    """The store that the settings describe.

    Raises:
        Refused: INVALID_CONFIG, without a Redis URL or with a bad one.
    """
    url = server_url(settings)
    policy = scheduling_policy(
        settings.classes,
        default_class=settings.default_class,
        scheduling=settings.scheduling,
        aging_ms=settings.aging_ms,
        ties=TiePolicy(
            settings.key_running_max, settings.tenant_running_max, settings.session_policy
        ),
    )
    connection = Connection(url, SystemClock(), shard=settings.shard)
    return open_store(connection, SystemIds(), policy, actor=actor, bounds=bounds_of(settings))


def further_stores(role: str, settings: Settings) -> dict[int, Store]:
    """Of the shards that a gateway answers for beside its own; any other role has none."""
    numbers = {int(word) for word in settings.shards} if role == "gateway" else set[int]()
    return {
        shard: make_store(replace(settings, shard=shard), actor=role)
        for shard in sorted(numbers - {settings.shard})
    }


def server_url(settings: Settings) -> str:
    """Where the server is.

    Raises:
        Refused: INVALID_CONFIG, nobody says.
    """
    if settings.redis_url is None:
        raise Refused(
            ErrorCode.INVALID_CONFIG,
            "an actor alone needs a server: give --redis-url or set ORCH_REDIS_URL",
            details={"key": "redis_url"},
        )
    return settings.redis_url


async def look_at_server(settings: Settings, clock: SystemClock) -> None:
    """Returns when the server can keep what Orch promises; the log says what may be lost all the same.

    Raises:
        Refused: DEPENDENCY_MISSING, it cannot; the message says what to set.
        Unavailable: it cannot be asked now.
    """
    connection = ungreeted(server_url(settings), clock, shard=settings.shard)
    try:
        info, config = await meet(connection)
    finally:
        await connection.aclose()
    findings = judge(info, config, ephemeral=settings.ephemeral)
    refuse_unfit(findings)
    for one in findings:
        if one.severity == "warn":
            log.warning("server_warning", check=one.name, found=one.found, fix=one.fix)


async def come_in(body: Body) -> None:
    """What comes before the first call of an actor: a look at the server, unless a supervisor had one. A
    server that is away is waited for, as long as it takes.

    Raises:
        Refused: DEPENDENCY_MISSING, see `look_at_server`.
    """
    if body.place.is_alone:
        await patiently("look", partial(look_at_server, body.settings, body.clock), body.clock)


def bounds_of(settings: Settings) -> Bounds:
    """What the settings say of submissions."""
    return Bounds(
        queue_jobs_max=settings.queue_jobs_max,
        pool_jobs_max=settings.pool_jobs_max,
        tenant_jobs_max=settings.tenant_jobs_max,
        key_jobs_max=settings.key_jobs_max,
        full_policy=settings.full_policy,
        tenant_rate=settings.tenant_rate,
        tenant_burst=settings.tenant_burst,
    )


def make_instance(role: str, settings: Settings, ids: SystemIds) -> Instance:
    """A new incarnation of a role: a fresh id, what operators see, and a runner's slots."""
    runs = role == "runner"
    able = {"capabilities": list(settings.capabilities)} if runs else {}
    return Instance(
        instance_id=f"{role}-{ids.token()}",
        role=role,  # type: ignore[arg-type]  # argparse offers only ROLES
        about={**about(settings.lease_ms), **able},
        pool=settings.pool if runs else "",
        slots=settings.slots if runs else 0,
    )


@asynccontextmanager
async def living(body: Body) -> AsyncIterator[anyio.abc.TaskGroup]:
    """A task group in which the instance is registered and beats; it departs at the end.

    Its work ends before it departs: a read still under way would make it a reader again, of entries that
    nobody hands on any more.
    """
    leases = body.store.leases

    async def be_known() -> None:
        await come_in(body)
        await register(leases, body.instance, body.clock)

    if not await unless_stopped(body.stop, be_known):
        # Told to stop before Redis was ever there: there is nothing to do and nobody to say goodbye to.
        async with anyio.create_task_group() as tasks:
            tasks.cancel_scope.cancel()
            yield tasks
        return
    beat = partial(
        keep_beating, leases, body.instance, body.clock,
        lease_ms=body.settings.lease_ms, health=body.health,
    )  # fmt: skip
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(beat)
        tasks.start_soon(body.follow, body.instance, as_it_stands)
        for ends in body.ends:
            tasks.start_soon(ends.run)
        yield tasks
        await body.stop.event.wait()
        tasks.cancel_scope.cancel()
    await depart(leases, body.instance.instance_id)
