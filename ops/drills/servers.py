"""Servers of a drill's own, as an operator runs them beside Orch: one, a pair under Sentinels, a Cluster.

They are made of the server program that Orch would use itself, listen on loopback, and end with the drill. A
port stays a server's over its death, so that it can be started again where everybody looks for it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.retry import Retry

from contracts.errors import Refused
from ops.drills.children import end, start
from ops.drills.scene import Failed, Lacking, Scene, waited
from orch.store.engine import Engine, find_engine
from orch.store.keys import Keys

SERVICE: Final = "orch"
"""What the Sentinels call the primary."""
SLOTS: Final = 16_384
_PORTS: Final = (20_000, 22_700)
"""Below what the kernel lends to clients, the ports of a Cluster's bus (10,000 higher) included."""
_HOST: Final = "127.0.0.1"
_DURABLE: Final = (
    "--save", "", "--appendonly", "yes", "--maxmemory-policy", "noeviction",
    "--hash-max-listpack-value", "1024",
)  # fmt: skip


def the_engine() -> Engine:
    """The server program. Raises Lacking when there is none."""
    try:
        return find_engine()
    except Refused as error:
        raise Lacking(f"{error.message}. {error.hint}") from error


@cache
def _ports() -> Iterator[int]:
    """Free ports, each once; drills that run side by side begin at different places."""
    low, high = _PORTS
    offset = os.getpid() * 37 % (high - low)
    return (low + (n + offset) % (high - low) for n in range(high - low))


def free_port() -> int:
    """One that nobody listens on, nor on that of the Cluster's bus beside it."""
    for port in _ports():
        with socket.socket() as probe, socket.socket() as bus, suppress(OSError):
            probe.bind((_HOST, port))
            bus.bind((_HOST, port + 10_000))
            return port
    raise Lacking(f"no free port between {_PORTS[0]} and {_PORTS[1]}")


@dataclass(slots=True)
class Server:
    """One server program on one folder and one port."""

    scene: Scene
    name: str
    words: Sequence[str]
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def data(self) -> Path:
        """Its folder."""
        return self.scene.root / f"server-{self.name}"

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://{_HOST}:{self.port}/0"

    def start(self) -> None:
        """Starts it on what is in the folder, and waits for its answer. Raises Failed without one."""
        self.data.mkdir(exist_ok=True)
        log = self.scene.root / f"{self.name}.log"
        argv = [str(the_engine().path), *self.words, "--port", str(self.port), "--bind", _HOST]
        self._process = start([*argv, "--dir", str(self.data)], log, cwd=self.data)
        if not waited(lambda: self.says("PING")):
            raise Failed(f"the server {self.name} does not answer; its log is {log}")

    def kill(self) -> None:
        """SIGKILL: what it had not written is gone."""
        assert self._process is not None
        end(self._process, signal.SIGKILL)

    def end(self) -> None:
        """At the end of the drill; nobody needs its data any more."""
        if self._process is not None:
            end(self._process, signal.SIGKILL)

    def say(self, *command: str | int) -> Any:
        """One command past Orch. Raises redis.RedisError."""
        client = redis.Redis(
            port=self.port,
            decode_responses=True,
            protocol=2,
            socket_timeout=5,
            retry=Retry(NoBackoff(), 0),
        )
        with client:
            return client.execute_command(*command)

    def says(self, *command: str | int) -> Any:
        """The same; None when it cannot."""
        with suppress(redis.RedisError):
            return self.say(*command)
        return None

    def fact(self, section: str, name: str) -> str:
        """A line of INFO; empty when it does not answer."""
        found = self.says("INFO", section)
        return str(found.get(name, "")) if isinstance(found, dict) else ""

    # -- its data, while it is down

    def keep(self) -> Path:
        """A copy of its folder, as a backup that was taken just now."""
        copy = self.scene.root / f"copy-of-{self.name}"
        shutil.copytree(self.data, copy)
        return copy

    def go_back(self, copy: Path) -> None:
        """Its folder is what the copy is."""
        shutil.rmtree(self.data)
        shutil.copytree(copy, self.data)


