"""What goes wrong with processes, clocks and the server, drawn from the seed while the storm lasts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from contracts.errors import OrchError
from contracts.states import STATE_CODES, State
from orch.store.keys import Keys
from tests.sim.loop import Process
from tests.sim.operators import command
from tests.sim.plan import EVENT_FAULTS, MESSAGE_FAULTS
from tests.sim.ports import SimClock
from tests.sim.server import Link, Message
from tests.sim.shard import jobs_of
from tests.sim.world import Unit, World

KILL_AFTER_TERM_S = 9.0
"""A supervisor's patience with one that was told to leave."""
HINTS = (Keys(0).outcomes, Keys(0).alarm, Keys(0).wake("default"))
"""Streams that only say where to look; what is true stands elsewhere."""


INDEXES = frozenset("queue turn ready due undecided held jobs dead retire slots counters".split())
"""What the reaper rebuilds from the job hashes; idempotency keys too, but what is submitted twice before that
is two jobs."""


@dataclass(frozen=True)
class Rollback:
    """Data went back to an earlier state."""

    from_s: float
    until_s: float
    """What was acknowledged in between may be gone."""
    seq: int
    """The server's count of calls at the earlier state."""
    holders: Mapping[str, int]
    """Processes alive then that had been told of more, and the restarts they had seen."""


