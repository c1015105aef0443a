"""Simulated agents under the real guard's judgement, and the keeper as a task.

The lease that guards are told of is the product's `Leases`, the decision to stop, resume and kill is the
product's `Watchman`; only what they do to a process tree is simulated: the tree is a process of the loop, its
main thread the agent, another one the guard. An agent acts on the world now and then, and the history
records whether it ever did so after its lease had been buried.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from redis.exceptions import RedisError, ResponseError

from contracts.events import EventType
from contracts.limits import BEAT_FRACTION
from contracts.outcomes import Outcome, ReasonCode
from orch.adapters import guard
from orch.adapters.guard import Watchman
from orch.adapters.leases import Leases
from orch.adapters.protocol import Adapter, Desk, Ending, Question, Run
from orch.adapters.registry import Adapters, Bounded
from orch.ports import Heard
from orch.store.keys import Keys
from orch.store.library import library
from tests.sim.client import SimClient
from tests.sim.history import History
from tests.sim.loop import Process, SimLoop, Thread, context_of, current_process
from tests.sim.ports import Host
from tests.sim.timers import SimHandle

PIPE_S = 0.0002
_HOSTS: dict[Process, Host] = {}


def _now_ms() -> int:
    return _HOSTS[current_process()].monotonic_ms()


def install() -> None:
    """The guard is a program of its own, without ports: here it reads the clock of the host it runs on."""
    guard.now_ms = _now_ms


_ENDINGS: tuple[tuple[Outcome, ReasonCode, int], ...] = (
    (Outcome.DONE, ReasonCode.COMPLETED, 60),
    (Outcome.TRANSIENT, ReasonCode.EXIT_CODE, 14),
    (Outcome.HUMAN, ReasonCode.QUESTION, 8),
    (Outcome.THROTTLED, ReasonCode.EXIT_CODE, 5),
    (Outcome.RESOURCE, ReasonCode.WALL_LIMIT, 4),
    (Outcome.LOGIC, ReasonCode.EXIT_CODE, 5),
    (Outcome.ENVIRONMENT, ReasonCode.NOT_FOUND, 3),
    (Outcome.HUMAN, ReasonCode.DENIED, 1),
)


def ending_of(rng: Random, run: Run) -> Ending:
    """How this attempt would end if nothing stopped it."""
    weights = [weight for _, _, weight in _ENDINGS]
    outcome, reason, _ = rng.choices(_ENDINGS, weights)[0]
    if reason is ReasonCode.QUESTION:
        asked = Question(f"q{run.attempt}", "go on?", "approve", block_reason="approval")
        return Ending(outcome, reason, question=asked)
    if outcome is Outcome.DONE:
        return Ending(outcome, reason, exit_code=0, result={"claim": run.claim.text})
    retry_after_ms = rng.randrange(100, 4_000) if outcome is Outcome.THROTTLED else None
    return Ending(outcome, reason, "simulated", retry_after_ms=retry_after_ms)


class Tree(Watchman):
    """One agent and its guard."""

    def __init__(self, house: House, run: Run) -> None:
        self.house = house
        self.claim = run.claim.text
        self.job_id = run.job_id
        self.process = Process(f"agent-{self.claim}")
        self.guard_context = context_of(self.process.thread())
        self.said: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self.alone = self.exited = False
        self.killed = ""
        self.suspended_at: int | None = None
        self.kill_at: int | None = None
        self.stop_at: int | None = None
        self.suspend_max_ms = 0
        self._timer: SimHandle | None = None
        self._began_at: int | None = None
        self._started = False
        _HOSTS[self.process] = house.host
        self._run = run

    def begin(self, terms: str) -> None:
        """The order was read: the agent starts under the lease that it names, or waits while that is over."""
        self._in_guard(lambda: self.take_lease(terms.split()) if terms else None)

    async def _agent(self) -> None:
        rng = Random(f"{self.house.seed}/{self.job_id}/{self.claim}")
        steps = rng.choice((1, 2, 4, 8, 20))
        sim = (self._run.spec.inputs or {})["sim"]
        total_ms = rng.expovariate(1 / sim["work_ms"])
        for n in range(steps):
            await asyncio.sleep(total_ms / steps / 1000)
            self.house.history.acted(self.claim)
            if sim["poison"]:
                self.house.poisoned()
            if rng.random() < 0.4:
                self.said.put_nowait(("output", f"line {n}"))
            if rng.random() < 0.2:
                self.said.put_nowait(("note", {"step_id": f"s{n}", "key": f"{self.job_id}/s{n}"}))
        self.said.put_nowait(("end", ending_of(rng, self._run)))
        self._in_guard(lambda: self.kill("order"))

    # -- the guard's side

    def pipe(self, line: bytes) -> None:
        """The runner wrote to the control pipe."""
        self._in_guard(lambda: self.obey_line(line.decode()))

    def hang_up(self) -> None:
        """End of file on the control pipe: the runner is gone."""
        self._in_guard(lambda: self.kill("runner"))

    def _in_guard(self, act: Callable[[], None]) -> None:
        def do() -> None:
            act()
            self._watch()

        self.house.loop.call_later(PIPE_S, do, context=self.guard_context)

    def _watch(self) -> None:
        if self.alone or not (self._started or self._may_begin()):
            return
        self.judge()
        next_at = self.next_at()
        if self._timer is not None:
            self._timer.cancel()
        if next_at is not None and not self.alone:
            when = self.house.host.real_s(next_at)
            self._timer = self.house.loop.call_at(when, self._watch, context=self.guard_context)

    def _may_begin(self) -> bool:
        """As the guard's `may_start`: the runner may have been frozen since it took the job."""
        now = _now_ms()
        self._began_at = now if self._began_at is None else self._began_at
        give_up_at = self._began_at + self.suspend_max_ms
        if self.stop_at is None or now < self.stop_at:
            self._started = True
            _ = self.house.loop.start(self.process.main, self._agent(), name="agent")
        elif now >= give_up_at:
            self.kill("lease")
        else:
            when = self.house.host.real_s(give_up_at)
            self._timer = self.house.loop.call_at(when, self._watch, context=self.guard_context)
        return self._started

    def suspend(self) -> None:
        self.suspended_at = _now_ms()
        self.house.loop.stall(self.process.main)
        self.report("suspended")

    def signal_tree(self, *numbers: int) -> None:
        if signal.SIGCONT in numbers:
            self.house.loop.unstall(self.process.main)

    def kill(self, why: str) -> None:
        if not self.alone:
            self.alone = True
            self.killed = why
            self.said.put_nowait(("killed", why))
            self.report(f"killed:{why}")
            self.house.loop.kill(self.process)

    def report(self, event: str, **_values: int | str | None) -> None:
        self.house.history.sometimes[event] += 1
        self.house.history.trace(f"{self.process.name} {event}")


