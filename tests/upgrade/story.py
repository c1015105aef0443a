"""Two versions on one server under load: role by role from the old to the new one, and role by role back.

A passage starts a process of the version to come and, once it is well, asks one of the version that goes to
leave. Half way, while runners of both are there, it stands still until jobs have ended. Afterwards the
library of the version that went has to go from the server, and at the end all jobs are judged.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
from redis.asyncio import Redis

from actors.body import make_store
from orch.core.ledger import state_of
from orch.settings import settings_of
from orch.store.embedded import private_server
from orch.system import monotonic_ms
from tests.chaos.inspection import jobs_of
from tests.chaos.verdict import read_traces
from tests.store.invariants import faults_of as index_faults
from tests.store.world import World
from tests.upgrade import judge
from tests.upgrade.house import House
from tests.upgrade.load import KINDS, Scene
from tests.upgrade.producers import KEYS, Books, Producers
from tests.upgrade.versions import Version

_LOOK_S: Final = 0.05
REST_S: Final = 60.0
"""Everything accepted has come to its end so long after the last submission, or is stuck."""
PHASE_S: Final = 90.0
"""For the jobs of one phase to end."""
ANNOUNCED: Final = "orch_reaper_announced_total"
"""A hint that was late by two seconds on a busy machine is no fault: it is told, and not judged."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a story is like."""

    roles: tuple[str, ...] = (
        "reaper", "scheduler", "fallback", "admission", "notifier", "runner", "gateway",
    )  # fmt: skip
    """In the order in which they are replaced; on the way back the other way round."""
    already: tuple[str, ...] = ()
    """Roles that the new version plays from the beginning."""
    runners: int = 2
    doors: tuple[str, ...] = ("http", "direct", "raw")
    kinds: tuple[str, ...] = tuple(KINDS)
    """Without a gateway nobody answers `asks` and cancels `endless`, without a scheduler `again` waits."""
    jobs: int = 60
    """That end before, in the middle and after each passage."""
    most_open: int = 24
    pause_s: float = 0.1
    back: bool = True
    """Whether it goes back, too."""
    keep_ms: int = 3_000
    slots: int = 8

    @property
    def settings(self) -> dict[str, object]:
        """Of every process, as far as its version knows them."""
        return {
            "library_keep_ms": self.keep_ms, "slots": self.slots, "grace_ms": 1_000,
            "backoff_ms": 20, "backoff_ms_max": 200, "python_workers": 1,
        }  # fmt: skip


@dataclass
class Passage:
    """From one version to another."""

    leaves: Version
    comes: Version
    took_ms: int = 0
    libraries: list[str] = field(default_factory=list)
    """On the server half way."""
    middle: tuple[int, int] = (0, 0)
    """From when to when both versions ran jobs, on the server's clock."""
    begun: Counter[str] = field(default_factory=Counter)
    """Attempts that began in that time, by version."""
    removed_ms: int | None = None
    """How long the library stayed after its last user; None where nobody removes any."""


@dataclass
class Outcome:
    """What came of a story."""

    shape: Shape
    passages: list[Passage] = field(default_factory=list)
    books: Books = field(default_factory=Books)
    jobs: dict[str, dict[str, str]] = field(default_factory=dict)
    counted: Counter[str] = field(default_factory=Counter)
    """What the processes told of repairs and failures."""
    burials: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def ends(self) -> Counter[tuple[str, str]]:
        """Jobs by kind and state."""
        found = ((kind, self.jobs.get(job_id)) for job_id, kind in self.books.accepted.items())
        return Counter((kind, state_of(job["state"]).value) for kind, job in found if job)


Say = Callable[[str], object]


