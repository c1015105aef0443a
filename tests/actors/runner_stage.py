"""A runner's life on a stage: the real lanes, cycles and inline jobs, and a store that keeps the promises of
`cycle` in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import anyio
import orjson
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from actors.desired import Obey
from actors.instance import Stop
from actors.runner.figures import Figures
from actors.runner.life import Life
from actors.runner.terms import RunnerTerms
from actors.runner.tools import Tools
from contracts.errors import ErrorCode, Refused, Unavailable
from contracts.events import EventType, payload_faults
from contracts.limits import CLAIM_EVERY_MS
from orch.adapters.inline import Inline
from orch.adapters.leases import Leases as GuardLeases
from orch.adapters.registry import Adapters
from orch.blobs import Blobs
from orch.core.handover import ClaimEnding, Cycled, Gone, Offer
from orch.ports import Heard
from orch.store.connection import BlockingReader
from orch.store.control import Wanted
from orch.store.keys import Keys
from orch.store.leases import Instance
from orch.store.store import Store
from orch.system import SystemClock, SystemIds
from orch.telemetry.health import Health
from orch.telemetry.metrics import Metrics
from tests.actors.fakes import FakeOutput

CALLS_MAX = 2_000


def inline(body: str, *args: object, **config: object) -> str:
    """The spec of a job that calls one of `bodies`."""
    call = {"callable": f"tests.actors.bodies:{body}", "args": args, "isolation": "inline"}
    adapter = {"name": "python", "config": {**call, **config}}
    return orjson.dumps({"name": body, "adapter": adapter}).decode()


@dataclass
class Call:
    number: int
    free: int
    endings: list[ClaimEnding]
    heard: int | None = None


@dataclass
class FakeClaims:
    """`cycle`: endings free their slots, then jobs are claimed; the same number gives the same jobs again."""

    slots: int
    specs: list[str] = field(default_factory=list)
    """What waits in the line."""
    calls: list[Call] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    """Claims in force."""
    ended: dict[str, ClaimEnding] = field(default_factory=dict)
    """By job id."""
    notes: list[tuple[str, str, object]] = field(default_factory=list)
    lost: int = 0
    """So many answers get lost after the call was carried out."""
    buried: bool = False
    gate: anyio.Event | None = None
    """Calls wait for it."""
    handed: Offer | Gone | None = None
    """Told again with each call until the runner has heard of it."""
    _last: tuple[int, list[Offer]] = (0, [])

    async def cycle(
        self,
        runner: str,
        pool: str,
        *,
        number: int,
        free: int,
        random: str,
        endings: Sequence[ClaimEnding],
        heard: int | None = None,
    ) -> Cycled:
        self.calls.append(Call(number, free, list(endings), heard))
        assert len(self.calls) < CALLS_MAX, "it spins"
        # As the connection: a call that was sent is no cancel point.
        with anyio.CancelScope(shield=True):
            await (self.gate.wait() if self.gate is not None else checkpoint())
        if self.buried:
            raise Refused(ErrorCode.LEASE_OVER, "buried")
        verdicts = [self._end(one) for one in endings]
        again = self.handed if self.handed and self.handed.epoch > (heard or 0) else None
        cycled = Cycled(verdicts, self._claimed(number, free), again)
        if self.lost:
            self.lost -= 1
            raise Unavailable(ErrorCode.UNAVAILABLE, "no answer")
        return cycled

    def _end(self, ending: ClaimEnding) -> Any:
        if ending.claim in self.taken:
            self.taken.remove(ending.claim)
            self.ended[ending.job_id] = ending
            return "ok"
        return "same" if self.ended.get(ending.job_id) == ending else "over"

    def _claimed(self, number: int, free: int) -> list[Offer]:
        if number == self._last[0]:
            return self._last[1]
        taken, self.specs = self.specs[:free], self.specs[free:]
        first = len(self.taken) + len(self.ended)
        offers = [
            Offer(f"job{n}", f"1.{n}.x", n, 1, spec, "", "", "", 0)
            for n, spec in enumerate(taken, first)
        ]
        self.taken |= {offer.claim for offer in offers}
        assert len(self.taken) <= self.slots, "more attempts than slots"
        self._last = number, offers
        return offers

    def hand(self, number: int, spec: str) -> dict[str, str]:
        """Claims a job for the runner; the entry of its inbox."""
        offer = Offer(f"handed{number}", f"1.{number}.h", number, 1, spec, "", "", "", 0)
        self.handed = offer
        self.taken.add(offer.claim)
        names = "job claim epoch attempt spec progress answer wish outs waited class".split()
        return {"what": "offer"} | dict(zip(names, map(str, offer), strict=False))

    async def held(self, runner: str) -> dict[str, str]:
        return {}

    async def note(
        self, job_id: str, claim: str, *, event: str, payload: Mapping[str, Any], **_: object
    ) -> str:
        assert payload_faults(EventType(event), payload) == []
        self.notes.append((job_id, event, payload))
        return ""

    async def result(self, job_id: str) -> ClaimEnding:
        """How it ended, once the store was told."""
        await until(lambda: job_id in self.ended)
        return self.ended[job_id]


async def until(fact: Callable[[], object]) -> None:
    # Sooner than a runner with free slots would look for itself: somebody must have woken it.
    with anyio.fail_after(CLAIM_EVERY_MS / 2_000):
        while not fact():
            await checkpoint()


async def settled() -> None:
    """Everything that can go on without us has gone on."""
    for _ in range(100):
        await checkpoint()


@dataclass
class FakeReader:
    """Tokens that a test sends to the ear, in order."""

    sent: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Stream, entry."""
    news: anyio.Event = field(default_factory=anyio.Event)

    def send(self, stream: str, **entry: str) -> None:
        self.sent.append((stream, entry))
        self.news.set()

    async def read(self, *_: object) -> dict[str, list[tuple[str, dict[str, str]]]]:
        await self.news.wait()
        stream, entry = self.sent.pop(0)
        if not self.sent:
            self.news = anyio.Event()
        return {stream: [("1-1", entry)]}


