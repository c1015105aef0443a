"""The repair sweep: all keys a page at a time, at a pace that nobody feels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from contracts.limits import (
    BATCH_ITEMS_MAX,
    REPAIR_EVERY_MS_MAX,
    REPAIR_EVERY_MS_MIN,
    REPAIR_PAGE_KEYS,
)
from contracts.states import State
from orch.ports import Clock
from orch.store.repairs import START, Repair
from orch.store.store import Store
from orch.telemetry.metrics import Metrics

log = structlog.get_logger()

PAUSE_MS = 20
"""Between two pages; a page takes the server about 2 ms."""
PAUSE_TIMES = 20
"""A sweep waits so many times as long as the last one took; the server is busy with a tenth of a sweep."""
OPEN_TIMES = 5
"""… when counters disagreed and jobs moved meanwhile, so that nothing was proven."""
LINES_MAX = 100
"""Lines gathered in one sweep."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep counted."""

    moves: int
    """The count of moves when it began: as long as it stands, the depths are exact."""
    depths: Counter[str]
    gaps: set[str]
    parked: Counter[str]
    """Scheduled jobs by tenant."""
    waits: set[str]
    """Ties that jobs stand aside for."""
    states: Counter[State]
    """Jobs by state."""


def pause_after(took_ms: int, *, proven: bool = True) -> int:
    """How long to the next sweep, after one that took so long and proved the counters right, or not."""
    times = PAUSE_TIMES if proven else OPEN_TIMES
    return min(max(times * took_ms, REPAIR_EVERY_MS_MIN), REPAIR_EVERY_MS_MAX)


class Sweeper:
    """Sweeps when the reaper starts, when the server came back, and after a pause."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        *,
        page_keys: int = REPAIR_PAGE_KEYS,
    ) -> None:
        self._store = store
        self._clock = clock
        self._repairs = metrics.counter("orch_reaper_repairs_total")
        self._due_at_ms = 0
        self._restarts = -1
        self._page_keys = page_keys
        self._mended: list[Repair] = []
        self._proven = True
        self._seconds = metrics.histogram("orch_reaper_sweep_seconds")
        self.states: Mapping[State, int] | None = None
        """Jobs by state, as the last whole look at all keys counted them; None before it."""

    async def sweep_if_due(self) -> None:
        """One whole sweep, if it is time."""
        restarts, now_ms = self._store.connection.watermark.restarts, self._clock.monotonic_ms()
        if restarts == self._restarts and now_ms < self._due_at_ms:
            return
        self._restarts = restarts
        await self.sweep()
        ended_ms = self._clock.monotonic_ms()
        self._seconds.observe((ended_ms - now_ms) / 1000)
        self._due_at_ms = ended_ms + pause_after(ended_ms - now_ms, proven=self._proven)

    async def sweep(self) -> list[Repair]:
        """Looks at every key; then at the lines with gaps and at the counters. What was mended."""
        self._mended = []
        swept = await self._pages()
        gaps = sorted({*swept.gaps, *await self._short(swept)})
        if gaps:
            log.warning("lines_with_gaps", lines=len(gaps), first=gaps[0])
            await self._gather(gaps)
            swept = await self._pages()
        await self._call_in(sorted(swept.waits))
        self._proven = await self._recount(swept)
        return self._mended

    async def _pages(self, gathers: Sequence[str] = ()) -> Swept:
        moves = await self._store.repairs.moves()
        depths, parked, states = Counter[str](), Counter[str](), Counter[State]()
        gaps, waits, cursor = set[str](), set[str](), START
        while True:
            page = await self._store.repairs.page(cursor, most=self._page_keys, gathers=gathers)
            self._tell(page.repairs)
            depths += page.depths
            parked += page.parked
            gaps.update(page.gaps)
            waits.update(page.waits)
            states += page.states
            cursor = page.cursor
            if cursor == START:
                self.states = states
                return Swept(moves, depths, gaps, parked, waits, states)
            await self._clock.sleep_ms(PAUSE_MS)

    async def _short(self, swept: Swept) -> list[str]:
        """Only a count that no job overtook proves a line too short."""
        short = await self._store.repairs.short_lines(swept.depths)
        return short if await self._store.repairs.moves() == swept.moves else []

    async def _gather(self, gaps: Sequence[str]) -> None:
        """All jobs of those lines back into them, some lines at a time."""
        for at in range(0, len(gaps), LINES_MAX):
            await self._pages(gaps[at : at + LINES_MAX])
            left = 1
            while left:
                left, repairs = await self._store.repairs.realign(most=BATCH_ITEMS_MAX)
                self._tell(repairs)

    async def _call_in(self, waits: Sequence[str]) -> None:
        """Who waits for a tie that has room. Not before the sweep has seen everybody who has one."""
        for at in range(0, len(waits), LINES_MAX):
            names = waits[at : at + LINES_MAX]
            _, repairs = await self._store.repairs.realign(most=BATCH_ITEMS_MAX, waits=names)
            self._tell(repairs)

    async def _recount(self, swept: Swept) -> bool:
        """Sets the counters when two counts in a row agree; while jobs move, none proves anything. Whether
        they are right now, as far as can be told."""
        repairs = self._store.repairs
        if not await repairs.wrong(swept.depths, swept.parked):
            return True
        if await repairs.moves() != swept.moves:
            return False
        again = await self._pages()
        if (again.moves, again.depths, again.parked) != (swept.moves, swept.depths, swept.parked):
            return False
        wrong = await repairs.wrong(again.depths, again.parked)
        mended = await repairs.recount(again.moves, wrong)
        self._tell(mended or [])
        return mended is not None

    def _tell(self, repairs: Sequence[Repair]) -> None:
        self._mended += repairs
        for index, count in Counter(repair.index for repair in repairs).items():
            self._repairs.labels(index=index).inc(count)
            names = [repair.name for repair in repairs if repair.index == index]
            log.warning("repaired", index=index, count=count, first=names[0])
