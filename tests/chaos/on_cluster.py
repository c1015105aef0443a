"""A Redis Cluster of three primaries; the one that serves the shard's slot has two replicas. Needs no root.

Processes are given the addresses of all nodes and find the shard themselves, past the proxy: what a node
announces is its own address. Links are therefore left alone here, and whoever holds a socket to a primary
that was replaced must find out by what it answers.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, ClassVar, Final

import anyio
from redis.crc import key_slot
from redis.exceptions import RedisError

from orch.store.engine import Engine
from orch.store.keys import Keys
from tests.chaos.nemesis import Act
from tests.chaos.replicated import FailoverFaults, Replicated
from tests.chaos.server import free_port

SLOTS: Final = 16_384
_HOST: Final = "127.0.0.1"
_BOUNDS: Final = (0, SLOTS // 3 + 1, SLOTS * 2 // 3 + 1, SLOTS)
_SLOT: Final = key_slot(Keys().prefix.encode())
_SERVING: Final = next(node for node in range(3) if _BOUNDS[node + 1] > _SLOT)
_VOTERS: Final = tuple(node for node in range(3) if node != _SERVING)
"""Primaries of other slots: nobody hurts them, and their votes elect."""
_REPLICAS: Final = (3, 4)
_NODE_TIMEOUT_MS: Final = 1_000
_HANDOVER_S: Final = 6.0
"""Servers give a planned failover five seconds."""


class OnCluster(Replicated):
    """The primary of the shard's slot, as the primaries of the other slots see it."""

    is_behind_links: ClassVar = False
    ways: ClassVar[tuple[str, ...]] = ("freeze", "kill")

    def __init__(self, root: Path, engine: Engine) -> None:
        ports: set[int] = set()
        while len(ports) < 5:
            ports.add(free_port(beside=10_000))
        super().__init__(root, engine, [(_HOST, port) for port in sorted(ports)])
        self.primary = _SERVING

    @property
    def url(self) -> str:
        """All nodes, any of which knows where the shard is."""
        hosts = ",".join(f"{host}:{port}" for host, port in self.addresses)
        return f"redis+cluster://{hosts}"

    def words_of(self, node: int) -> list[str]:
        """A node of a Cluster."""
        return [
            "--bind", _HOST, "--cluster-enabled", "yes",
            "--cluster-node-timeout", str(_NODE_TIMEOUT_MS),
            # Replicas stay with the shard, or another primary without any would get one.
            "--cluster-allow-replica-migration", "no",
            # A node that is too busy to answer in time must not take all slots with it.
            "--cluster-require-full-coverage", "no",
        ]  # fmt: skip

    def around(self, node: int) -> list[str]:
        """As it is."""
        return []

    async def join(self) -> None:
        """They meet, share the slots, and two become replicas."""
        for node, (host, port) in enumerate(self.addresses):
            await self._until_said(node, "PING")
            if node:
                await self._say(0, "CLUSTER", "MEET", host, port)
        for node in range(3):
            await self._say(node, "CLUSTER", "ADDSLOTSRANGE", _BOUNDS[node], _BOUNDS[node + 1] - 1)
        served = await self._say(_SERVING, "CLUSTER", "MYID")
        for node in _REPLICAS:
            # Refused until the node has heard of it.
            await self._until_said(node, "CLUSTER", "REPLICATE", served)

    async def is_whole(self) -> bool:
        """Both replicas are in step, and all nodes hold the Cluster for well."""
        with suppress(RedisError, KeyError):
            info = await self.command("INFO", "replication")
            online = sum(info[f"slave{n}"]["state"] == "online" for n in range(2))
            told = [await self._say(node, "CLUSTER", "INFO") for node in range(5)]
            return online == 2 and all("cluster_state:ok" in str(one) for one in told)
        return False

    async def elected(self) -> int | None:
        """Who serves the slot, when both voters say the same."""
        named = {await self._named_by(voter) for voter in _VOTERS}
        ports = [port for _, port in self.addresses]
        port = named.pop() if len(named) == 1 else None
        return ports.index(port) if port in ports else None

    async def _named_by(self, voter: int) -> int | None:
        with suppress(RedisError):
            for first, last, primary, *_ in await self._say(voter, "CLUSTER", "SLOTS"):
                if int(first) <= _SLOT <= int(last):
                    return int(primary[1])
        return None

    async def hand_over(self, rng: Random) -> bool:
        """A replica takes over as operators ask it to: it waits until it has everything."""
        old = self.primary
        others = [node for node in (_SERVING, *_REPLICAS) if node != old]
        try:
            await self._say(rng.choice(others), "CLUSTER", "FAILOVER")
        except RedisError:  # it is not in step
            return False
        return await self.wait_for_another(old, _HANDOVER_S)

    async def _say(self, node: int, *words: str | int) -> Any:
        return await self.clients[node].execute_command(*words)

    async def _until_said(self, node: int, *words: str | int) -> None:
        while True:
            with suppress(RedisError):
                await self._say(node, *words)
                return
            await anyio.sleep(0.05)


class ClusterFaults(FailoverFaults):
    """Faults of the shard's node."""

    def __init__(self, server: OnCluster, in_peace: anyio.Lock) -> None:
        super().__init__(server, in_peace)
        self._cluster = server

    def acts(self) -> dict[str, Act]:
        """By name."""
        return {**super().acts(), "handover": self.handover}

    def skipped(self) -> dict[str, str]:
        """What cannot be done here, and why."""
        return {"faults of links": "on a Cluster processes find the shard past the proxy"}

    async def handover(self, rng: Random) -> bool:
        """See `OnCluster.hand_over`."""
        async with self._in_peace:
            return await self._cluster.hand_over(rng)
