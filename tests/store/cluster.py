"""Real Clusters and Sentinels on loopback, made of the server program that is here."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from redis.crc import key_slot

from orch.store.engine import Engine
from orch.store.keys import Keys

SLOTS = 16_384
_POLL_S = 0.01


def free_port() -> int:
    """A port that nobody listens on, nor on the one of the Cluster's bus beside it."""
    while True:
        with socket.socket() as probe, socket.socket() as bus:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            try:
                bus.bind(("127.0.0.1", port + 10_000))
            except (OSError, OverflowError):
                continue
            return port


@dataclass(slots=True)
class Node:
    """One server process."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def client(self) -> redis.Redis:
        """A connection to it."""
        return redis.Redis(port=self.port, decode_responses=True, protocol=2)

    def say(self, *command: str | int) -> Any:
        """One command."""
        with self.client as client:
            return client.execute_command(*command)

    @property
    def is_in_step(self) -> bool:
        """Whether a replica has all that its primary has."""
        with self.client as client:
            return bool(client.info("replication").get("master_link_status") == "up")

    def kill(self) -> None:
        """As a power cut does."""
        self.process.kill()
        self.process.wait()


def until(fact: Any) -> None:
    """Asks again until it holds; the caller's timeout ends it."""
    while True:
        with suppress(redis.RedisError):
            if fact():
                return
        threading.Event().wait(_POLL_S)


@contextmanager
def node(engine: Engine, home: Path, *words: str, port: int | None = None) -> Iterator[Node]:
    """A server that answers."""
    port = port or free_port()
    folder = home / str(port)
    folder.mkdir(parents=True)
    where = ("--port", str(port), "--dir", str(folder))
    with _started(engine, port, *words, *where, "--save", "") as made:
        yield made


@contextmanager
def _started(engine: Engine, port: int, *words: str) -> Iterator[Node]:
    """The program with these words, once it answers there; killed at the end."""
    argv = [str(engine.path), *words]
    made = Node(port, subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    try:
        until(lambda: made.say("PING"))
        yield made
    finally:
        made.kill()


_PATIENT_MS = 10_000
"""Of nodes that nobody kills: a busy machine must not make them give each other up."""
_QUICK_MS = 500


def _cluster_words(node_timeout_ms: int, appendfsync: str) -> Sequence[str]:
    timeout = ("--cluster-node-timeout", str(node_timeout_ms))
    return (
        "--cluster-enabled",
        "yes",
        *timeout,
        "--appendonly",
        "yes",
        "--appendfsync",
        appendfsync,
    )


@dataclass(slots=True)
class Primaries:
    """Three nodes that share the slots."""

    nodes: list[Node]

    @property
    def url(self) -> str:
        """An address that leads to the shard."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{one.port}" for one in self.nodes)

    def serving(self, shard: int = 0) -> Node:
        """The primary of the shard's slot, as the cluster was made."""
        slot = key_slot(Keys(shard).prefix.encode())
        return next(one for one, end in zip(self.nodes, _BOUNDS[1:], strict=True) if slot < end)


@dataclass(slots=True)
class Cluster(Primaries):
    """Three primaries, and a replica of the one that serves the first shard's slot."""

    replica: Node


_BOUNDS = (0, SLOTS // 3 + 1, SLOTS * 2 // 3 + 1, SLOTS)
"""Where the slots of each of three nodes begin, and where all of them end."""


def _joined(nodes: Sequence[Node]) -> None:
    """They know each other, and the first three share the slots."""
    for number, one in enumerate(nodes):
        one.say("CLUSTER", "MEET", "127.0.0.1", nodes[0].port)
        if number < 3:
            one.say("CLUSTER", "ADDSLOTSRANGE", _BOUNDS[number], _BOUNDS[number + 1] - 1)


def _serve(nodes: Sequence[Node]) -> bool:
    return all("cluster_state:ok" in str(one.say("CLUSTER", "INFO")) for one in nodes)


@contextmanager
def primaries(engine: Engine, home: Path, *more: str) -> Iterator[Primaries]:
    """A Cluster of three nodes without replicas, which nothing disturbs."""
    words = (*_cluster_words(_PATIENT_MS, "no"), *more)
    with ExitStack() as stack:
        nodes = [stack.enter_context(node(engine, home, *words)) for _ in range(3)]
        _joined(nodes)
        until(lambda: _serve(nodes))
        yield Primaries(nodes)


@contextmanager
def cluster(engine: Engine, home: Path) -> Iterator[Cluster]:
    """A Cluster that serves all slots and has its replica in step."""
    words = _cluster_words(_QUICK_MS, "everysec")
    with ExitStack() as stack:
        nodes = [stack.enter_context(node(engine, home, *words)) for _ in range(4)]
        _joined(nodes)
        made = Cluster(nodes[:3], nodes[3])
        serving = made.serving().say("CLUSTER", "MYID")
        until(lambda: serving in str(made.replica.say("CLUSTER", "NODES")))
        made.replica.say("CLUSTER", "REPLICATE", serving)
        until(lambda: _serve(nodes))
        until(lambda: made.replica.is_in_step)
        yield made


@dataclass(slots=True)
class Watched:
    """A primary, its replica, and the Sentinels that watch them."""

    primary: Node
    replica: Node
    sentinels: list[Node]

    @property
    def url(self) -> str:
        """An address that leads to the primary, whichever it is."""
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in self.sentinels)
        return f"redis+sentinel://{hosts}/orch"


@contextmanager
def watched(engine: Engine, home: Path) -> Iterator[Watched]:
    """Three Sentinels that agree on who is primary and know its replica."""
    with ExitStack() as stack:
        primary = stack.enter_context(node(engine, home, "--appendonly", "yes"))
        replica = stack.enter_context(
            node(engine, home, "--appendonly", "yes", "--replicaof", f"127.0.0.1 {primary.port}")
        )
        sentinels = [stack.enter_context(_sentinel(engine, home, primary)) for _ in range(3)]
        for one in sentinels:
            until(lambda one=one: len(one.say("SENTINEL", "SENTINELS", "orch")) == 2)
            until(lambda one=one: len(one.say("SENTINEL", "REPLICAS", "orch")) == 1)
        until(lambda: replica.is_in_step)
        yield Watched(primary, replica, sentinels)


@contextmanager
def _sentinel(engine: Engine, home: Path, primary: Node) -> Iterator[Node]:
    port = free_port()
    config = home / f"sentinel-{port}.conf"
    config.write_text(
        f"port {port}\ndir {home}\n"
        f"sentinel monitor orch 127.0.0.1 {primary.port} 2\n"
        "sentinel down-after-milliseconds orch 500\nsentinel failover-timeout orch 3000\n"
    )
    with _started(engine, port, str(config), "--sentinel") as made:
        yield made
