"""One seed, run: the storm, then calm weather in which everything must come to its end, then the verdict."""

from __future__ import annotations

import asyncio
import gc
import math
import random
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from contracts.states import State
from orch.core.ledger import state_of
from orch.store.store import Store
from tests.sim import agents
from tests.sim.backend import MakeBackend
from tests.sim.checker import (
    Terminals,
    check_accepted,
    check_claims,
    check_fields,
    check_job,
    check_submissions,
    check_ties,
    check_turns,
)
from tests.sim.clients import Clients, settle_operators
from tests.sim.loop import Idle, Process, Spinning
from tests.sim.nemesis import Nemesis
from tests.sim.operators import let_go
from tests.sim.plan import Plan
from tests.sim.ports import SimClock
from tests.sim.server import Link
from tests.sim.shard import faults_of, jobs_of, leftovers_of, mark_of
from tests.sim.tame import remember_entries, tame_anyio
from tests.sim.timekeeper import Timekeeper, check_schedules, is_firing
from tests.sim.witness import Witness
from tests.sim.world import Unit, World

LOOK_S = 4.0
QUIET_S = 12.0
"""After the last job has ended: what is left of its slots, hints and timers goes, at most so long."""
SWEPT_S = 60.0
"""So long instead when an index was lost: counters are set right by a sweep during which nothing moves."""
SETTLED_S = 3.0
"""So long nothing was left: every actor's duties came round in that time."""
WATCHED_WHOLE = 10
"""Every so many seeds, one is watched for all of QUIET_S, or SWEPT_S."""


@dataclass
class Outcome:
    """What a run showed."""

    plan: Plan
    violations: list[tuple[str, str]]
    faults: Counter[str]
    sometimes: Counter[str]
    digest: str
    tail: list[str]
    virtual_s: float
    commands: int
    valid: bool = True
    """Jobs completed and the drawn faults happened: only then does the run count."""
    ended: Counter[str] = field(default_factory=Counter)


def make_backend(tier: str) -> MakeBackend:
    """What stands for Redis."""
    if tier == "lua":
        from tests.sim.lua_backend import LuaBackend

        return LuaBackend
    from tests.sim.fast_backend import FastBackend

    return FastBackend


