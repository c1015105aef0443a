"""A primary, two replicas and three sentinels, each pair in a network namespace of its own; needs root.

The proxy follows the primary that most sentinels name, as an HAProxy in front would. A primary that is cut
off from the others goes on acknowledging until they have elected another.
"""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Final

from redis.exceptions import RedisError

from orch.store.engine import Engine
from tests.chaos.replicated import Replicated, client_of

_PORT, _SENTINEL_PORT = 6379, 26379
_DOWN_AFTER_MS: Final = 1_000
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


class Trio(Replicated):
    """The primary of three, as most of three sentinels see it."""

    is_behind_links: ClassVar = True
    ways: ClassVar[tuple[str, ...]] = ("cut", "cut", "freeze", "kill")

    def __init__(self, root: Path, engine: Engine) -> None:
        self._network = Network()
        self._network.open()
        places = [self._network.address(node) for node in _NODES]
        super().__init__(root, engine, [(place, _PORT) for place in places])
        self._sentinels = [client_of(place, _SENTINEL_PORT) for place in places]

    def heal(self) -> None:
        """Nothing is cut, frozen or down."""
        self._network.heal()
        super().heal()

    async def aclose(self) -> None:
        """Ends everything."""
        for client in self._sentinels:
            await client.aclose()
        await super().aclose()
        self._network.close()

    # -- its parts

    def words_of(self, node: int) -> list[str]:
        """A replica of the primary, unless it is that."""
        words = ["--bind", "0.0.0.0", "--protected-mode", "no"]
        if node != self.primary:
            words += ["--replicaof", f"{self._network.address(self.primary)} {_PORT}"]
        return words

    def around(self, node: int) -> list[str]:
        """In its own namespace."""
        return ["ip", "netns", "exec", self._network.name(node)]

    async def join(self) -> None:
        """Sentinels are started, and find each other."""
        for node in _NODES:
            config = self.root / f"sentinel-{node}.conf"
            config.write_text(
                f"port {_SENTINEL_PORT}\nbind 0.0.0.0\nprotected-mode no\ndir {self.root}\n"
                f"sentinel monitor orch {self._network.address(0)} {_PORT} 2\n"
                f"sentinel down-after-milliseconds orch {_DOWN_AFTER_MS}\n"
                "sentinel failover-timeout orch 5000\nsentinel parallel-syncs orch 2\n"
            )
            self.spawn(f"sentinel-{node}", self.around(node), [str(config), "--sentinel"])

    async def is_whole(self) -> bool:
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

    async def elected(self) -> int | None:
        """The one that two sentinels name."""
        named: Counter[str] = Counter()
        for sentinel in self._sentinels:
            with suppress(RedisError):
                said = await sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "orch")
                named[str(said[0])] += 1
        agreed = [node for node in _NODES if named[self._network.address(node)] >= 2]
        return agreed[0] if agreed else None

    def strike(self, node: int, how: str) -> None:
        """Cuts it off from the others, which clients still reach; or freezes or kills it."""
        if how == "cut":
            self._network.cut(node)
        else:
            super().strike(node, how)