class Story:
    """One story under way."""

    def __init__(self, shape: Shape, root: Path, say: Say) -> None:
        self.shape = shape
        self.root = root
        self.say = say
        self.outcome = Outcome(shape)
        self.scene = Scene(root / "effects.txt", root / "inline.txt")
        self._version_of: dict[str, str] = {}
        self._known_ms: dict[str, int] = {}
        """When an instance of each version was last known to the server."""
        self._phases = 0

    async def whole(self, old: Version, new: Version) -> Outcome:
        """From the first process to the verdict."""
        async with private_server(self.root / "server") as server, self._staffed(server.url):
            await self._tell(old, new)
            await self._rest()
            await self.house.close()
            await self._judge(server.url)
        return self.outcome

    @asynccontextmanager
    async def _staffed(self, redis_url: str) -> AsyncIterator[None]:
        shape = self.shape
        self.house = House(self.root, redis_url, shape.settings)
        self.producers = Producers(redis_url, self.house.url, self.scene, kinds=shape.kinds)
        self.books = self.outcome.books = self.producers.books
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.producers.follow)
                tasks.start_soon(self._know_instances)
                self._tasks = tasks
                yield
                tasks.cancel_scope.cancel()
        finally:
            self.house.destroy()
            with anyio.CancelScope(shield=True):
                await self.producers.aclose()
                await self.producers.redis.aclose()

    @property
    def redis(self) -> Redis:
        """Past Orch: what is really there."""
        return self.producers.redis

    # -- the phases

    async def _tell(self, old: Version, new: Version) -> None:
        shape = self.shape
        await self.house.open(old, shape.roles, runners=shape.runners)
        for role in shape.already:
            await self.house.start(new, role)
        self.say(f"{old.label} runs: {len(self.house.actors)} processes")
        for door in shape.doors:
            produce = partial(
                self.producers.produce, door, most_open=shape.most_open, pause_s=shape.pause_s
            )
            self._tasks.start_soon(produce)
        await self._phase()
        await self._pass(old, new, shape.roles)
        await self._phase()
        if shape.back:
            await self._await_removal(self.outcome.passages[-1])
            await self._pass(new, old, shape.roles[::-1])
            # It calls this version's functions and is no instance: it would load them again.
            self.books.stopped.add("direct")
            await self._phase()
        self.books.stopped.update(shape.doors)

    async def _pass(self, leaves: Version, comes: Version, roles: tuple[str, ...]) -> None:
        """Role by role; a runner of each version stays until jobs have ended on both."""
        passage = Passage(leaves, comes)
        self.outcome.passages.append(passage)
        began_ms = monotonic_ms()
        for role in roles:
            for n in range(len(self.house.of(role))):
                going = next(one for one in self.house.of(role) if one.version is leaves)
                await self.house.start(comes, role)
                if role == "runner" and n == 0:
                    await self._stand_in_the_middle(passage)
                await self.house.leave(going)
                self.say(f"{leaves.label} -> {comes.label}: {role}")
        passage.took_ms = monotonic_ms() - began_ms
        if comes.removes_libraries:
            self._tasks.start_soon(self._watch_removal, passage)

    async def _stand_in_the_middle(self, passage: Passage) -> None:
        from_ms = await self._now_ms()
        await self._phase()
        passage.libraries = await self._libraries()
        passage.middle = (from_ms, await self._now_ms())

    async def _phase(self) -> None:
        """Until so many jobs more have ended, and a schedule has fired."""
        until = self.books.ended + self.shape.jobs
        self._phases += 1
        with anyio.fail_after(PHASE_S):
            if "http" in self.shape.doors:
                await self.producers.fire(f"phase-{self._phases}")
            while self.books.ended < until:
                self.house.look()
                assert not self.house.broken, self.house.broken
                await anyio.sleep(_LOOK_S)

    async def _rest(self) -> None:
        """Nothing is submitted any more: what is not over now is stuck."""
        with anyio.move_on_after(REST_S):
            while self.books.open:
                await anyio.sleep(_LOOK_S)
        await self.producers.aclose()
        await self._await_removal(self.outcome.passages[-1])

    # -- what is looked at meanwhile

    async def _know_instances(self) -> None:
        """Which version each instance that ever lived belongs to, by its process."""
        while True:
            pids = {one.process.pid: one.version.label for one in self.house.actors}
            asked_ms = monotonic_ms()
            known: dict[Any, Any] = await self.redis.hgetall(KEYS.instances)
            for name, about in known.items():
                pid = json.loads(about)["pid"]
                if name not in self._version_of and pid in pids:
                    self._version_of[name] = pids[pid]
                if name in self._version_of:
                    self._known_ms[self._version_of[name]] = asked_ms
            await anyio.sleep(_LOOK_S)

    async def _watch_removal(self, passage: Passage) -> None:
        """How long the library stays when its last user has left the server."""
        while passage.leaves.library in await self._libraries():
            await anyio.sleep(_LOOK_S)
        passage.removed_ms = monotonic_ms() - self._known_ms[passage.leaves.label]

    async def _await_removal(self, passage: Passage) -> None:
        """It is gone and did not come back, if anybody who is left removes libraries."""
        if not passage.comes.removes_libraries:
            return
        with anyio.move_on_after(4 * self.shape.keep_ms / 1_000 + 5):
            while passage.removed_ms is None:
                await anyio.sleep(_LOOK_S)
        if passage.removed_ms is not None and passage.removed_ms < self.shape.keep_ms:
            self._fault(
                f"{passage.leaves.library} was removed {passage.removed_ms} ms after its last user"
            )
        if passage.leaves.library in await self._libraries():
            self._fault(f"{passage.leaves.library} of {passage.leaves.label} is still there")

    async def _libraries(self) -> list[str]:
        found: list[Any] = await self.redis.execute_command("FUNCTION", "LIST")
        return sorted(str(one[one.index("library_name") + 1]) for one in found)

    async def _now_ms(self) -> int:
        seconds, micros = await self.redis.time()
        return int(seconds) * 1_000 + int(micros) // 1_000

    # -- the verdict

    def _fault(self, what: str) -> None:
        self.outcome.faults.append(what)

    async def _judge(self, redis_url: str) -> None:
        out, scene = self.outcome, self.scene
        out.jobs = await jobs_of(self.redis)
        out.burials = int(await self.redis.hget(KEYS.meta, "burials") or 0)
        out.counted = self.house.counted
        marks = scene.inline.read_text().split() if scene.inline.exists() else []
        out.faults += judge.faults_of(
            self.books.accepted, out.jobs, read_traces(scene.effects), marks
        )
        out.faults += [*self.house.broken, *(f"refused: {one}" for one in self.books.refused)]
        out.faults += [f"{name}: {n}" for name, n in out.counted.items() if ANNOUNCED not in name]
        if out.burials:
            self._fault(f"{out.burials} instances were declared dead, though nobody died")
        missing = set(self.shape.kinds) - set(self.books.accepted.values())
        out.faults += [f"no job of the kind {kind} was submitted" for kind in sorted(missing)]
        for passage in out.passages:
            self._judge_passage(passage)
        out.faults += await _index_faults(redis_url)

    def _judge_passage(self, passage: Passage) -> None:
        versions = (passage.leaves, passage.comes)
        from_ms, to_ms = passage.middle
        passage.begun = judge.begun_by(
            self.outcome.jobs, self._version_of, from_ms=from_ms, to_ms=to_ms
        )
        for one in versions:
            if one.library not in passage.libraries:
                self._fault(f"half way, the library of {one.label} was not on the server")
            if not passage.begun[one.label]:
                self._fault(f"half way, no runner of {one.label} began a job")


async def _index_faults(redis_url: str) -> list[str]:
    store = make_store(settings_of({"redis_url": redis_url}), actor="harness")
    try:
        return await index_faults(World(store.connection), half_written=False)
    finally:
        await store.connection.aclose()


async def tell(
    old: Version, new: Version, shape: Shape, root: Path, say: Say = lambda _line: None
) -> Outcome:
    """The story of two versions, with its verdict."""
    root.mkdir(parents=True, exist_ok=True)
    return await Story(shape, root, say).whole(old, new)