class _Run:
    def __init__(self, plan: Plan, make: MakeBackend, *, traced: bool) -> None:
        self.plan = plan
        self.world = World(plan, make, traced=traced)
        self.history = self.world.history
        self.nemesis = Nemesis(self.world)
        self.witness = Witness(self.world, self.nemesis)
        self.clients = Clients(self.world)
        self.timekeeper = Timekeeper(self.world)
        self.terminals = Terminals(self.history)
        self.nemesis.on_rollback = self.terminals.forget
        self._sound: dict[str, Mapping[str, str]] = {}
        """Jobs as they were when their ledgers were found whole."""

    async def play(self) -> None:
        world, history = self.world, self.history
        world.start_all()
        await asyncio.sleep(0.2)
        await self._declare()
        self.clients.start()
        self.timekeeper.start()
        storm = asyncio.ensure_future(self.nemesis.storm())
        watch = asyncio.ensure_future(self._watch())
        await asyncio.sleep(self.plan.safety_ms / 1000)
        storm.cancel()
        self.nemesis.calm()
        history.trace("CALM")
        await self._until_ended()
        await self._until_quiet()
        watch.cancel()
        self._judge()

    async def _declare(self) -> None:
        """As a supervisor does: the pool exists before anybody submits."""
        store = self._helper_store("supervisor")
        await store.timers.declare(["default"])

    def _helper_store(self, name: str) -> Store:
        process = Process(name)
        unit = Unit(name, name, 0, process, Link(process), self.world.host(name))
        return self.world.store(unit, SimClock(unit.host))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            self._look()

    def _look(self, *, is_last: bool = False) -> dict[str, Any]:
        data = self.world.server.backend.contents()
        # An index that was lost is rebuilt by and by; at the end it must stand.
        indexed = is_last or not self.history.faults["index_lost"]
        for fault in faults_of(data, self._sound, indexed=indexed):
            self.history.violation("broken", fault)
        self.terminals.look(jobs_of(data))
        return data

    async def _until_ended(self) -> None:
        """Everything accepted ends or waits for a human, within the plan's bound."""
        calm_at = self.world.loop.time()
        store = self._helper_store("operator")
        while True:
            await asyncio.sleep(1.0)
            data = self.world.server.backend.contents()
            jobs = jobs_of(data)
            states = [(job_id, state_of(fields["state"])) for job_id, fields in jobs.items()]
            await settle_operators(store, states)
            over_ms = (self.world.loop.time() - calm_at) * 1000
            await let_go(store, data, round(over_ms))
            waiting = [job_id for job_id, state in states if state.value in _LIVE]
            coming = data.get("requests") or is_firing(data, self.world.server.wall_ms())
            told = (self.clients.done, self.timekeeper.done)
            if not waiting and not coming and told == (self.plan.clients, self.plan.schedules):
                return
            if over_ms > self.plan.bound_ms:
                for job_id in waiting:
                    fields = jobs[job_id]
                    shown = {k: v for k, v in fields.items() if k not in {"spec", "digest"}}
                    self.history.violation("stuck", f"{job_id} after {over_ms:.0f} ms: {shown}")
                if not waiting:
                    what = "requests, clients or schedules"
                    self.history.violation("stuck", f"{what} after {over_ms:.0f} ms")
                return

    async def _until_quiet(self) -> None:
        """Until nothing has been left for a while that could still act; some seeds watch the whole time."""
        loop, settled_s = self.world.loop, 0.0
        over_at = loop.time() + (SWEPT_S if self.history.faults["index_lost"] else QUIET_S)
        while loop.time() < over_at:
            await asyncio.sleep(1.0)
            settled_s = settled_s + 1.0 if self._is_quiet(over_at) else 0.0
            if settled_s >= SETTLED_S and self.plan.seed % WATCHED_WHOLE and self._is_indexed():
                return

    def _is_indexed(self) -> bool:
        """Whether an index that was lost stands again: its sweep comes round less often than all else."""
        if not self.history.faults["index_lost"]:
            return True
        return not faults_of(self.world.server.backend.contents(), self._sound)

    def _is_quiet(self, until_s: float) -> bool:
        data, server = self.world.server.backend.contents(), self.world.server
        until_ms = server.wall_ms() + (until_s - self.world.loop.time()) * 1000
        next_ms = min((float(at_ms) for _, at_ms in data.get("due", [])), default=math.inf)
        return next_ms > until_ms and not leftovers_of(data) and self.world.is_settled(data)

    def _judge(self) -> None:
        history, data = self.history, self._look(is_last=True)
        jobs = jobs_of(data)
        if not any(kind == "stuck" for kind, _ in history.violations):
            for fault in leftovers_of(data):
                history.violation("stuck", fault)
        marks: dict[str, list[str]] = defaultdict(list)
        for job_id, fields in jobs.items():
            marks[mark_of(fields)].append(job_id)
            check_job(history, job_id, fields)
            check_fields(history, job_id, fields)
        check_schedules(history, data, jobs, self.world.server.wall_ms())
        rollbacks = self.nemesis.rollbacks
        undone = [(rollback.from_s, rollback.until_s) for rollback in rollbacks]
        answers = {mark: data.get(f"answer:req-{mark}", "") for mark in history.submissions}
        check_submissions(history, marks, undone, answers)
        # A burial that found nothing held takes no claim away; and who is put back stands before the others.
        lost_index = history.faults["index_lost"]
        if not rollbacks:
            check_accepted(history, jobs)
            if not lost_index:
                check_claims(history, jobs)
            if not lost_index and not history.faults["clock_jump"]:
                check_turns(history, jobs)
                check_ties(history, jobs)
        self._check_watermarks()
        self._check_agents(jobs)

    def _check_watermarks(self) -> None:
        """A loss of acknowledged writes is noticed by who was told of them; nothing else is taken for one."""
        lost = {
            unit.name: unit.connection.watermark.lost_writes
            for unit in self.world.units
            if unit.connection is not None
        }
        if not self.nemesis.rollbacks:
            for name, count in lost.items():
                if count:
                    self.history.violation(
                        "undetected", f"{name} saw {count} lost writes: none were"
                    )
            return
        restarts = {
            unit.name: unit.connection.watermark.restarts
            for unit in self.world.units
            if unit.alive and unit.connection is not None
        }
        for rollback in self.nemesis.rollbacks:
            # Who never spoke to the server again, or died, could not notice.
            witnesses = [
                name for name, seen in rollback.holders.items() if restarts.get(name, 0) > seen
            ]
            if witnesses:
                self.history.sometimes["loss to detect"] += 1
                if not any(lost[name] for name in rollback.holders):
                    self.history.violation("undetected", f"{rollback} by {witnesses}")

    def _check_agents(self, jobs: dict[str, dict[str, str]]) -> None:
        for unit in self.world.units:
            for tree in unit.house.living() if unit.house is not None else ():
                if jobs.get(tree.job_id, {}).get("claim") != tree.claim:
                    self.history.violation("orphan", f"the agent of {tree.claim} still lives")


_LIVE = {
    state.value
    for state in (State.SCHEDULED, State.QUEUED, State.READY, State.RUNNING, State.PAUSED)
}


def run(plan: Plan, make: MakeBackend | None = None, *, traced: bool = True) -> Outcome:
    """Runs it; the same plan gives the same trace. Leaves the process dirty: one process, few runs.

    `make` stands for the tier's own server: the harness of mutants hands in one with broken functions.
    """
    agents.install()
    remember_entries()
    gc.disable()
    random.seed(plan.seed)  # fakeredis draws from it
    the_run = _Run(plan, make or make_backend(plan.tier), traced=traced)
    world, history = the_run.world, the_run.history
    tame_anyio(world.loop)
    structlog.configure(
        processors=[_drop], wrapper_class=structlog.BoundLogger, cache_logger_on_first_use=False
    )
    loop = world.loop
    loop.set_exception_handler(lambda _loop, context: _unhandled(world, context))
    try:
        loop.run_until_complete(the_run.play())
    except (Idle, Spinning) as error:
        history.violation("broken", repr(error))
    world.closing = True
    ended = Counter(f["state"] for f in jobs_of(world.server.backend.contents()).values())
    drawn = {name for name in plan.faults if name not in {"poison", "slow"}}
    return Outcome(
        plan=plan,
        violations=history.violations,
        faults=history.faults,
        sometimes=history.sometimes,
        digest=history.digest,
        tail=list(history.tail),
        virtual_s=loop.time(),
        commands=world.server.commands,
        valid=ended["C"] > 0 and (not drawn or any(history.faults[name] for name in drawn)),
        ended=ended,
    )


def _drop(*_args: object) -> str:
    raise structlog.DropEvent


def _unhandled(world: World, context: dict[str, object]) -> None:
    error = context.get("exception")
    world.history.violation("broken", f"unhandled: {context.get('message')} {error!r}")