class _Keeper:
    """Its first beat is acknowledged at once."""

    def __init__(self, _: str, heard: Heard) -> None:
        self.heard = heard

    def start(self) -> None:
        self.heard.confirm(0, 15_000)

    def stop(self) -> None:
        pass


class NoLeases:
    async def register(self, *_: object, **__: object) -> None:
        pass


@dataclass
class Operators:
    """What a test wants of the runner, and what the runner said of it."""

    obey: Obey | None = None
    reports: list[tuple[str, Mapping[str, object]]] = field(default_factory=list)

    async def follow(self, _: Instance, obey: Obey) -> None:
        self.obey = obey
        await anyio.sleep_forever()

    def want(self, revision: int, **drains: int | None) -> None:
        assert self.obey is not None, "the runner lives"
        self.obey(Wanted(revision, drains))

    async def acknowledge(
        self, _: str, __: int, *, command_id: str, report: Mapping[str, object]
    ) -> None:
        self.reports.append((command_id, report))


@dataclass
class Stage:
    claims: FakeClaims
    life: Life
    stop: Stop
    reader: FakeReader
    tasks: TaskGroup
    operators: Operators
    over: anyio.Event = field(default_factory=anyio.Event)
    """Its life has ended."""

    def hint(self, what: str, claim: str) -> None:
        """The ear hears it now."""
        self.life._ear._heed({"what": what, "claim": claim}, self.tasks)

    def hand(self, number: int, spec: str) -> None:
        """A job is claimed for it, and its inbox tells it now."""
        self.life._ear._heed(self.claims.hand(number, spec), self.tasks)

    def token(self) -> None:
        self.reader.send(Keys(0).wake("default"), pool="default")

    async def live(self) -> None:
        await self.life.live()
        self.over.set()


@asynccontextmanager
async def a_life(
    folder: Path,
    *specs: str,
    slots: int = 4,
    grace_ms: int = 1_000,
    metrics: Metrics | None = None,
) -> AsyncIterator[Stage]:
    """A runner with these jobs in its line, until the test leaves."""
    claims, clock, stop = FakeClaims(slots, list(specs)), SystemClock(), Stop()
    output, reader = FakeOutput(), FakeReader()
    output.gate.set()
    operators = Operators()
    connection = SimpleNamespace(watermark=SimpleNamespace(restarts=0), keys=Keys(0))
    store = SimpleNamespace(
        claims=claims, output=output, leases=NoLeases(), connection=connection, control=operators
    )
    tools = Tools(
        store=cast(Store, store),
        reader=cast(BlockingReader, reader),
        adapters=cast(Adapters, SimpleNamespace(inline=Inline())),
        blobs=Blobs(folder),
        guards=GuardLeases(suspend_max_ms=60_000),
        clock=clock,
        ids=SystemIds(),
        health=Health(clock),
        figures=Figures(metrics or Metrics(), pool="default", slots=slots, classes=()),
        keeper=_Keeper,
        from_keeper=lambda act: act(),
        terms=RunnerTerms("default", slots, grace_ms, 1_000),
        follow=operators.follow,
    )
    life = Life(tools, Instance("runner-1", "runner", {}, "default", slots), stop, [])
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            stage = Stage(claims, life, stop, reader, tasks, operators)
            tasks.start_soon(stage.live)
            try:
                yield stage
            finally:
                if claims.gate is not None:
                    claims.gate.set()
                tasks.cancel_scope.cancel()
