"""kill -9 and SIGSTOP of every actor and of guards.

What is promised is one fault at a time for a runner, its guards and its link: a runner that dies while its
guard is frozen would leave an agent that nobody can stop. So whoever hurts one of them reserves the runner,
and while a guard is hurt the server is left in peace, for an outage would be a second fault.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from random import Random
from typing import Final

import anyio

from tests.chaos.census import guards_of
from tests.chaos.house import Actor, House
from tests.chaos.load import Scene, uptime_ms
from tests.chaos.nemesis import Act
from tests.chaos.verdict import Silence

ROLES: Final = ("runner", "admission", "scheduler", "reaper", "fallback", "gateway")
_WAIT_S: Final = 10.0


class ProcessFaults:
    """Faults of processes."""

    def __init__(self, house: House, scene: Scene, server_in_peace: anyio.Lock) -> None:
        self._house = house
        self._scene = scene
        self._server_in_peace = server_in_peace

    def acts(self) -> dict[str, Act]:
        """By name."""
        roles = [role for role in ROLES if self._house.of_role(role)]
        return {
            **{f"kill_{role}": partial(self.kill, role) for role in roles},
            **{f"freeze_{role}": partial(self.freeze, role) for role in roles},
            "kill_guard": self.kill_guard,
            "freeze_guard": self.freeze_guard,
        }

    async def kill(self, role: str, rng: Random) -> bool:
        """SIGKILL; started again within a third of a second."""
        async with self._reserved(rng, role, lambda actor: actor.serves) as actor:
            if actor is None:
                return False
            actor.bury_at_once = rng.random() < 0.5
            self._house.kill(actor, "kill")
            await actor.ended.wait()
        return True

    async def freeze(self, role: str, rng: Random) -> bool:
        """SIGSTOP for longer than the lease, then SIGCONT: it wakes up as one that was buried."""
        async with self._reserved(rng, role, lambda actor: actor.serves) as actor:
            if actor is None:
                return False
            pid = actor.pid
            actor.signal(signal.SIGSTOP)
            actor.frozen = True
            since_ms = uptime_ms()
            try:
                await anyio.sleep(self._scene.lease_ms / 1000 * rng.uniform(1.1, 4.0))
            finally:
                actor.frozen = False
                silence = Silence(pid, "the freeze", since_ms, uptime_ms())
                actor.signal(signal.SIGCONT)
            if role == "runner":
                self._house.silences.append(silence)
            return actor.lives and actor.pid == pid

    async def kill_guard(self, rng: Random) -> bool:
        """SIGKILL of a guard: the agent dies with it, its descendants are found by their mark."""
        async with self._guard(rng) as guard:
            if guard is None:
                return False
            with suppress(ProcessLookupError):
                os.kill(guard, signal.SIGKILL)
            await anyio.sleep(1.0)
        return True

    async def freeze_guard(self, rng: Random) -> bool:
        """SIGSTOP of a guard for longer than the lease, its runner alive."""
        async with self._guard(rng) as guard:
            if guard is None:
                return False
            try:
                os.kill(guard, signal.SIGSTOP)
                await anyio.sleep(self._scene.lease_ms / 1000 * rng.uniform(1.1, 2.0))
            except ProcessLookupError:
                return False
            finally:
                with suppress(ProcessLookupError):
                    os.kill(guard, signal.SIGCONT)
            await anyio.sleep(0.3)
        return True

    @asynccontextmanager
    async def _guard(self, rng: Random) -> AsyncIterator[int | None]:
        """A guard whose runner nobody else hurts, while the server is in peace and its lease is fresh."""
        async with self._server_in_peace:
            self._scene.truce.touch()
            try:
                await anyio.sleep(self._scene.lease_ms / 1000)
                busy = partial(_has_guards)
                async with self._reserved(rng, "runner", busy) as runner:
                    guards = guards_of(runner.pid) if runner is not None else []
                    yield rng.choice(guards) if guards else None
            finally:
                self._scene.truce.unlink(missing_ok=True)

    @asynccontextmanager
    async def _reserved(
        self, rng: Random, role: str, fits: Callable[[Actor], bool]
    ) -> AsyncIterator[Actor | None]:
        chosen = await self._choose(rng, role, fits)
        if chosen is not None:
            chosen.reserved = True
        try:
            yield chosen
        finally:
            if chosen is not None:
                chosen.reserved = False

    async def _choose(self, rng: Random, role: str, fits: Callable[[Actor], bool]) -> Actor | None:
        with anyio.move_on_after(_WAIT_S):
            while True:
                free = [a for a in self._house.of_role(role) if not a.reserved and fits(a)]
                if free:
                    return rng.choice(free)
                await anyio.sleep(0.05)
        return None


def _has_guards(actor: Actor) -> bool:
    return actor.serves and bool(guards_of(actor.pid))
