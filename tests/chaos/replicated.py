"""Several server processes that a run takes for its server: one is the primary, another takes over for it.

What an old primary acknowledged and no other had yet is gone after it was replaced. That is no violation
where it is counted; Redis replication promises no more. Who the primary is, is asked of those who decide it.
"""

from __future__ import annotations

import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, ClassVar, Final

import anyio
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from orch.store.engine import Engine
from tests.chaos.nemesis import Act
from tests.chaos.proxy import Target
from tests.chaos.server import die_with_parent
from tests.chaos.verdict import Silence

ELECTION_S: Final = 25.0
_POLL_S: Final = 0.1


class Replicated(ABC):
    """A primary and those who may take its place."""

    appendfsync = "always"
    may_lose = True
    """Replication is not consensus."""
    is_behind_links: ClassVar[bool]
    """Whether processes reach it through their links; else they find it themselves at `url`."""
    ways: ClassVar[tuple[str, ...]]
    """How a primary is hurt."""

    def __init__(self, root: Path, engine: Engine, addresses: Sequence[tuple[str, int]]) -> None:
        self.root = root
        self.engine = engine
        self.addresses = addresses
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.primary = 0
        self._killed: set[str] = set()
        """What may be dead now."""
        self.broken: list[str] = []
        self.silences: list[Silence] = []
        """None is certain: while one primary is away another may acknowledge."""
        self.up = anyio.Event()
        self.starts = 0
        self.on_change: Callable[[], None] = lambda: None
        """Told when another node is the primary."""
        self.clients = [client_of(*address) for address in addresses]

    # -- what a run needs of a server

    @property
    def target(self) -> Target:
        """Where the proxy goes."""
        return self.addresses[self.primary]

    @property
    def url(self) -> str:
        """The primary, past the proxy."""
        host, port = self.addresses[self.primary]
        return f"redis://{host}:{port}/0"

    @property
    def client(self) -> Redis:
        """A client of the primary."""
        return self.clients[self.primary]

    @property
    def pids(self) -> set[int]:
        """All of its processes."""
        return {process.pid for process in self.processes.values()}

    async def command(self, *words: str | int) -> Any:
        """One command to the primary."""
        return await self.client.execute_command(*words)

    async def keep(self, pause_s: Callable[[], float]) -> None:
        """Starts all, then follows the primary."""
        for node in range(len(self.addresses)):
            self.start_node(node)
        await self.join()
        await self._wait_until_whole()
        self.up.set()
        while True:
            self._follow(await self.elected())
            self._look_for_deaths()
            await anyio.sleep(_POLL_S)

    def heal(self) -> None:
        """Nobody is frozen or down."""
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
        for node in range(len(self.addresses)):
            if self.processes[node_name(node)].poll() is not None:
                self.start_node(node)

    async def aclose(self) -> None:
        """Ends everything."""
        for client in self.clients:
            await client.aclose()
        for process in self.processes.values():
            process.kill()
            process.wait()

    # -- what its kinds do each in their own way

    @abstractmethod
    def words_of(self, node: int) -> list[str]:
        """What the node's program is started with."""

    @abstractmethod
    def around(self, node: int) -> list[str]:
        """Words of a program that starts it, for where it lives."""

    @abstractmethod
    async def join(self) -> None:
        """All run: they are made to know each other."""

    @abstractmethod
    async def is_whole(self) -> bool:
        """Whether another could take over, and those who decide know of it."""

    @abstractmethod
    async def elected(self) -> int | None:
        """The node that is the primary now, by most of those who decide."""

    # -- its parts

    def start_node(self, node: int) -> None:
        """Starts it on what is in its folder."""
        folder = self.root / node_name(node)
        folder.mkdir(exist_ok=True)
        durable = [
            "--port", str(self.addresses[node][1]), "--dir", str(folder), "--save", "",
            "--appendonly", "yes", "--appendfsync", self.appendfsync, "--repl-diskless-sync-delay", "0",
            "--hash-max-listpack-value", "1024", "--maxmemory-policy", "noeviction",
        ]  # fmt: skip
        self.spawn(node_name(node), self.around(node), [*durable, *self.words_of(node)])
        self.starts += 1

    def spawn(self, name: str, around: Sequence[str], words: Sequence[str]) -> None:
        """Starts the server program with these words."""
        with (self.root / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*around, str(self.engine.path), *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=die_with_parent,  # noqa: PLW1509 - one call, no lock taken
            )  # fmt: skip

    def _follow(self, node: int | None) -> None:
        if node is not None and node != self.primary:
            self.primary = node
            self.on_change()

    def _look_for_deaths(self) -> None:
        for name, process in self.processes.items():
            code = process.poll()
            if code is not None and name not in self._killed:
                self._killed.add(name)
                self.broken.append(f"{name} ended by itself with {code}")

    async def _wait_until_whole(self) -> None:
        while not await self.is_whole():
            await anyio.sleep(_POLL_S)

    # -- the fault

    async def elect(self, rng: Random) -> bool:
        """The primary is hurt until another is elected; then it comes back."""
        with anyio.move_on_after(ELECTION_S):
            await self._wait_until_whole()
        old = self.primary
        self.strike(old, rng.choice(self.ways))
        try:
            await self.wait_for_another(old)
            await anyio.sleep(rng.uniform(0, 1))
        finally:
            self.heal()
            self._killed.clear()
        return self.primary != old

    async def wait_for_another(self, old: int, within_s: float = ELECTION_S) -> bool:
        """Whether another one became the primary in time."""
        with anyio.move_on_after(within_s):
            while self.primary == old:
                await anyio.sleep(_POLL_S / 2)
        return self.primary != old

    def strike(self, node: int, how: str) -> None:
        """Freezes or kills a node."""
        process = self.processes[node_name(node)]
        if how == "freeze":
            process.send_signal(signal.SIGSTOP)
        else:
            self._killed.add(node_name(node))
            process.kill()
            process.wait()


def node_name(node: int) -> str:
    """Of its folder, its log and its process."""
    return f"node-{node}"


def client_of(host: str, port: int) -> Redis:
    """An impatient client of one process."""
    return Redis(
        host=host, port=port, decode_responses=True, socket_timeout=1, socket_connect_timeout=1,
        retry=Retry(NoBackoff(), 0), encoding_errors="surrogateescape",
    )  # fmt: skip


class FailoverFaults:
    """What can happen to a primary that another may replace; one thing after the other."""

    def __init__(self, server: Replicated, in_peace: anyio.Lock) -> None:
        self._server = server
        self._in_peace = in_peace

    def acts(self) -> dict[str, Act]:
        """By name."""
        return {"failover": self.failover}

    def skipped(self) -> dict[str, str]:
        """Nothing that it could do is left out."""
        return {}

    async def sample(self) -> None:
        """There is nothing to sample."""

    async def failover(self, rng: Random) -> bool:
        """See `Replicated.elect`."""
        async with self._in_peace:
            return await self._server.elect(rng)
