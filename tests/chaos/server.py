"""The real server under test: started on one folder, killed, frozen, started again on the same folder."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, ClassVar, Final

import anyio
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from orch.store.engine import Engine, engines
from tests.chaos.disk import SmallDisk
from tests.chaos.load import uptime_ms
from tests.chaos.proxy import Target
from tests.chaos.verdict import Silence

_PR_SET_PDEATHSIG: Final = 1
_PRCTL: Final = ctypes.CDLL(None).prctl
_START_S: Final = 30.0
_FAKETIME_PLACES: Final = (
    "/usr/lib/*/faketime/libfaketime.so.1",
    "/usr/lib*/faketime/libfaketime.so.1",
)


def engine_named(name: str) -> Engine:
    """The server program of this engine."""
    return next(engine for engine in engines() if engine.name == name)


def die_with_parent() -> None:
    """In a child: SIGKILL when the harness ends, however it ends."""
    _PRCTL(_PR_SET_PDEATHSIG, signal.SIGKILL)


def faketime_library() -> Path | None:
    """libfaketime, where distributions put it."""
    for pattern in _FAKETIME_PLACES:
        for path in Path("/").glob(pattern.removeprefix("/")):
            return path
    return None


_PORTS: Final = (20_000, 32_000)
"""Below the ports that the kernel lends to clients: one must be free again after every kill."""


def free_port(beside: int = 0) -> int:
    """One that nobody listens on, nor on the one that is so far beside it (a Cluster's bus)."""
    low, high = _PORTS
    for port in Random().sample(range(low, high - beside), 100):
        with socket.socket() as probe, socket.socket() as other, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if beside:
                other.bind(("127.0.0.1", port + beside))
            return port
    message = f"no free port between {low} and {high}"
    raise OSError(message)


def plain_client(path: Path) -> Redis:
    """A client past Orch and past the proxy: it sees what is really stored."""
    return Redis(
        unix_socket_path=str(path), decode_responses=True, retry=Retry(NoBackoff(), 0),
        encoding_errors="surrogateescape", socket_timeout=10,
    )  # fmt: skip


class Server:
    """One data folder and the process that serves it now."""

    is_behind_links: ClassVar = True

    def __init__(
        self, root: Path, engine: Engine, *, appendfsync: str, disk: SmallDisk | None = None
    ) -> None:
        self.engine = engine
        self.appendfsync = appendfsync
        self.disk = disk
        """Its own, if it has one; otherwise its folder is in `root`."""
        self._folder = root / "data" if disk is None else disk.folder
        self.data = root / "data" if disk is None else disk.inside
        self.data.mkdir(parents=True, exist_ok=disk is not None)
        self.socket = root / "server.sock"
        self.log = root / "server.log"
        self.clock_file = root / "faketime"
        self.faketime = faketime_library()
        self.client = plain_client(self.socket)
        self.port = free_port()
        self.starts = 0
        self.clock_s = 0
        self.clock_in_the_end_s = 0
        """Where `heal` moves the clock."""
        self.doomed = ""
        """Which fault may end the process now; empty when it must not end."""
        self.broken: list[str] = []
        self.silences: list[Silence] = []
        """When it cannot have acknowledged anything."""
        self.up = anyio.Event()
        self.down = anyio.Event()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def target(self) -> Target:
        """Where the proxy finds it."""
        return ("127.0.0.1", self.port)

    @property
    def url(self) -> str:
        """Past the proxy."""
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        """Its process, living or just dead."""
        assert self._process is not None
        return self._process.pid

    @property
    def pids(self) -> set[int]:
        """All of its processes."""
        return {self.pid}

    @property
    def may_lose(self) -> bool:
        """Whether acknowledged writes may be gone after a crash."""
        return self.appendfsync != "always"

    async def start(self) -> bool:
        """Starts it; whether it answers, in the end (a full disk may not let it)."""
        self.set_clock(self.clock_s)
        self.socket.unlink(missing_ok=True)
        before = () if self.disk is None else self.disk.enter
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - a fork, milliseconds
                [*before, str(self.engine.path), *self._words()], cwd=self.data, env=self._environ(),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                # SIGXFSZ stays ignored, as Python has it: a full disk is then an error of write(2).
                restore_signals=False,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one call, no lock taken
            )  # fmt: skip
        self.starts += 1
        return await self._answers()

    def _words(self) -> list[str]:
        settings = {
            "port": str(self.port), "bind": "127.0.0.1",
            "unixsocket": str(self.socket), "dir": str(self._folder), "save": "",
            "appendonly": "yes", "appendfsync": self.appendfsync, "maxmemory-policy": "noeviction",
            "no-appendfsync-on-rewrite": "no", "hash-max-listpack-value": "1024",
            "enable-debug-command": "no",
        }  # fmt: skip
        return [word for key, value in settings.items() for word in (f"--{key}", value)]

    def _environ(self) -> dict[str, str]:
        environ = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(self.data)}
        if self.faketime is not None:
            environ |= {
                "LD_PRELOAD": str(self.faketime), "FAKETIME_TIMESTAMP_FILE": str(self.clock_file),
                "DONT_FAKE_MONOTONIC": "1", "FAKETIME_CACHE_DURATION": "1",
            }  # fmt: skip
        return environ

    def set_clock(self, offset_s: int) -> None:
        """Moves the server's wall clock, seen within a second; its monotonic clock goes on."""
        self.clock_s = offset_s
        temporary = self.clock_file.with_suffix(".new")
        temporary.write_text(f"{offset_s:+d}\n")
        temporary.replace(self.clock_file)

    async def _answers(self) -> bool:
        process = self._process
        assert process is not None
        with anyio.move_on_after(_START_S):
            while process.poll() is None:
                with suppress(RedisError, OSError):
                    if await self.client.ping():
                        return True
                await anyio.sleep(0.005)
        return False

    async def keep(self, pause_s: Callable[[], float]) -> None:
        """Starts it again whenever it ends; an end that no fault explains is noted."""
        down_ms = uptime_ms()
        while True:
            started_ms = uptime_ms()
            if await self.start():
                self.silences.append(Silence(0, "the server's end", down_ms, started_ms))
                self.down = anyio.Event()
                self.doomed = ""
                self.up.set()
            await self._ended()
            if self.up.is_set():  # who waits for a start that failed waits on
                down_ms, self.up = uptime_ms(), anyio.Event()
            self.down.set()
            if not self.doomed and not self.has_no_room:
                self.broken.append(
                    f"the server ended by itself with {self.wait()}; see {self.log.name}"
                )
            await anyio.sleep(pause_s())

    async def _ended(self) -> None:
        process = self._process
        assert process is not None
        if process.poll() is None:
            pidfd = os.pidfd_open(process.pid)
            try:
                await anyio.wait_readable(pidfd)
            finally:
                os.close(pidfd)
        process.wait()

    def signal(self, number: int) -> None:
        """To the process, if it lives."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL; nothing is flushed."""
        self.signal(signal.SIGKILL)

    def wait(self) -> int:
        """Its exit code."""
        assert self._process is not None
        return self._process.wait()

    async def command(self, *words: str | int) -> Any:
        """One command past everything.

        Raises:
            RedisError: it could not be carried out.
        """
        return await self.client.execute_command(*words)

    # -- the disk

    def log_files(self) -> list[Path]:
        """The append-only files that grow, the newest last."""
        return sorted(
            self.data.glob("appendonlydir/*.incr.aof"),
            key=lambda path: int(path.name.split(".")[-3]),
        )

    @property
    def has_no_room(self) -> bool:
        """Whether its own disk is full."""
        return self.disk is not None and self.disk.is_full

    def limit_files(self, bytes_max: int | None) -> None:
        """No file may grow above this: write(2) fails, as on a full disk. None lifts it."""
        soft = resource.RLIM_INFINITY if bytes_max is None else bytes_max
        with suppress(ProcessLookupError):
            resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))

    def heal(self) -> None:
        """No fault of clock, disk or schedule is left."""
        self.set_clock(self.clock_in_the_end_s)
        self.limit_files(None)
        if self.disk is not None:
            self.disk.clear()
        self.signal(signal.SIGCONT)

    async def aclose(self) -> None:
        """Ends it for good."""
        await self.client.aclose()
        self.kill()
        if self._process is not None:
            self._process.wait()
        if self.disk is not None:
            self.disk.close()
