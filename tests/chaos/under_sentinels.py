"""A primary, two replicas and three sentinels, each pair in a network namespace of its own; needs root.

The proxy follows the primary that most sentinels name, as an HAProxy in front would. A primary that is cut
off from the others goes on acknowledging until they have elected another: what it acknowledged meanwhile is
gone afterwards. That is no violation where it is counted; Redis replication promises no more.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, Final

import anyio
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from orch.store.engine import Engine
from tests.chaos.nemesis import Act
from tests.chaos.proxy import Target
from tests.chaos.server import die_with_parent
from tests.chaos.verdict import Silence

_PORT, _SENTINEL_PORT = 6379, 26379
_DOWN_AFTER_MS: Final = 1_000
_ELECTION_S: Final = 25.0
_NODES: Final = (0, 1, 2)


def why_not() -> str:
    """Why there is no failover here; empty when there is."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = f"oc{os.getpid() % 100_000}-try"
    for words in (f"netns add {name}", f"netns del {name}"):
        try:
            subprocess.run(["ip", *words.split()], capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            return f"`ip {words}` does not work here: {error}"
    return ""


class Network:
    """A bridge and three namespaces behind it."""

    def __init__(self) -> None:
        self._tag = f"oc{os.getpid() % 100_000}"
        self._subnet = f"10.213.{os.getpid() % 200 + 20}"

    def name(self, node: int) -> str:
        """The node's namespace."""
        return f"{self._tag}-{node}"

    def address(self, node: int) -> str:
        """Where the node is."""
        return f"{self._subnet}.{node + 11}"

    def open(self) -> None:
        """Makes everything."""
        self._ip(f"link add {self._tag} type bridge")
        self._ip(f"addr add {self._subnet}.1/24 dev {self._tag}")
        self._ip(f"link set {self._tag} up")
        for node in _NODES:
            here, there, name = f"{self._tag}h{node}", f"{self._tag}n{node}", self.name(node)
            self._ip(f"netns add {name}")
            self._ip(f"link add {here} type veth peer name {there}")
            self._ip(f"link set {here} master {self._tag} up")
            self._ip(f"link set {there} netns {name}")
            self._ip(f"-n {name} addr add {self.address(node)}/24 dev {there}")
            self._ip(f"-n {name} link set {there} up")
            self._ip(f"-n {name} link set lo up")

    def cut(self, node: int) -> None:
        """The node reaches no other node any more; clients still reach it."""
        for other in _NODES:
            if other != node:
                self._ip(f"-n {self.name(node)} route replace blackhole {self.address(other)}/32")

    def heal(self) -> None:
        """All reach all."""
        for node in _NODES:
            for other in _NODES:
                with suppress(subprocess.CalledProcessError):
                    self._ip(f"-n {self.name(node)} route del blackhole {self.address(other)}/32")

    def close(self) -> None:
        """Removes everything."""
        for words in (
            *(f"netns del {self.name(node)}" for node in _NODES),
            f"link del {self._tag}",
        ):
            with suppress(subprocess.CalledProcessError):
                self._ip(words)

    @staticmethod
    def _ip(words: str) -> None:
        subprocess.run(["ip", *words.split()], check=True, capture_output=True)


class Trio:
    """What a run takes for its server: the primary of three."""

    appendfsync = "always"
    may_lose = True
    """Replication is not consensus."""

    def __init__(self, root: Path, engine: Engine) -> None:
        self._root = root
        self._engine = engine
        self._network = Network()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._primary = 0
        self._killed: set[str] = set()
        """What may be dead now."""
        self.broken: list[str] = []
        self.silences: list[Silence] = []
        """None is certain: while one primary is away another may acknowledge."""
        self.up = anyio.Event()
        self.starts = 0
        self.on_change: Callable[[], None] = lambda: None
        """Told when another node is the primary."""
        self._network.open()
        self._clients = [_client(self._network.address(node), _PORT) for node in _NODES]
        self._sentinels = [_client(self._network.address(node), _SENTINEL_PORT) for node in _NODES]

    # -- what a run needs of a server

    @property
    def target(self) -> Target:
        """Where the proxy goes."""
        return (self._network.address(self._primary), _PORT)

    @property
    def url(self) -> str:
        """The primary, past the proxy."""
        return f"redis://{self._network.address(self._primary)}:{_PORT}/0"

    @property
    def client(self) -> Redis:
        """A client of the primary."""
        return self._clients[self._primary]

    @property
    def pids(self) -> set[int]:
        """All of its processes."""
        return {process.pid for process in self._processes.values()}

    async def command(self, *words: str | int) -> Any:
        """One command to the primary."""
        return await self.client.execute_command(*words)

    async def keep(self, pause_s: Callable[[], float]) -> None:
        """Starts all, then follows the primary."""
        for node in _NODES:
            self._start_node(node)
        for node in _NODES:
            self._start_sentinel(node)
        while not await self._is_whole():
            await anyio.sleep(0.1)
        self.up.set()
        while True:
            await self._follow()
            self._look_for_deaths()
            await anyio.sleep(0.1)

    def heal(self) -> None:
        """Nothing is cut, frozen or down."""
        self._network.heal()
        for process in self._processes.values():
            process.send_signal(signal.SIGCONT)
        self._revive()

    async def aclose(self) -> None:
        """Ends everything."""
        for client in (*self._clients, *self._sentinels):
            await client.aclose()
        for process in self._processes.values():
            process.kill()
            process.wait()
        self._network.close()

    # -- its parts

    def _start_node(self, node: int) -> None:
        folder = self._root / f"node-{node}"
        folder.mkdir(exist_ok=True)
        words = [
            "--port", str(_PORT), "--bind", "0.0.0.0", "--protected-mode", "no", "--dir", str(folder),
            "--save", "", "--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0",
            "--hash-max-listpack-value", "1024", "--maxmemory-policy", "noeviction",
        ]  # fmt: skip
        if node != self._primary:
            words += ["--replicaof", f"{self._network.address(self._primary)} {_PORT}"]
        self._spawn(f"node-{node}", node, words)
        self.starts += 1

    def _start_sentinel(self, node: int) -> None:
        config = self._root / f"sentinel-{node}.conf"
        config.write_text(
            f"port {_SENTINEL_PORT}\nbind 0.0.0.0\nprotected-mode no\ndir {self._root}\n"
            f"sentinel monitor orch {self._network.address(0)} {_PORT} 2\n"
            f"sentinel down-after-milliseconds orch {_DOWN_AFTER_MS}\n"
            "sentinel failover-timeout orch 5000\nsentinel parallel-syncs orch 2\n"
        )
        self._spawn(f"sentinel-{node}", node, [str(config), "--sentinel"])

    def _spawn(self, name: str, node: int, words: list[str]) -> None:
        argv = ["ip", "netns", "exec", self._network.name(node), str(self._engine.path), *words]
        with (self._root / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one call, no lock taken
            )  # fmt: skip

    def _revive(self) -> None:
        for node in _NODES:
            if self._processes[f"node-{node}"].poll() is not None:
                self._start_node(node)

    def _look_for_deaths(self) -> None:
        for name, process in self._processes.items():
            code = process.poll()
            if code is not None and name not in self._killed:
                self._killed.add(name)
                self.broken.append(f"{name} ended by itself with {code}")

    async def _is_whole(self) -> bool:
        """Two replicas are in step, and every sentinel knows the other two."""
        with suppress(RedisError, KeyError):
            info = await self.command("INFO", "replication")
            online = sum(info[f"slave{n}"]["state"] == "online" for n in range(2))
            known = [
                await one.execute_command("SENTINEL", "MASTER", "orch") for one in self._sentinels
            ]
            return online == 2 and all(
                int(master["num-other-sentinels"]) == 2 and int(master["num-slaves"]) == 2
                for master in known
            )
        return False

    async def _follow(self) -> None:
        named: Counter[str] = Counter()
        for sentinel in self._sentinels:
            with suppress(RedisError):
                said = await sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "orch")
                named[str(said[0])] += 1
        for node in _NODES:
            if named[self._network.address(node)] >= 2 and node != self._primary:
                self._primary = node
                self.on_change()

    # -- the fault

    async def elect(self, rng: Random) -> bool:
        """The primary is cut off, frozen or killed until another is elected; then it comes back."""
        with anyio.move_on_after(_ELECTION_S):
            while not await self._is_whole():
                await anyio.sleep(0.1)
        old = self._primary
        self._strike(old, rng.choice(["cut", "cut", "freeze", "kill"]))
        try:
            with anyio.move_on_after(_ELECTION_S):
                while self._primary == old:
                    await anyio.sleep(0.05)
            await anyio.sleep(rng.uniform(0, 1))
        finally:
            self.heal()
            self._killed.clear()
        return self._primary != old

    def _strike(self, node: int, how: str) -> None:
        process = self._processes[f"node-{node}"]
        if how == "cut":
            self._network.cut(node)
        elif how == "freeze":
            process.send_signal(signal.SIGSTOP)
        else:
            self._killed.add(f"node-{node}")
            process.kill()
            process.wait()


def _client(host: str, port: int) -> Redis:
    return Redis(
        host=host, port=port, decode_responses=True, socket_timeout=1, socket_connect_timeout=1,
        retry=Retry(NoBackoff(), 0), encoding_errors="surrogateescape",
    )  # fmt: skip


class FailoverFaults:
    """Faults of the trio."""

    def __init__(self, trio: Trio, in_peace: anyio.Lock) -> None:
        self._trio = trio
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
        """See `Trio.elect`."""
        async with self._in_peace:
            return await self._trio.elect(rng)