class Nemesis:
    """Draws and does faults."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = Random(f"{world.plan.seed}/nemesis")
        self.rollbacks: list[Rollback] = []
        self.on_rollback: Callable[[], None] = lambda: None
        self.thawed_at: dict[Process, float] = {}
        """When each was last continued."""
        self._undo: dict[object, Callable[[], None]] = {}
        self._over = False
        self._commands = 0
        self._executed = world.server.on_executed
        world.server.on_executed = self._after

    async def storm(self) -> None:
        """Until it is canceled."""
        plan, rates = self._world.plan, self._world.server.rates
        for name in MESSAGE_FAULTS:
            setattr(rates, name, plan.faults.get(name, 0.0))
        kinds = [kind for kind in EVENT_FAULTS if kind in plan.faults]
        if not kinds:
            return
        total = sum(plan.faults[kind] for kind in kinds)
        while True:
            await asyncio.sleep(self._rng.expovariate(total))
            kind = self._rng.choices(kinds, [plan.faults[kind] for kind in kinds])[0]
            if getattr(self, f"_{kind}")():
                self._world.history.faults[kind] += 1
                self._world.history.trace(f"FAULT {kind}")

    def calm(self) -> None:
        """Every fault that lasts ends now, and no new one comes."""
        self._over = True
        rates = self._world.server.rates
        for name in MESSAGE_FAULTS:
            setattr(rates, name, 0.0)
        self._world.doomed.clear()
        for undo in list(self._undo.values()):
            undo()

    # -- drawing

    def _unit(self, *, roles: tuple[str, ...] = (), clients: bool = False) -> Unit | None:
        units = [
            unit
            for unit in self._world.units
            if unit.alive
            and (not roles or unit.role in roles)
            and (clients or unit.role != "gateway")
        ]
        return self._rng.choice(units) if units else None

    def _later(self, key: object, delay_s: float, undo: Callable[[], None]) -> bool:
        """`undo` runs after a while, or when the storm is over; one fault of a kind at a time."""
        if key in self._undo:
            return False

        def once() -> None:
            if self._undo.pop(key, None) is not None:
                undo()

        self._undo[key] = once
        self._world.loop.call_later(delay_s, once)
        return True

    def _lease_s(self, low: float, high: float) -> float:
        return self._rng.uniform(low, high) * self._world.plan.lease_ms / 1000

    # -- processes

    def _kill(self) -> bool:
        unit = self._unit()
        if unit is not None:
            self._world.kill(unit)
        return unit is not None

    def _kill_in_call(self) -> bool:
        unit = self._unit()
        if unit is not None:
            self._world.doomed.add(unit.process)
        return False  # counted when it happens

    def _term(self) -> bool:
        unit = self._unit()
        if unit is None or unit.stop is None:
            return False
        self._world.loop.on_thread(unit.process.main, unit.stop.event.set)
        self._world.loop.call_later(KILL_AFTER_TERM_S, self._world.kill, unit)
        return True

    def _freeze(self) -> bool:
        unit, loop = self._unit(), self._world.loop
        if unit is None:
            return False
        process = unit.process
        # Around a lease it matters most: thawed just before or just after the burial.
        low, high = self._rng.choice(((0.1, 3.0), (0.9, 2.2)))
        for_s = self._lease_s(low, high)
        begun = self._later(("freeze", process), for_s, lambda: self._thaw(process))
        if begun:
            self._world.history.trace(f"{unit.name} frozen")
            loop.freeze(process)
        return begun

    def _thaw(self, process: Process) -> None:
        self.thawed_at[process] = self._world.loop.time()
        self._world.loop.thaw(process)

    def _drowse(self) -> bool:
        """A runner stands still past its lease; when it wakes, user code still keeps its main thread."""
        unit, loop = self._unit(roles=("runner",)), self._world.loop
        if unit is None:
            return False
        process, for_s = unit.process, self._lease_s(0.9, 2.2)
        begun = self._later(("freeze", process), for_s, lambda: self._thaw(process))
        if begun:
            self._world.history.trace(f"{unit.name} drowses")
            loop.freeze(process)
            main, stall_s = process.main, for_s + self._lease_s(0.1, 2.0)
            if self._later(("stall", main), stall_s, lambda: loop.unstall(main)):
                loop.stall(main)
        return begun

    def _stall(self) -> bool:
        unit, loop = self._unit(roles=("runner",)), self._world.loop
        if unit is None:
            return False
        thread = unit.process.main
        begun = self._later(("stall", thread), self._lease_s(0.1, 3), lambda: loop.unstall(thread))
        if begun:
            loop.stall(thread)
        return begun

    def _cut(self) -> bool:
        unit, server = self._unit(clients=True), self._world.server
        if unit is None:
            return False
        link = unit.link
        begun = self._later(("cut", link), self._lease_s(0.05, 3), lambda: server.heal(link))
        if begun:
            link.cut = self._rng.choice(("hole", "hole", "reset"))
            self._world.history.trace(f"{unit.name} cut off: {link.cut}")
        return begun

    # -- people

    def _maintenance(self) -> bool:
        """An operator stops much of what waits, and a little later lets it go on."""
        jobs = jobs_of(self._world.server.backend.contents())
        queued = [id_ for id_, job in jobs.items() if job["state"] == STATE_CODES[State.QUEUED]]
        some = [job_id for job_id in queued if self._rng.random() < 0.5]
        if some:
            process, for_s = Process("operator"), self._rng.uniform(0.1, 2.0)
            _ = self._world.loop.start(process.main, self._hold(process, some, for_s))
        return bool(some)

    async def _hold(self, process: Process, job_ids: Sequence[str], for_s: float) -> None:
        unit = Unit("operator", "operator", 0, process, Link(process), self._world.host("operator"))
        steering = self._world.store(unit, SimClock(unit.host)).steering
        for job_id in job_ids:
            with suppress(OrchError):
                await steering.pause(job_id, by="sim")
        await asyncio.sleep(for_s)
        for job_id in job_ids:
            with suppress(OrchError):
                await steering.resume(job_id, by="sim")

    def _control(self) -> bool:
        """An operator gives a command: drain, pause, or the way back."""
        process, rng = Process("operator"), Random(f"{self._rng.random()}")
        self._commands += 1
        unit = Unit("operator", "operator", 0, process, Link(process), self._world.host("operator"))
        store = self._world.store(unit, SimClock(unit.host))
        _ = self._world.loop.start(process.main, command(store, rng, self._commands))
        return True

    # -- the server

    def _restart(self) -> bool:
        return self._down(self._rng.uniform(0.005, 1.0), self._world.server.start)

    def _index_lost(self) -> bool:
        """The server comes back without some of its indexes, as from a dump that was torn."""
        return self._down(0.05, self._start_without)

    def _start_without(self) -> None:
        server = self._world.server
        names = [name for name in server.backend.contents() if name.partition(":")[0] in INDEXES]
        if names:
            lost = self._rng.sample(names, k=min(len(names), self._rng.randint(1, 3)))
            server.backend.execute(["DEL", *(Keys(0).prefix + name for name in lost)])
            self._world.history.trace(f"FAULT without {lost}")
        server.start()

    def _down(self, for_s: float, start: Callable[[], None]) -> bool:
        server = self._world.server
        if not server.up or not self._later("down", for_s, start):
            return False
        frozen = self._undo.get("server_freeze")
        if frozen is not None:
            frozen()
        server.crash()
        return True

    def _server_freeze(self) -> bool:
        server = self._world.server
        if not server.up or not self._later("server_freeze", self._lease_s(0.05, 2), server.thaw):
            return False
        server.freeze()
        return True

    def _functions_lost(self) -> bool:
        self._world.server.backend.forget_functions()
        return True

    def _hints_lost(self) -> bool:
        """Somebody deletes a stream of hints, or trims all of them for a while, as a clumsy clean-up does."""
        server = self._world.server
        if not server.up:
            return False
        if self._rng.random() < 0.3:
            server.backend.execute(["DEL", self._rng.choice(HINTS)])
            server._serve_waiting()
            return True
        return self._later("hints", self._rng.uniform(0.5, 5.0), lambda: None)

    def _after(self, message: Message) -> None:
        """The server carried out a call."""
        self._executed(message)
        if "hints" in self._undo and message.command[0] == "FCALL":
            backend = self._world.server.backend
            for name in HINTS:
                entries = backend.execute(["XRANGE", name, "-", "+"])
                if entries:
                    backend.execute(["XDEL", name, *(entry[0] for entry in entries)])

    def _clock_jump(self) -> bool:
        server = self._world.server
        jump_ms = self._rng.choice((-1, 1)) * self._rng.randrange(100, 60_000)

        def back() -> None:
            server.offset_ms = 0

        begun = self._later("clock", self._rng.uniform(0.5, 5.0), back)
        if begun:
            server.offset_ms = jump_ms
        return begun

    def _rollback(self) -> bool:
        if "rollback" in self._undo or not self._world.server.up:
            return False
        world, taken_s = self._world, self._world.loop.time()
        snapshot = world.server.backend.snapshot()
        seq = self._seq()

        def now() -> None:
            if self._over or not world.server.up:
                return
            self._down(0.05, lambda: self._back_to(snapshot, taken_s, seq))

        self._later("rollback", self._rng.uniform(0.01, 2.0), now)
        return False  # counted when it happens

    def _seq(self) -> int:
        meta = self._world.server.backend.contents().get("meta", {})
        return int(meta.get("seq", 0))

    def _back_to(self, snapshot: object, taken_s: float, seq: int) -> None:
        world = self._world
        holders = {
            unit.name: unit.connection.watermark.restarts
            for unit in world.units
            if unit.alive and unit.connection is not None and unit.connection.watermark.seq > seq
        }
        world.server.start(snapshot=snapshot)
        world.history.faults["rollback"] += 1
        world.history.trace(f"FAULT rollback by {world.loop.time() - taken_s:.3f} s")
        world.history.undone(taken_s)
        self.rollbacks.append(Rollback(taken_s, world.loop.time() + 1.0, seq, holders))
        self.on_rollback()
