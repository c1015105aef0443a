"""Who keeps the actors of a run alive?

The harness is the supervisor: it starts every part through the nursery, gives each a link of its own, starts
what dies again, and knows what it killed itself. A part that dies by itself is a violation.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Final

import anyio
from anyio.abc import TaskGroup

from actors.burials import bury_processes
from contracts.errors import OrchError
from orch.store.store import Store
from orch.system import monotonic_ms
from tests.chaos.load import uptime_ms
from tests.chaos.nursery import PACKET_BYTES_MAX
from tests.chaos.proxy import Link, Proxy
from tests.chaos.verdict import Silence

TREE: Final = Path(__file__).resolve().parents[2]
_RESTART_S_MAX: Final = 0.3


NEVER_MS: Final = 2**62


@dataclass(eq=False)
class Actor:
    """One part of the stack and the process that plays it now."""

    name: str
    role: str
    words: tuple[str, ...]
    link: Link
    pid: int = 0
    number: int = 0
    born_ms: int = 0
    doomed: str = ""
    """Why it was killed; empty when nobody killed it."""
    frozen: bool = False
    reserved: bool = False
    """A fault is under way at it, its link or one of its guards: one at a time is what is promised."""
    bury_at_once: bool = True
    """As `actors up` does, once nobody holds the lifeline; else the reaper finds it."""
    back_s: float | None = None
    """How long after a death it is started again; drawn otherwise."""
    ready_fd: int = -1
    lifeline_fd: int = -1
    metrics_port: int | None = None
    ended: anyio.Event = field(default_factory=anyio.Event)

    @property
    def lives(self) -> bool:
        """Whether there is a process to hurt."""
        return self.pid > 0 and not self.ended.is_set()

    @property
    def serves(self) -> bool:
        """Whether it has come so far as to announce itself."""
        return self.lives and self.metrics_port is not None

    def signal(self, number: int) -> None:
        """To its process, if it lives."""
        if self.lives:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


class House:
    """All parts of one run."""

    def __init__(
        self,
        root: Path,
        proxy: Proxy,
        tasks: TaskGroup,
        rng: Random,
        *,
        url_of: Callable[[Link], str],
    ) -> None:
        self.root = root
        self.actors: list[Actor] = []
        self.deaths: Counter[str] = Counter()
        self.silences: list[Silence] = []
        """When runners were dead or frozen."""
        self.died_alone: Callable[[Actor, int], bool] = lambda _actor, _code: False
        """Asked about a death nobody ordered: whether it can be explained (a poison job)."""
        self.broken: list[str] = []
        self.burier: Store | None = None
        self.closing = False
        self._proxy = proxy
        self._tasks = tasks
        self._rng = rng
        self._url_of = url_of
        self._orders = 0
        self._waiting: dict[int, Actor] = {}
        self._by_pid: dict[int, Actor] = {}

    async def open(self) -> None:
        """Starts the nursery and waits until it has imported everything."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with (self.root / "nursery.log").open("ab") as log:
            self._nursery = subprocess.Popen(  # noqa: ASYNC220 - a fork, milliseconds
                [sys.executable, "-P", "-m", "tests.chaos.nursery", str(theirs.fileno())],
                cwd=self.root, env={**os.environ, "PYTHONPATH": str(TREE)}, pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        theirs.close()
        ours.setblocking(False)
        self._control = ours
        await anyio.wait_readable(ours)
        assert ours.recv(PACKET_BYTES_MAX), (self.root / "nursery.log").read_text()
        self._tasks.start_soon(self._hear)

    async def add(self, name: str, role: str, words: Sequence[str]) -> Actor:
        """Starts a part and keeps it."""
        link = await self._proxy.link(name)
        actor = Actor(name, role, tuple(words), link)
        self.actors.append(actor)
        self._tasks.start_soon(self._keep, actor)
        return actor

    def of_role(self, *roles: str) -> list[Actor]:
        """The parts of these roles; all without roles."""
        return [actor for actor in self.actors if not roles or actor.role in roles]

    def kill(self, actor: Actor, why: str) -> None:
        """SIGKILL, ours."""
        actor.doomed = why
        actor.frozen = False
        actor.signal(signal.SIGKILL)

    def thaw(self) -> None:
        """Nobody is frozen any more."""
        for actor in self.actors:
            actor.frozen = False
            actor.signal(signal.SIGCONT)

    # -- one part's lives

    async def _keep(self, actor: Actor) -> None:
        while not self.closing:
            self._spawn(actor)
            await actor.ended.wait()
            self._tasks.start_soon(self._bury, actor.pid, actor.lifeline_fd, actor.bury_at_once)
            actor.lifeline_fd = -1
            drawn_s = self._rng.uniform(0, _RESTART_S_MAX)
            await anyio.sleep(drawn_s if actor.back_s is None else actor.back_s)

    def _spawn(self, actor: Actor) -> None:
        actor.ended, actor.doomed, actor.frozen, actor.metrics_port = anyio.Event(), "", False, None
        ready_read, ready_write = os.pipe()
        fds = [ready_write]
        if actor.role == "runner":
            actor.lifeline_fd, lifeline_write = os.pipe()
            fds.append(lifeline_write)
        self._orders += 1
        actor.number, actor.ready_fd = self._orders, ready_read
        self._waiting[self._orders] = actor
        order = {
            "number": self._orders,
            "argv": [
                actor.role, "--home", str(self.root / "home"),
                "--redis-url", self._url_of(actor.link), *actor.words,
            ],
            "env": self._environ(),
            "cwd": str(self.root),
            "log": str(self.root / f"{actor.name}.log"),
            "ready": True,
            "lifeline": len(fds) == 2,
        }  # fmt: skip
        socket.send_fds(self._control, [json.dumps(order).encode()], fds)
        for fd in fds:
            os.close(fd)
        self._tasks.start_soon(self._await_ready, actor, ready_read)

    def _environ(self) -> dict[str, str]:
        kept = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
        # Every agent inherits HOME: by it the leftovers of this run are told from anybody else's.
        return {**kept, "HOME": str(self.root), "PYTHONPATH": str(TREE)}

    async def _await_ready(self, actor: Actor, fd: int) -> None:
        try:
            await anyio.wait_readable(fd)
            line = os.read(fd, 4096)
        finally:
            os.close(fd)
        if line and actor.ready_fd == fd:
            actor.metrics_port = int(json.loads(line)["metrics_port"])

    async def _hear(self) -> None:
        while True:
            await anyio.wait_readable(self._control)
            try:
                packet = self._control.recv(PACKET_BYTES_MAX)
            except BlockingIOError:
                continue
            if not packet:
                if not self.closing:
                    self.broken.append("the nursery died")
                return
            self._heard(json.loads(packet))

    def _heard(self, news: Mapping[str, int]) -> None:
        if "number" in news:
            actor = self._waiting.pop(news["number"])
            actor.pid, actor.born_ms = news["pid"], monotonic_ms()
            self._used_again(actor.pid)
            self._by_pid[actor.pid] = actor
            return
        actor = self._by_pid.pop(news["pid"])
        self._judge_death(actor, news["status"])
        if actor.role == "runner":
            self.silences.append(Silence(actor.pid, "the death", uptime_ms(), NEVER_MS))
        actor.ended.set()

    def _used_again(self, pid: int) -> None:
        """The kernel gives numbers again: who had this one before is no longer meant by it."""
        for n, silence in enumerate(self.silences):
            if silence.runner == pid and silence.to_ms == NEVER_MS:
                self.silences[n] = replace(silence, to_ms=uptime_ms())

    def _judge_death(self, actor: Actor, code: int) -> None:
        why = actor.doomed
        if not why and not self.died_alone(actor, code):
            self.broken.append(f"{actor.name} (pid {actor.pid}) ended by itself with {code}")
        elif why == "asked to leave" and code != 0:
            self.broken.append(
                f"{actor.name} (pid {actor.pid}) was asked to leave and ended with {code}"
            )
        self.deaths[why or "poison"] += 1

    async def _bury(self, pid: int, lifeline_fd: int, at_once: bool) -> None:
        """What the supervisor of `orch up` does: at once, when no guard is left that an agent hangs on."""
        if lifeline_fd < 0:
            return
        try:
            await anyio.wait_readable(lifeline_fd)
        finally:
            os.close(lifeline_fd)
        if at_once and self.burier is not None and not self.closing:
            with suppress(OrchError):
                await bury_processes(self.burier, {pid})

    # -- the end

    async def close(self, within_s: float) -> None:
        """Asks all to leave; who does not is broken and killed."""
        self.closing = True
        for actor in self.actors:
            if actor.lives:
                actor.doomed = actor.doomed or "asked to leave"
                actor.signal(signal.SIGCONT)
                actor.signal(signal.SIGTERM)
        with anyio.move_on_after(within_s):
            for actor in self.actors:
                if actor.lives:
                    await actor.ended.wait()
        late = [actor for actor in self.actors if actor.lives]
        self.broken += [f"{actor.name} did not leave within {within_s} s" for actor in late]
        self.destroy()

    def destroy(self) -> None:
        """The nursery kills what it still has."""
        self.closing = True
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_WR)
        self._nursery.wait()

    async def forget(self) -> None:
        """Gives its sockets back, when nothing listens to them any more."""
        self._control.close()
        if self.burier is not None:
            await self.burier.connection.aclose()
