"""A private stack for the demo: its own temporary home, every actor a process, nothing left behind.

The stack is started the way `orch up` starts one, in a session of its own, so that Ctrl-C reaches the demo
alone and the order of taking down is ours. Processes are seen through /proc.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import anyio

from contracts.errors import ErrorCode, OrchError, Unavailable
from orch.client import Orch, find_endpoint, read_endpoint_file
from orch.client.answers import error_of_body
from orch.demo.patience import PatientOrch
from orch.demo.processes import SERVER, Process, children_of, kill, lives
from orch.system import SystemClock

RUNNERS: Final = 2
ROLES: Final = (
    "admission", "fallback", "gateway", "notifier", "reaper", *["runner"] * RUNNERS, "scheduler", SERVER,
)  # fmt: skip
"""What a whole stack consists of, besides its supervisor."""
READY_MS_MAX: Final = 30_000
LEAVE_MS_MAX: Final = 20_000
"""Above what the supervisor gives its actors."""
LOOK_EVERY_MS: Final = 40
LOG_FILE: Final = "log/orch.log"
_FOREIGN: Final = ("ORCH_", "GIT_")
"""The user's own stack and repository are none of the demo's business."""


@dataclass(slots=True)
class House:
    """A home and the stack that runs in it."""

    home: Path
    supervisor: subprocess.Popen[bytes] | None = None
    clock: SystemClock = field(default_factory=SystemClock)
    seen: set[Process] = field(default_factory=set)
    """Every process of the stack that was ever looked at."""
    stubborn: list[Process] = field(default_factory=list)
    """Those that `leave` had to kill."""

    @classmethod
    def new(cls) -> Self:
        """A house that does not stand yet."""
        return cls(Path(tempfile.mkdtemp(prefix="orch-demo-")))

    @asynccontextmanager
    async def standing(
        self, up_argv: Sequence[str], environ: Mapping[str, str], *, is_kept: Callable[[], bool]
    ) -> AsyncIterator[None]:
        """A stack that answers, for as long as the scope lasts; longer if `is_kept()` says so at its end.

        Raises:
            Refused, Unavailable: the stack did not start.
        """
        kept = False
        try:
            self.supervisor = _start(self.home, up_argv, environ)
            await _until_ready(self)
            yield
            kept = is_kept()
        finally:
            if not kept:
                with anyio.CancelScope(shield=True):
                    await self._leave()
                    shutil.rmtree(self.home, ignore_errors=True)

    def client(self) -> Orch:
        """A client of the gateway; close it with `async with`."""
        return PatientOrch(find_endpoint(None, self.home, {}), self.clock, self.has_ended)

    def processes(self) -> list[Process]:
        """The actors and the server that live now."""
        found = [] if self.supervisor is None else children_of(self.supervisor.pid)
        self.seen.update(found)
        return found

    def left(self) -> list[str]:
        """Those of the stack's processes, its supervisor included, that live."""
        if self.supervisor is not None:
            self.supervisor.poll()  # else it would stay a zombie
        return [f"{process.role} {process.pid}" for process in self.seen if lives(process)]

    def has_ended(self) -> bool:
        """Whether the supervisor is no more."""
        return self.supervisor is None or self.supervisor.poll() is not None

    def folder(self, name: str) -> Path:
        """A fresh directory for one part's work."""
        path = self.home / "work" / name
        path.mkdir(parents=True)
        return path

    def log_tail(self, lines: int = 15) -> str:
        """The last words of the actors."""
        with suppress(OSError):
            text = (self.home / LOG_FILE).read_text(errors="replace")
            return "\n".join(text.splitlines()[-lines:])
        return ""

    async def until(
        self, is_so: Callable[[], bool] | Callable[[], Awaitable[bool]], within_ms: int = 10_000
    ) -> bool:
        """Whether it came true in time."""
        until_ms = self.clock.monotonic_ms() + within_ms
        while True:
            answer = is_so()
            if answer if isinstance(answer, bool) else await answer:
                return True
            if self.clock.monotonic_ms() >= until_ms:
                return False
            await self.clock.sleep_ms(LOOK_EVERY_MS)

    async def _leave(self) -> None:
        """Stop the stack; who does not end in time is killed."""
        if self.supervisor is None:
            return
        self.processes()
        mine = Process.of(self.supervisor.pid)
        if mine is not None:
            self.seen.add(mine)
            self.supervisor.send_signal(signal.SIGTERM)
        await self.until(lambda: not self.left(), LEAVE_MS_MAX)
        self.stubborn = [process for process in self.seen if lives(process)]
        for process in self.stubborn:
            kill(process)
        await self.until(lambda: not self.left())


def _start(
    home: Path, up_argv: Sequence[str], environ: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    log = home / LOG_FILE
    log.parent.mkdir(mode=0o700)
    clean = {key: value for key, value in environ.items() if not key.startswith(_FOREIGN)}
    with log.open("ab") as file:
        return subprocess.Popen(
            [*up_argv, "--home", str(home), "--set", f"runners={RUNNERS}"],
            env=clean,
            cwd=home,  # an orch.toml where the user stands is not ours
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )


async def _until_ready(house: House) -> None:
    """Until every actor has announced itself and the gateway says that it is ready."""

    async def is_settled() -> bool:
        return house.has_ended() or await _answers(house)

    if await house.until(is_settled, READY_MS_MAX) and not house.has_ended():
        house.processes()
        return
    raise _why_not(house)


async def _answers(house: House) -> bool:
    endpoint = read_endpoint_file(house.home)
    if endpoint is None or len(endpoint.get("metrics", {})) < len(ROLES) - 1:  # the server has none
        return False
    try:
        async with Orch(find_endpoint(None, house.home, {}), clock=house.clock) as client:
            await client.ready()
    except OrchError:
        return False
    return True


def _why_not(house: House) -> OrchError:
    code = house.supervisor.poll() if house.supervisor else None
    with suppress(OSError, ValueError, KeyError):
        return error_of_body(json.loads((house.home / "up.error.json").read_bytes()))
    how = "was not ready in time" if code is None else f"ended with exit code {code}"
    return Unavailable(
        ErrorCode.UNAVAILABLE,
        f"the demo's stack {how}: {house.log_tail(5)}",
        hint="`orch doctor` checks what Orch needs.",
    )


def runner_above(pid: int, house: House) -> Process | None:
    """The actor whose agent, or whose agent's watchman, this process is."""
    actors = {process.pid: process for process in house.processes()}
    above: Process | None = Process.of(pid)
    while above is not None and above.pid not in actors:
        above = Process.of(above.parent) if above.parent > 1 else None
    return None if above is None else actors[above.pid]


def mode_of(path: Path) -> str:
    """Its permissions, in octal."""
    return f"{os.stat(path).st_mode & 0o777:o}"
