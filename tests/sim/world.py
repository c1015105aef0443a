"""The simulated cluster: every role composed from the real code, in processes that can die and come back.

Admission, scheduler and reaper run the `main.run` that production runs. Fallback and runner are composed
here, because their mains take the host's chance, its disk and its processes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import actors.admission.main
import actors.reaper.main
import actors.scheduler.main
from actors.body import Body, Place, bounds_of, living
from actors.fallback.decide import RetryDefaults
from actors.fallback.perform import FallbackActor
from actors.instance import Stop
from actors.mailbox import mailbox_of, serve
from actors.runner.figures import Figures
from actors.runner.life import Runner
from actors.runner.terms import RunnerTerms
from actors.runner.tools import Tools
from contracts.errors import OrchError
from contracts.limits import BATCH_ITEMS_MAX, CLAIM_EVERY_MS, SOCKET_TIMEOUT_FRACTION
from orch.blobs import Blobs
from orch.core.scheduling import TiePolicy, scheduling_policy
from orch.ports import Beating, Heard
from orch.settings import Settings, settings_of
from orch.store.connection import Connection
from orch.store.leases import Instance
from orch.store.store import Store, open_store
from orch.telemetry.health import Health
from orch.telemetry.metrics import Metrics
from tests.sim.agents import House, SimAdapters, SimKeeper, SimLeases
from tests.sim.backend import MakeBackend
from tests.sim.client import SimClient
from tests.sim.history import History
from tests.sim.loop import Process, SimLoop, Thread, context_of
from tests.sim.plan import Plan
from tests.sim.ports import Host, SimClock, SimIds, SimRng
from tests.sim.server import Link, Message, Rates, SimServer

SKEW_MAX = 0.002
LATE_S = 0.1
"""A packet that takes longer is a late one."""


@dataclass(eq=False)
class Unit:
    """One process of a role, from its start to its end."""

    name: str
    role: str
    index: int
    process: Process
    link: Link
    host: Host
    stop: Stop | None = None
    connection: Connection | None = None
    house: House | None = None
    instances: list[str] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        """Neither killed nor gone by itself."""
        return not self.process.dead


class World:
    """Everything of one run."""

    def __init__(self, plan: Plan, make_backend: MakeBackend, *, traced: bool = True) -> None:
        self.plan = plan
        seed = f"{plan.seed}"
        self.loop = SimLoop(f"{seed}/schedule")
        self.history = History(self.loop.time, plan.attempts_max, traced)
        self.history.faults["slow"] += "slow" in plan.faults
        rates = Rates(latency_ms=3.0 if "slow" in plan.faults else 0.3)
        self.server = SimServer(self.loop, make_backend, seed, rates, self.history)
        self.server.on_executed = self._executed
        self.rng = Random(f"{seed}/world")
        self.units: list[Unit] = []
        self.settings = self._settings()
        s = self.settings
        self._policy = scheduling_policy(
            s.classes, default_class=s.default_class, scheduling=s.scheduling, aging_ms=s.aging_ms,
            ties=TiePolicy(s.key_running_max, s.tenant_running_max, s.session_policy),
        )  # fmt: skip
        self._bounds = bounds_of(s)
        self.metrics = Metrics()
        self.doomed: set[Process] = set()
        """Processes that die when the server carries out their next call."""
        self.closing = False
        self._context = context_of(Thread(Process("supervisor")))
        self._hosts: dict[str, Host] = {}
        self._started = 0

    def _settings(self) -> Settings:
        plan = self.plan
        return settings_of(
            {
                "lease_ms": plan.lease_ms,
                "slots": plan.slots,
                "attempts_max": plan.attempts_max,
                "backoff_ms": 200,
                "backoff_ms_max": 2_000,
                "grace_ms": 1_000,
                "question_ttl_ms": 3_600_000,
                "tenant_running_max": plan.tenant_running_max,
            }
        )

    # -- processes

    def host(self, name: str) -> Host:
        """A machine; skewed if the plan says so."""
        if name not in self._hosts:
            host = self._hosts[name] = Host(name, self.loop)
            if "skew" in self.plan.faults:
                host.rate = 1 + self.rng.uniform(-SKEW_MAX, SKEW_MAX)
                host.wall_offset_ms = self.rng.randrange(-3_600_000, 3_600_000)
                self.history.faults["skew"] += 1
        return self._hosts[name]

    def start_all(self) -> None:
        """Every replica of every role."""
        for role, count in self.plan.replicas.items():
            for index in range(count):
                self.start(role, index)

    def start(self, role: str, index: int) -> Unit:
        """A new process of a role."""
        self._started += 1
        name = f"{role}{index}.{self._started}"
        process = Process(name)
        unit = Unit(name, role, index, process, Link(process), self.host(f"{role}{index}"))
        self.units.append(unit)
        task = self.loop.start(process.main, self._live(unit), name=name)
        task.add_done_callback(lambda done: self._ended(unit, done))
        return unit

    async def _live(self, unit: Unit) -> None:
        unit.stop = Stop()
        body = self.body(unit)
        runs: dict[str, Callable[[Body], Awaitable[None]]] = {
            "admission": actors.admission.main.run,
            "scheduler": actors.scheduler.main.run,
            "reaper": actors.reaper.main.run,
            "fallback": self._fallback,
            "runner": partial(self._runner, unit),
        }
        await runs[unit.role](body)

    def _ended(self, unit: Unit, task: asyncio.Task[Any]) -> None:
        if not unit.alive:
            return
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.history.violation("broken", f"{unit.name} died of {error!r}")
        self.history.trace(f"{unit.name} ended")
        self._bury_process(unit)

    def kill(self, unit: Unit) -> None:
        """kill -9."""
        if unit.alive:
            self.history.trace(f"{unit.name} killed")
            self._bury_process(unit)
            if self.plan.supervised and unit.role == "runner" and unit.instances:
                _ = self.loop.start(Process("supervisor").main, self._bury(unit))

    def _bury_process(self, unit: Unit) -> None:
        self.loop.kill(unit.process)
        if unit.house is not None:
            unit.house.hang_up()
        delay_s = self.rng.uniform(0.01, 2.0)
        # Whoever killed it may die itself: this is the supervisor's.
        self.loop.call_later(delay_s, self.start_again, unit, context=self._context)

    def start_again(self, unit: Unit) -> None:
        """The supervisor's part."""
        if not self.closing:
            self.start(unit.role, unit.index)

    async def _bury(self, unit: Unit) -> None:
        house = unit.house
        while house is not None and house.living():
            await asyncio.sleep(0.01)
        name = f"supervisor-of-{unit.name}"
        process = Process(name)
        helper = Unit(name, "supervisor", 0, process, Link(process), unit.host)
        store = self.store(helper, SimClock(unit.host))
        with suppress(OrchError):
            beats = await store.leases.beats()
            for instance_id in unit.instances:
                counter = beats.get(instance_id, 0)
                await store.leases.bury(instance_id, counter, age_ms=0, most=BATCH_ITEMS_MAX)

    def _executed(self, message: Message) -> None:
        process = message.link.process
        if process in self.doomed:
            self.doomed.discard(process)
            unit = next(unit for unit in self.units if unit.process is process)
            self.history.faults["kill_in_call"] += 1
            self.kill(unit)

    def is_settled(self, data: Mapping[str, Any]) -> bool:
        """Everybody who should live lives, is registered and stays; nobody else is; nothing comes late."""
        staff = [unit for unit in self.units if unit.alive and unit.role in self.plan.replicas]
        known = data.get("instances", {}).keys()
        registered = [known & set(unit.instances) for unit in staff]
        return (
            len(staff) == sum(self.plan.replicas.values())
            and all(len(names) == 1 for names in registered)
            and known == data.get("beats", {}).keys() == set[str]().union(*registered)
            and not any(unit.stop is None or unit.stop.wished for unit in staff)
            and not any(unit.house.living() for unit in self.units if unit.house is not None)
            and self.server.last_arrival_s < self.loop.time() + LATE_S
        )

    # -- what a process is made of

    def store(self, unit: Unit, clock: SimClock) -> Store:
        """A store over the simulated network."""
        clients: list[SimClient] = []

        def make(timeout_ms: float) -> Any:
            client = SimClient(self.server, unit.link, timeout_ms)
            clients.append(client)
            if unit.connection is not None:
                client.greet = unit.connection._greet
            return client

        unit.connection = Connection("sim://", clock, client=make)
        for client in clients:
            client.greet = unit.connection._greet
        ids = SimIds(f"{self.plan.seed}/ids/{unit.name}")
        return open_store(unit.connection, ids, self._policy, actor=unit.role, bounds=self._bounds)

    def body(self, unit: Unit) -> Body:
        """What `actors.start` makes for a real process."""
        clock = SimClock(unit.host)
        ids = SimIds(f"{self.plan.seed}/instance/{unit.name}")
        store = self.store(unit, clock)
        assert unit.stop is not None
        return Body(
            self.settings, store, clock, ids, Health(clock), self.metrics, unit.stop,
            self._instance(unit, ids), Place(Path("/nowhere")),
        )  # fmt: skip

    def _instance(self, unit: Unit, ids: SimIds) -> Instance:
        runs = unit.role == "runner"
        instance_id = f"{unit.role}-{ids.token()}"
        unit.instances.append(instance_id)
        about = {"host": unit.host.name, "pid": 1, "lease_ms": self.plan.lease_ms, "version": "sim"}
        s = self.settings
        return Instance(
            instance_id, unit.role, about, s.pool if runs else "", s.slots if runs else 0  # type: ignore[arg-type]  # a unit's role is one of them
        )  # fmt: skip

    async def _fallback(self, body: Body) -> None:
        s = body.settings
        defaults = RetryDefaults(s.attempts_max, s.backoff_ms, s.backoff_ms_max, s.crashes_max)
        rng = SimRng(f"{self.plan.seed}/chance/{body.instance.instance_id}")
        actor = FallbackActor(body.store, rng, defaults, body.metrics)
        mailbox = mailbox_of(body, body.store.connection.keys.outcomes, "fallback")
        async with living(body) as tasks:
            tasks.start_soon(
                partial(
                    serve, mailbox, actor.handle, actor.give_up,
                    clock=body.clock, health=body.health,
                )
            )  # fmt: skip

    async def _runner(self, unit: Unit, body: Body) -> None:
        s = body.settings
        unit.instances.clear()
        leases = SimLeases(suspend_max_ms=20 * s.lease_ms)
        house = House(
            self.loop, unit.host, f"{self.plan.seed}", self.history, leases,
            lambda: self._poisoned(unit),
        )  # fmt: skip
        unit.house = house
        keeper_thread = unit.process.thread()
        timeout_ms = s.lease_ms * SOCKET_TIMEOUT_FRACTION

        def keeper(instance_id: str, heard: Heard) -> Beating:
            client = SimClient(self.server, unit.link, timeout_ms)
            return SimKeeper(
                house, client, keeper_thread, instance_id, heard, lease_ms=s.lease_ms
            )  # fmt: skip

        tools = Tools(
            store=body.store,
            reader=body.store.connection.reader(CLAIM_EVERY_MS),
            adapters=SimAdapters(house),
            blobs=Blobs(Path("/nowhere")),
            guards=leases,
            clock=body.clock,
            ids=body.ids,
            health=body.health,
            figures=Figures(body.metrics, pool=s.pool, slots=s.slots, classes=s.class_names),
            keeper=keeper,
            from_keeper=partial(self.loop.on_thread, unit.process.main),
            terms=RunnerTerms(s.pool, s.slots, s.grace_ms, s.question_ttl_ms),
            follow=body.follow,
        )
        make = partial(self._instance, unit, SimIds(f"{self.plan.seed}/instance/{unit.name}"))
        await Runner(tools, make, body.stop).run()

    def _poisoned(self, unit: Unit) -> None:
        self.history.faults["poison"] += 1
        self.kill(unit)
