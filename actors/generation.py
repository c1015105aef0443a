"""One generation of a stack: a process for each part, all on the same settings, kept alive until retired.

The settings are written down once and handed to every process of it, so that a part which is started again
lives by what its neighbours live by, whatever stands in the files meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import structlog

from actors.children import Child, Part, leave_together
from contracts.errors import OrchError
from orch.ports import Clock

log = structlog.get_logger()

RESTART_MS_FIRST = 200
RESTART_MS_MAX = 5_000
EXIT_MS = 3_000
"""Above twice the grace (an agent may finish, then is asked to leave): the farewell itself."""
_LOOK_MS = 50


class Unproven(Exception):
    """A part of a new generation does not come up, or not well."""


@dataclass(slots=True)
class Terms:
    """What all generations of a stack share."""

    clock: Clock
    env: Mapping[str, str]
    bury: Callable[[int], Awaitable[None]]
    """Buries a runner's process that is dead."""
    tell: Callable[[], None]
    """A part came up: whoever shows the stack writes it down again."""


@dataclass(slots=True)
class Generation:
    """Its processes."""

    terms: Terms
    parts: Sequence[Part]
    grace_ms: int
    written: Path
    """The file with its settings; gone with it."""
    children: dict[str, Child] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    """Of each part's own metrics and health."""
    ended: list[str] = field(default_factory=list)
    """Parts that died although nobody had asked them to leave."""
    retired: bool = False

    @property
    def metrics(self) -> dict[str, str]:
        """Where each part tells its numbers."""
        return {name: f"http://127.0.0.1:{port}/metrics" for name, port in self.ports.items()}

    def pids(self, role: str) -> set[int]:
        """The processes of a role."""
        return {one.pid for one in self.children.values() if one.part.role == role}

    async def run(self) -> None:
        """Keeps every part alive until the generation is retired."""
        async with anyio.create_task_group() as tasks:
            for part in self.parts:
                tasks.start_soon(self._keep, part)

    async def _keep(self, part: Part) -> None:
        """Starts a part again whenever it ends, with a growing pause when it ends at once."""
        pause_ms, clock = RESTART_MS_FIRST, self.terms.clock
        while not self.retired:
            started_ms = clock.monotonic_ms()
            child = Child(part, dict(self.terms.env))
            self.children[part.name] = child
            port = await child.ready()
            if port is not None:
                self.ports[part.name] = port
                self.terms.tell()
            code = await child.ended()
            if self.retired:
                return
            log.error("part_ended", part=part.name, pid=child.pid, code=code)
            self.ended.append(part.name)
            if part.has_lifeline:
                await self._bury_runner(child)
            lived_ms = clock.monotonic_ms() - started_ms
            quickly = lived_ms <= RESTART_MS_MAX
            pause_ms = min(pause_ms * 2, RESTART_MS_MAX) if quickly else RESTART_MS_FIRST
            await clock.sleep_ms(pause_ms)

    async def _bury_runner(self, child: Child) -> None:
        """At once, but only when its guards have exited: until then an agent of its could still act."""
        await child.guards_gone()
        try:
            await self.terms.bury(child.pid)
        except OrchError as error:
            log.warning("burial_left_to_reaper", pid=child.pid, error=error.message)

    # -- the trial of a new one

    async def prove(self, *, within_ms: int) -> None:
        """Returns when every part is up and says that it is well.

        Raises:
            Unproven: one ended, or did not come so far in time.
        """
        clock = self.terms.clock
        until_ms = clock.monotonic_ms() + within_ms
        while True:
            waits = [name for name in (p.name for p in self.parts) if name not in self.ports]
            if not waits:
                waits = [n for n, port in self.ports.items() if not await is_well(port)]
            if self.ended:
                raise Unproven(f"{self.ended[0]} ended")
            if not waits:
                return
            if clock.monotonic_ms() > until_ms:
                raise Unproven(f"{waits[0]} was not well within {within_ms} ms")
            await clock.sleep_ms(_LOOK_MS)

    # -- its end

    async def retire(self) -> None:
        """Asks every part to leave; returns when all are gone."""
        self.retired = True
        within_ms = 2 * self.grace_ms + EXIT_MS
        await leave_together(list(self.children.values()), self.terms.clock, within_ms=within_ms)
        self.written.unlink(missing_ok=True)


async def is_well(port: int) -> bool:
    """Whether a part says so itself; one that operators drain is as it should be."""
    try:
        with anyio.fail_after(1):
            body = await _readiness(port)
        said = json.loads(body)
    except (OSError, TimeoutError, ValueError, anyio.EndOfStream, anyio.BrokenResourceError):
        return False
    return bool(said.get("ready") or said.get("draining"))


async def _readiness(port: int) -> bytes:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(b"GET /readyz HTTP/1.0\r\n\r\n")
        answer = b""
        while True:
            try:
                answer += await stream.receive()
            except anyio.EndOfStream:
                return answer.partition(b"\r\n\r\n")[2]
