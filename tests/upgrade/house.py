"""Who runs: actors of two versions on one server, each a real process, started and asked to leave one by one.

All gateways share one listening socket, as they do under a supervisor: callers know one address, whoever
serves it. What an actor counted is read before it leaves.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
from prometheus_client.parser import text_string_to_metric_families

from actors.generation import is_well
from tests.upgrade.versions import Version

WELL_S: Final = 60.0
LEAVE_S: Final = 20.0
_LOOK_S: Final = 0.02
COUNTED: Final = (
    "orch_reaper_repairs_total",
    "orch_reaper_announced_total",
    "orch_runner_leases_lost_total",
    "orch_redis_failures_total",
    "orch_acked_writes_lost_total",
)
"""What an upgrade must not cause: read from every process before it leaves."""


@dataclass(eq=False)
class Actor:
    """One process."""

    role: str
    version: Version
    process: subprocess.Popen[bytes]
    metrics_port: int = 0

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.role} of {self.version.label} (pid {self.process.pid})"


class House:
    """Everybody who runs."""

    def __init__(self, root: Path, redis_url: str, settings: Mapping[str, object]) -> None:
        self.root = root
        self.actors: list[Actor] = []
        self.counted: Counter[str] = Counter()
        """Sums over all processes that ever ran, by metric and labels."""
        self.broken: list[str] = []
        self._redis_url = redis_url
        self._settings = settings
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1_024)

    @property
    def url(self) -> str:
        """Where gateways answer."""
        host, port = self._listener.getsockname()
        return f"http://{host}:{port}"

    # -- one of them

    async def start(self, version: Version, role: str) -> Actor:
        """A new process of a role, once it says that it is well."""
        read, write = os.pipe()
        try:
            actor = self._spawn(version, role, ready_fd=write)
        finally:
            os.close(write)
        self.actors.append(actor)
        try:
            with anyio.fail_after(WELL_S):
                await anyio.wait_readable(read)
                said = os.read(read, 4_096)
                assert said, f"{actor.name} did not come up: {self._log(version)}"
                actor.metrics_port = json.loads(said)["metrics_port"]
                while not await is_well(actor.metrics_port):
                    await anyio.sleep(_LOOK_S)
        finally:
            os.close(read)
        return actor

    def _spawn(self, version: Version, role: str, *, ready_fd: int) -> Actor:
        known = {key: value for key, value in self._settings.items() if key in version.settings}
        words = [word for key, value in known.items() for word in ("--set", f"{key}={value}")]
        fds = [ready_fd]
        if role == "gateway":
            fds.append(self._listener.fileno())
            words += ["--socket-fd", str(self._listener.fileno())]
        argv = [
            sys.executable, "-P", "-m", "actors", role, "--redis-url", self._redis_url,
            "--home", str(self.root / "home"), "--ready-fd", str(ready_fd),
            "--parent", str(os.getpid()), "--url", self.url, *words,
        ]  # fmt: skip
        with self._log(version).open("ab") as log:
            process = subprocess.Popen(
                argv, cwd=self.root, env=version.environ(self.root), pass_fds=fds,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        return Actor(role, version, process)

    def _log(self, version: Version) -> Path:
        return self.root / f"{version.label.replace('/', '_')}.log"

    async def leave(self, actor: Actor) -> None:
        """SIGTERM; returns when it is gone. Who does not leave, or not well, is broken."""
        await self._read(actor)
        actor.process.send_signal(signal.SIGTERM)
        pidfd = os.pidfd_open(actor.process.pid)
        try:
            with anyio.move_on_after(LEAVE_S):
                await anyio.wait_readable(pidfd)
        finally:
            os.close(pidfd)
        if actor.process.poll() is None:
            self.broken.append(f"{actor.name} did not leave within {LEAVE_S:.0f} s")
            actor.process.kill()
        code = actor.process.wait()
        if code != 0:
            self.broken.append(f"{actor.name} was asked to leave and ended with {code}")
        self.actors.remove(actor)

    # -- all of them

    def of(self, role: str) -> list[Actor]:
        """The processes of a role, the oldest first."""
        return [actor for actor in self.actors if actor.role == role]

    async def open(self, version: Version, roles: Sequence[str], *, runners: int) -> None:
        """Starts one process of each role, and as many runners."""
        async with anyio.create_task_group() as tasks:
            for role in (*roles, *["runner"] * (runners - 1)):
                tasks.start_soon(self.start, version, role)

    async def close(self) -> None:
        """Asks all to leave, runners and gateways first."""
        first = [one for one in self.actors if one.role in {"runner", "gateway"}]
        for group in (first, [one for one in self.actors if one not in first]):
            async with anyio.create_task_group() as tasks:
                for actor in group:
                    tasks.start_soon(self.leave, actor)

    def look(self) -> None:
        """Notes who has died although nobody asked."""
        for actor in list(self.actors):
            if actor.process.poll() is not None:
                self.broken.append(f"{actor.name} ended by itself with {actor.process.returncode}")
                self.actors.remove(actor)

    def destroy(self) -> None:
        """SIGKILL to whoever is left, and the address is free."""
        for actor in self.actors:
            actor.process.kill()
            actor.process.wait()
        self._listener.close()

    async def _read(self, actor: Actor) -> None:
        text = await anyio.to_thread.run_sync(_scraped, actor.metrics_port)
        self.counted += counted_in(text)


def _scraped(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return str(answer.read().decode())


def counted_in(text: str) -> Counter[str]:
    """What an exposition says of COUNTED, zeros left out."""
    return Counter(
        {
            " ".join([sample.name, *sorted(sample.labels.values())]): int(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name in COUNTED and sample.value
        }
    )
