"""What a drain means for one life of a runner: nothing new, and what runs may finish until the deadline.

At the deadline everything is asked to stop at its next step, after the grace it is interrupted, and the jobs
go back with what they had finished: no attempt is used. Each command hears how its drain ended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import anyio
import structlog

from actors.outage import Outage
from actors.runner.held import Held
from actors.runner.tools import Tools
from contracts.errors import Unavailable
from orch.store.control import Wanted

log = structlog.get_logger()

_LOOK_MS = 100
"""Between two looks at what is left, of a runner that drains."""
FAREWELL_MS = 2_000


@dataclass(slots=True)
class _Command:
    """One drain that is obeyed."""

    by_ms: int | None
    """On the monotonic clock."""
    forced_before: int
    is_reported: bool = False


class Drain:
    """Of one life."""

    def __init__(
        self, tools: Tools, instance_id: str, held: Held, wake: Callable[[], None]
    ) -> None:
        self._tools = tools
        self._instance_id = instance_id
        self._held = held
        self._wake = wake
        self._commands: dict[str, _Command] = {}
        self._revision = 0
        self._news = anyio.Event()

    def obey(self, wanted: Wanted) -> None:
        """Closes or opens the runner, at once."""
        now_ms = self._tools.clock.monotonic_ms()
        self._revision = wanted.revision
        self._commands = {
            command_id: self._commands.get(command_id)
            or _Command(None if left is None else now_ms + left, self._held.forced)
            for command_id, left in wanted.drains.items()
        }
        for one in self._commands.values():
            # Told anew: what was reported may be gone with data that went back, and twice changes nothing.
            one.is_reported = False
        was, self._held.draining = self._held.draining, bool(self._commands)
        self._tools.health.drains(draining=self._held.draining)
        self._tools.figures.drains(draining=self._held.draining)
        if was and not self._held.draining:
            self._open_again()
        self._news.set()

    def _open_again(self) -> None:
        for attempt in self._held.attempts.values():
            attempt.drain_is_wished = False
        self._wake()

    async def run(self) -> None:
        """Until it is canceled."""
        outage = Outage("drain", self._tools.clock)
        while True:
            try:
                await self._look()
                outage.over()
            except Unavailable as error:
                await outage.wait(error)

    async def _look(self) -> None:
        open_ = [one for one in self._commands.values() if not one.is_reported]
        if not open_:
            self._news = anyio.Event()
            await self._news.wait()
            return
        limits = [one.by_ms for one in open_ if one.by_ms is not None]
        late_ms = self._tools.clock.monotonic_ms() - min(limits) if limits else -1
        if late_ms >= 0:
            self._cut(late_ms)
        grace_ms = self._tools.terms.grace_ms
        if self._is_empty() or late_ms > 2 * grace_ms + FAREWELL_MS:
            await self._report()
        else:
            await self._tools.clock.sleep_ms(_LOOK_MS)

    def _cut(self, late_ms: int) -> None:
        """The time is over: what is left stops at its next step, or, after the grace, where it is."""
        for attempt in list(self._held.attempts.values()):
            attempt.wish_drain()
            if late_ms >= self._tools.terms.grace_ms:
                attempt.interrupt()

    def _is_empty(self) -> bool:
        return not self._held.attempts and not self._held.endings

    async def _report(self) -> None:
        for command_id, one in list(self._commands.items()):
            if one.is_reported:
                continue
            report = {
                "force_stopped": self._held.forced - one.forced_before,
                "left": len(self._held.attempts),
            }
            log.info("drained", command=command_id, **report)
            await self._tools.store.control.acknowledge(
                self._instance_id, self._revision, command_id=command_id, report=report
            )
            one.is_reported = True