def server(scene: Scene, name: str = "primary", *words: str, appendfsync: str = "always") -> Server:
    """A server that answers; it ends with the scene."""
    made = Server(scene, name, (*_DURABLE, "--appendfsync", appendfsync, *words))
    scene.opened.callback(made.end)
    made.start()
    return made


def needs(claim: str, fact: Any) -> None:
    """Waits until servers have found each other. Raises Failed when they do not."""
    if not waited(fact):
        raise Failed(f"{claim}: not so")


# ---------------------------------------------------------------- a pair under Sentinels


@dataclass(frozen=True, slots=True)
class Watched:
    """A primary, its replica, and three Sentinels."""

    primary: Server
    replica: Server
    sentinels: list[Server]

    @property
    def url(self) -> str:
        """An address that leads to the primary, whichever it is."""
        hosts = ",".join(f"{_HOST}:{one.port}" for one in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}"

    def primary_port(self) -> int:
        """Where the Sentinels say that the primary is; 0 when none answers."""
        for one in self.sentinels:
            found = one.says("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
            if found:
                return int(found[1])
        return 0


def watched(scene: Scene) -> Watched:
    """All of them, agreed on who is who, the replica in step."""
    primary = server(scene, "primary")
    replica = server(scene, "replica", "--replicaof", f"{_HOST} {primary.port}")
    sentinels = [_sentinel(scene, n, primary) for n in range(3)]
    for one in sentinels:
        needs(
            "the Sentinels know each other",
            lambda one=one: len(one.says("SENTINEL", "SENTINELS", SERVICE) or ()) == 2,
        )
        needs(
            "they know the replica",
            lambda one=one: len(one.says("SENTINEL", "REPLICAS", SERVICE) or ()) == 1,
        )
    needs(
        "the replica is in step", lambda: replica.fact("replication", "master_link_status") == "up"
    )
    return Watched(primary, replica, sentinels)


def _sentinel(scene: Scene, number: int, primary: Server) -> Server:
    config = scene.root / f"sentinel-{number}.conf"
    config.write_text(
        f"sentinel monitor {SERVICE} {_HOST} {primary.port} 2\n"
        f"sentinel down-after-milliseconds {SERVICE} 1000\n"
        f"sentinel failover-timeout {SERVICE} 5000\n"
    )
    made = Server(scene, f"sentinel-{number}", (str(config), "--sentinel"))
    scene.opened.callback(made.end)
    made.start()
    return made


# ---------------------------------------------------------------- a Cluster


@dataclass(frozen=True, slots=True)
class Cluster:
    """Three primaries, and a replica of the one that serves the shard's slot."""

    primaries: list[Server]
    serving: Server
    replica: Server

    @property
    def url(self) -> str:
        """An address that leads to the shard."""
        return "redis+cluster://" + ",".join(f"{_HOST}:{one.port}" for one in self.primaries)


def cluster(scene: Scene) -> Cluster:
    """A Cluster that serves all slots, its replica in step."""
    words = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000")
    nodes = [server(scene, f"node-{n}", *words) for n in range(4)]
    bounds = [0, SLOTS // 3 + 1, SLOTS * 2 // 3 + 1, SLOTS]
    for number, one in enumerate(nodes):
        one.say("CLUSTER", "MEET", _HOST, nodes[0].port)
        if number < 3:
            one.say("CLUSTER", "ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
    slot = key_slot(Keys(0).prefix.encode())
    serving = next(node for node, above in zip(nodes, bounds[1:], strict=False) if slot < above)
    name, replica = serving.say("CLUSTER", "MYID"), nodes[3]
    needs("the replica knows its primary", lambda: name in str(replica.says("CLUSTER", "NODES")))
    replica.say("CLUSTER", "REPLICATE", name)
    needs(
        "all slots are served",
        lambda: all("cluster_state:ok" in str(n.says("CLUSTER", "INFO")) for n in nodes),
    )
    needs(
        "the replica is in step", lambda: replica.fact("replication", "master_link_status") == "up"
    )
    return Cluster(nodes[:3], serving, replica)
