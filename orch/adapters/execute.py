"""How is one command line run to its end, under both watchdogs, with its output handed on?"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import anyio
from anyio import CancelScope

from contracts.events import EventType
from contracts.outcomes import Outcome, ReasonCode
from orch.adapters.output import Output
from orch.adapters.process import KILL_PATIENCE_S, GuardedProcess, GuardExit
from orch.adapters.protocol import Ending
from orch.adapters.workshop import Workshop

EXIT_TRY_AGAIN: Final = 75
"""EX_TEMPFAIL of sysexits.h: the command itself says that another attempt may work."""
GUARD_CHECK_MS: Final = 5_000
"""How often a silent guard is looked at; frozen twice in a row, it counts as lost."""


@dataclass(frozen=True, slots=True)
class Order:
    """One command line and its limits."""

    argv: Sequence[str]
    cwd: str | None
    env: Mapping[str, str]
    stdin: bytes | None = None
    wall_at_ms: int | None = None
    """Monotonic."""
    idle_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """How it ended; `limit` when a watchdog ended it."""

    exit: GuardExit
    limit: ReasonCode | None = None


class _Watch:
    """Waits for the end of one process and looks at both clocks."""

    def __init__(
        self, process: GuardedProcess, order: Order, output: Output, workshop: Workshop
    ) -> None:
        self._process = process
        self._order = order
        self._output = output
        self._clock = workshop.clock
        self._grace_ms = workshop.grace_ms
        self._frozen = 0
        self._suspensions = 0

    async def end(self) -> Finished:
        """The agent's own end, or the end a limit put to it."""
        while True:
            now_ms = self._clock.monotonic_ms()
            limit = self._limit(now_ms)
            if limit is not None:
                return Finished(await self._stopped(), limit)
            with anyio.move_on_after(self._pause_ms(now_ms) / 1000):
                return Finished(await self._process.wait())
            if self._guard_is_lost():
                return Finished(self._process.destroy())

    def _limit(self, now_ms: int) -> ReasonCode | None:
        process = self._process
        if process.suspended or process.suspensions != self._suspensions:
            self._suspensions = process.suspensions
            self._output.active_at_ms = now_ms  # it could not act: its silence was ours
        if self._order.wall_at_ms is not None and now_ms >= self._order.wall_at_ms:
            return ReasonCode.WALL_LIMIT
        idle_ms = self._order.idle_ms
        if idle_ms is not None and now_ms - self._output.active_at_ms >= idle_ms:
            return ReasonCode.IDLE_LIMIT
        return None

    def _pause_ms(self, now_ms: int) -> int:
        pauses = [GUARD_CHECK_MS]
        if self._order.wall_at_ms is not None:
            pauses.append(self._order.wall_at_ms - now_ms)
        if self._order.idle_ms is not None:
            pauses.append(self._output.active_at_ms + self._order.idle_ms - now_ms)
        return max(1, min(pauses))

    def _guard_is_lost(self) -> bool:
        self._frozen = self._frozen + 1 if self._process.guard_is_frozen() else 0
        return self._frozen > 1

    async def _stopped(self) -> GuardExit:
        self._process.stop(self._grace_ms)
        with anyio.move_on_after(self._grace_ms / 1000 + KILL_PATIENCE_S):
            return await self._process.wait()
        return self._process.destroy()


async def execute(order: Order, output: Output, workshop: Workshop) -> Finished:
    """Runs `order`; when it returns, no process of the tree is left and all output was handed on.

    Raises:
        Refused: LEASE_OVER, from the desk or because the runner was condemned; nothing is left either.
    """
    output.begin()
    started = GuardedProcess.start(
        order.argv,
        cwd=order.cwd,
        env=order.env,
        stdin=order.stdin,
        leases=workshop.leases,
        grace_ms=workshop.grace_ms,
    )
    async with started as process, anyio.create_task_group() as group:
        group.start_soon(output.drain, "stdout", process.stdout)
        group.start_soon(output.drain, "stderr", process.stderr)
        turns = _Turns(process, output)
        group.start_soon(turns.tell)
        finished = await _Watch(process, order, output, workshop).end()
        with anyio.move_on_after(KILL_PATIENCE_S):
            await process.gone()
        output.end()
        with anyio.move_on_after(KILL_PATIENCE_S):
            await turns.told()
        turns.scope.cancel()
    return finished


_TURNS: Final = {
    "suspended": EventType.AGENT_SUSPENDED,
    "continued": EventType.AGENT_CONTINUED,
}


class _Turns:
    """Puts each stop and continuation of one process into the ledger, late if Redis is away."""

    def __init__(self, process: GuardedProcess, output: Output) -> None:
        self.scope = CancelScope()
        self._process = process
        self._output = output
        self._all_told = anyio.Event()

    async def tell(self) -> None:
        """Until `scope` is canceled."""
        turns = self._process.turns
        with self.scope:
            while True:
                await self._output.tell(_TURNS[await self._process.turned()])
                turns.popleft()
                if not turns:
                    self._all_told.set()
                    self._all_told = anyio.Event()

    async def told(self) -> None:
        """Until all that was heard is told."""
        while self._process.turns:
            await self._all_told.wait()


_NEVER_RAN: Final[dict[str, tuple[ReasonCode, str]]] = {
    "not_found": (ReasonCode.NOT_FOUND, "no such program: {program}"),
    "not_executable": (ReasonCode.NOT_EXECUTABLE, "cannot be executed: {program} ({fault})"),
    "bad_cwd": (ReasonCode.NOT_FOUND, "cannot enter the directory {cwd} ({fault})"),
    "spawn_failed": (ReasonCode.NOT_EXECUTABLE, "cannot be started: {program} ({fault})"),
}


def failure(finished: Finished, order: Order) -> Ending | None:
    """How an attempt ends whose command ended like this; None when it exited 0."""
    ended = finished.exit
    if ended.error is not None:
        reason, text = _NEVER_RAN[ended.error]
        fault = os.strerror(ended.errno or 0)
        message = text.format(program=order.argv[0][:200], cwd=(order.cwd or "")[:200], fault=fault)
        return Ending(Outcome.ENVIRONMENT, reason, message)
    if finished.limit is not None:
        clock = "wall time" if finished.limit is ReasonCode.WALL_LIMIT else "time without output"
        return Ending(
            Outcome.RESOURCE, finished.limit, f"stopped at its limit of {clock}", ended.shell_code
        )
    if ended.lost:
        return Ending(
            Outcome.TRANSIENT, ReasonCode.GUARD_LOST, "the guard of this agent died or froze"
        )
    if ended.killed is not None:
        message = "killed: its lease was not confirmed"
        return Ending(Outcome.LOST, ReasonCode.LEASE_OVER, message, ended.shell_code)
    if ended.signal is not None:
        message = f"killed by {_signal_name(ended.signal)}"
        return Ending(Outcome.LOGIC, ReasonCode.SIGNAL, message, ended.shell_code)
    if ended.exit_code == 0:
        return None
    outcome = Outcome.TRANSIENT if ended.exit_code == EXIT_TRY_AGAIN else Outcome.LOGIC
    return Ending(outcome, ReasonCode.EXIT_CODE, f"exit code {ended.exit_code}", ended.exit_code)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
