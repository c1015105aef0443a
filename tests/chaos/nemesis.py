"""Which faults come when? Drawn from the seed: every kind has a rate of its own and a stream of chance of its
own, so that leaving one kind out does not change the others.

How each is done: `hurt_processes`, `hurt_server`, `hurt_links`. A fault counts when it took effect.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final, TypeAlias

import anyio
from anyio.abc import TaskGroup

from orch.system import monotonic_ms

Act: TypeAlias = Callable[[Random], Awaitable[bool]]
"""Does a fault from beginning to end; whether it took effect."""

PER_MINUTE: Final[Mapping[str, float]] = {
    "kill_runner": 92, "kill_admission": 4, "kill_scheduler": 4, "kill_reaper": 4, "kill_fallback": 4,
    "kill_gateway": 1, "kill_guard": 4,
    "freeze_runner": 30, "freeze_admission": 4, "freeze_scheduler": 4, "freeze_reaper": 4,
    "freeze_fallback": 4, "freeze_gateway": 1, "freeze_guard": 3,
    "server_kill": 32, "server_freeze": 2, "server_oom": 2, "file_limit": 2, "disk_full": 6, "clock_jump": 2,
    "function_flush": 4, "group_lost": 4, "client_kill": 4, "power_cut": 8, "failover": 24, "handover": 12,
    "reset_before": 12, "lost_reply": 12, "cut_request": 10, "cut_reply": 10, "reset_all": 5,
    "delay": 4, "hole_up": 3, "hole_down": 3, "hole_both": 3, "refuse": 4,
}  # fmt: skip
"""At full pace. The mix fills two cores; the promise of a quarter of an hour is 1,000 runner kills, 500
freezes and 300 server kills."""

_PAUSE_S: Final = 0.05
_FIRST: Final = 0.6
"""Every kind comes for the first time within this part of the storm."""


@dataclass(frozen=True, slots=True)
class Happened:
    """One fault that took effect."""

    name: str
    from_ms: int
    to_ms: int


class Nemesis:
    """The storm."""

    def __init__(
        self,
        seed: str,
        acts: Mapping[str, Act],
        history: Path,
        *,
        seconds: float,
        pace: float = 1.0,
    ) -> None:
        self.acts = acts
        self.counts: Counter[str] = Counter()
        self.happened: list[Happened] = []
        self._seed = seed
        self._history = history
        self._seconds = seconds
        self._pace = pace

    async def storm(self) -> None:
        """Until canceled; what is under way then is finished by its own clean-up."""
        async with anyio.create_task_group() as tasks:
            for name, act in self.acts.items():
                tasks.start_soon(self._come, name, act, tasks)

    async def _come(self, name: str, act: Act, tasks: TaskGroup) -> None:
        rng = Random(f"{self._seed}/{name}")
        soon_s = min(self._seconds * _FIRST, 60 / (PER_MINUTE[name] * self._pace))
        await anyio.sleep(rng.uniform(0, soon_s))
        # However rare: once at least, and again until it took effect.
        while not self.counts[name]:
            await self.do(name, act, Random(rng.random()))
            await anyio.sleep(_PAUSE_S)
        while True:
            await anyio.sleep(rng.expovariate(PER_MINUTE[name] * self._pace / 60))
            tasks.start_soon(self.do, name, act, Random(rng.random()))

    async def do(self, name: str, act: Act, rng: Random) -> None:
        """One fault, and a line of history."""
        began = monotonic_ms()
        if await act(rng):
            self.note(name, began)

    def note(self, name: str, began_ms: int) -> None:
        """A fault took effect."""
        self.counts[name] += 1
        happened = Happened(name, began_ms, monotonic_ms())
        self.happened.append(happened)
        with self._history.open("a") as file:
            file.write(json.dumps([happened.from_ms, happened.to_ms, name]) + "\n")