class SimLeases(Leases):
    """The product's, whose pipes lead to simulated guards."""

    def __init__(self, suspend_max_ms: int) -> None:
        super().__init__(suspend_max_ms=suspend_max_ms)
        self.trees: dict[int, Tree] = {}

    def _tell(self, line: bytes) -> None:
        for fd in sorted(self._fds):
            self.trees[fd].pipe(line)


@dataclass
class House:
    """One runner process's agents, on its host."""

    loop: SimLoop
    host: Host
    seed: str
    history: History
    leases: SimLeases
    poisoned: Callable[[], None]
    """An agent kills its runner."""
    trees_begun: int = 0

    def begin(self, run: Run) -> tuple[int, Tree]:
        """Starts an agent.

        Raises:
            Refused: LEASE_OVER, the runner was condemned.
        """
        self.trees_begun += 1
        terms = self.leases.enlist(self.trees_begun)
        if not terms:
            # Its guard would know no moment at which to stop it, until a beat is confirmed.
            what = f"the agent of {run.claim.text} began before its runner had a lease"
            self.history.violation("broken", what)
        tree = self.leases.trees[self.trees_begun] = Tree(self, run)
        tree.begin(terms)
        return self.trees_begun, tree

    def hang_up(self) -> None:
        """The runner died."""
        for tree in self.leases.trees.values():
            tree.hang_up()

    def living(self) -> list[Tree]:
        """Agents that still exist."""
        return [tree for tree in self.leases.trees.values() if not tree.alone]


class _SimAdapter:
    def __init__(self, house: House) -> None:
        self._house = house

    async def run(self, run: Run, desk: Desk) -> Ending:
        fd, tree = self._house.begin(run)
        try:
            if run.answer is not None:
                await desk.note(
                    EventType.ANSWER_CONSUMED, {"question_id": "q"}, consume_answer=True
                )
            return await self._serve(tree, desk)
        finally:
            self._house.leases.dismiss(fd)
            tree.hang_up()

    async def _serve(self, tree: Tree, desk: Desk) -> Ending:
        while True:
            kind, what = await tree.said.get()
            if kind == "output":
                await desk.output("stdout", what)
            elif kind == "note":
                await desk.note(EventType.STEP_STARTED, what, progress={what["step_id"]: what})
                if desk.pause_wished():
                    return Ending(Outcome.HUMAN, ReasonCode.PAUSED)
            elif kind == "end":
                ending: Ending = what
                return ending
            else:
                return Ending(Outcome.LOST, ReasonCode.LEASE_OVER, f"killed: {what}")


class SimAdapters(Adapters):
    """Every name is the simulated agent."""

    def __init__(self, house: House) -> None:
        self._adapter = Bounded(_SimAdapter(house))

    def adapter_for(self, name: str) -> Adapter:
        return self._adapter


class SimKeeper:
    """`orch.store.keeper.Keeper` as a task on a thread of its own; the same steps in the same order."""

    def __init__(
        self,
        house: House,
        client: SimClient,
        thread: Thread,
        instance_id: str,
        heard: Heard,
        *,
        lease_ms: int,
    ) -> None:
        self._house = house
        self._client = client
        self._thread = thread
        self._instance_id = instance_id
        self._lease_ms = lease_ms
        self._heard = heard
        self._stopped = False

    def start(self) -> None:
        _ = self._house.loop.start(self._thread, self._run(), name="keeper")

    def stop(self) -> None:
        self._stopped = True

    async def _run(self) -> None:
        host = self._house.host
        period_s = self._lease_ms * BEAT_FRACTION / 1000 / host.rate
        while not self._stopped:
            sent_ms = host.monotonic_ms()
            beaten = await self._beat()
            if self._stopped:
                return
            if beaten is None:
                await asyncio.sleep(period_s / 4)
            elif beaten:
                self._heard.confirm(sent_ms, self._lease_ms)
                await asyncio.sleep(period_s)
            else:
                self._heard.over()
                return

    async def _beat(self) -> bool | None:
        try:
            reply = await self._client.execute_command(
                "FCALL", library().function("beat"), 1, Keys(0).prefix, self._instance_id
            )
        except ResponseError as error:
            if "unction not found" in str(error):
                await self._load()
            return None
        except RedisError:
            return None
        if reply[0] != "ok":
            return False
        if not reply[2]:
            self._heard.forgotten()
        return True

    async def _load(self) -> None:
        try:
            await self._client.execute_command("FUNCTION", "LOAD", "REPLACE", library().code)
        except RedisError:
            return
