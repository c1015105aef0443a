"""One run: a server with one persistence, the actors, a load, a storm, healing, and the verdict."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Final

import anyio
import anyio.to_thread
from redis.exceptions import RedisError

from actors.body import make_store
from contracts.errors import OrchError
from contracts.states import STATE_CODES
from orch.settings import Settings, settings_of
from orch.store.keys import Keys
from orch.system import monotonic_ms
from tests.chaos.disk import SmallDisk
from tests.chaos.house import Actor, House
from tests.chaos.hurt_links import LinkFaults
from tests.chaos.hurt_processes import ProcessFaults
from tests.chaos.hurt_server import ServerFaults
from tests.chaos.inspection import Inspection, states_of, unresting
from tests.chaos.load import Scene
from tests.chaos.nemesis import Nemesis
from tests.chaos.on_cluster import ClusterFaults, OnCluster
from tests.chaos.proxy import Link, Proxy, fault_proxy
from tests.chaos.replicated import FailoverFaults, Replicated
from tests.chaos.server import Server, engine_named
from tests.chaos.shape import Outcome, Shape
from tests.chaos.submit import Ack, Books, Submitter
from tests.chaos.under_sentinels import Trio
from tests.chaos.verdict import RESTING, Violation

HEAL_S: Final = 60.0
"""Everything accepted must rest so long after the last fault: hints are repeated after 30 s, the other half
is backlog."""
LEAVE_S: Final = 15.0
TELL_S: Final = 30.0
_RESTING: Final = {STATE_CODES[state] for state in RESTING}


class Run:
    """A run under way."""

    def __init__(
        self,
        shape: Shape,
        seed: str,
        root: Path,
        *,
        say: Callable[[str], object] = lambda _line: None,
    ) -> None:
        root.mkdir(parents=True)
        self.say = say
        self.shape = shape
        self.seed = seed
        self.root = root
        self.scene = Scene(
            root / "effects.txt", root / "poison.txt", root / "truce", shape.lease_ms
        )
        self.server = _server(shape, root)
        self.books = Books(root / "journal.txt")
        self.outcome = Outcome(shape, seed, root)
        self.in_peace = anyio.Lock()
        self.submitters: list[Submitter] = []
        self.counted_lost: dict[str, float] = {}
        self.poisoned: set[int] = set()
        self.undone: dict[str, Ack] = {}
        """Acknowledged cancels that the server forgot."""

    # -- its life

    async def whole(self) -> Outcome:
        """From the first process to the verdict."""
        async with (
            anyio.create_task_group() as tasks,
            fault_proxy(lambda: self.server.target) as proxy,
        ):
            rng = Random(f"{self.seed}/keep")
            tasks.start_soon(self.server.keep, lambda: rng.uniform(0.0, 0.08))
            house = House(self.root, proxy, tasks, Random(f"{self.seed}/house"), url_of=self._url)
            try:
                await self.server.up.wait()
                await house.open()
                try:
                    await self._open(house, proxy)
                    await self._storm(house, proxy)
                    await self._heal(house, proxy)
                    await self._judge(house)
                finally:
                    house.destroy()
            finally:
                with anyio.CancelScope(shield=True):
                    await self._close()
            tasks.cancel_scope.cancel()
        await house.forget()
        return self.outcome

    async def _open(self, house: House, proxy: Proxy) -> None:
        words = [w for k, v in self.shape.values().items() for w in ("--set", f"{k}={v}")]
        store = make_store(self._settings(await proxy.link("harness")), actor="supervisor")
        await store.timers.declare(("default",))
        house.burier = store
        house.died_alone = self._explains
        for n in range(1, self.shape.runners + 1):
            await house.add(f"runner-{n}", "runner", words)
        for role in ("admission", "scheduler", "reaper", "fallback"):
            for n in range(1, self.shape.others + 1):
                await house.add(f"{role}-{n}", role, words)
        await house.add("gateway-1", "gateway", words)
        for n in range(1, self.shape.submitters + 1):
            link = await proxy.link(f"submitter-{n}")
            rng = Random(f"{self.seed}/submitter-{n}")
            self.submitters.append(
                Submitter(f"s{n}", self._settings(link), self.scene, self.books, rng)
            )
        with anyio.fail_after(30):
            while not all(actor.serves for actor in house.actors):
                await anyio.sleep(0.05)

    def _url(self, link: Link) -> str:
        """What a process is given that has this link."""
        return link.url if self.server.is_behind_links else self.server.url

    def _settings(self, link: Link) -> Settings:
        return settings_of({**self.shape.values(), "redis_url": self._url(link)})

    def _explains(self, actor: Actor, code: int) -> bool:
        """A runner that a poison agent killed."""
        pids = self.scene.poison.read_text().split() if self.scene.poison.exists() else []
        if actor.role == "runner" and code == -9 and str(actor.pid) in pids:
            self.poisoned.add(actor.pid)
            return True
        return False

    # -- the phases

    async def _storm(self, house: House, proxy: Proxy) -> None:
        processes = ProcessFaults(house, self.scene, self.in_peace)
        on_server = self._server_faults(proxy)
        acts = {**processes.acts(), **on_server.acts()}
        if self.server.is_behind_links:
            acts |= LinkFaults(house, proxy, self.shape.lease_ms).acts()
        if self.shape.only:
            acts = {name: act for name, act in acts.items() if name in self.shape.only}
        nemesis = Nemesis(
            self.seed,
            acts,
            self.root / "faults.jsonl",
            seconds=self.shape.seconds,
            pace=self.shape.pace,
        )
        self.outcome.nemesis, self.outcome.skipped = nemesis, on_server.skipped()
        async with anyio.create_task_group() as load:
            for submitter in self.submitters:
                load.start_soon(self._submit, submitter)
            load.start_soon(self._follow)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(on_server.sample)
                tasks.start_soon(nemesis.storm)
                tasks.start_soon(self._scrape_often, house)
                tasks.start_soon(self._tell_often, nemesis)
                await anyio.sleep(self.shape.seconds)
                tasks.cancel_scope.cancel()
            await self._calm(house, proxy)
            self.books.stop = True
            with anyio.move_on_after(HEAL_S / 2) as patience:
                await self._submitters_done(load)
            if patience.cancelled_caught:
                self._violate("stuck", "a submitter was not answered after the faults had stopped")
            load.cancel_scope.cancel()

    async def _tell_often(self, nemesis: Nemesis) -> None:
        began = monotonic_ms()
        while True:
            await anyio.sleep(TELL_S)
            counts = nemesis.counts
            frozen = sum(count for name, count in counts.items() if name.startswith("freeze"))
            self.say(
                f"{self.shape.name}: {(monotonic_ms() - began) // 1000} s, {len(self.books.acks)} jobs, "
                f"{counts['kill_runner']} runner kills, {frozen} freezes, "
                f"{counts['server_kill']} server kills, {counts.total()} faults"
            )

    def _server_faults(self, proxy: Proxy) -> ServerFaults | FailoverFaults:
        if isinstance(self.server, Server):
            return ServerFaults(self.server, self.in_peace, self.shape.lease_ms)
        self.server.on_change = proxy.reset_all
        if isinstance(self.server, OnCluster):
            return ClusterFaults(self.server, self.in_peace)
        return FailoverFaults(self.server, self.in_peace)

    async def _submit(self, submitter: Submitter) -> None:
        await submitter.run(most_open=self.shape.most_open, pause_s=self.shape.pause_s)
        self._submitting -= 1

    _submitting = 0

    async def _submitters_done(self, load: anyio.abc.TaskGroup) -> None:
        while self._submitting > -len(self.submitters):
            await anyio.sleep(0.05)

    async def _calm(self, house: House, proxy: Proxy) -> None:
        """No fault is left anywhere."""
        self.server.heal()
        await self.server.up.wait()
        with suppress(RedisError):
            await self.server.command("CONFIG", "SET", "maxmemory", 0)
        proxy.heal()
        house.thaw()

    async def _follow(self) -> None:
        """Which acknowledged jobs have come to rest."""
        while True:
            with suppress(RedisError):
                await self._look()
            await anyio.sleep(0.3)

    async def _look(self) -> None:
        ids = list(self.books.open)
        pipe = self.server.client.pipeline(transaction=False)
        for job_id in ids:
            pipe.hget(Keys().job(job_id), "state")  # type: ignore[unused-awaitable]  # a pipeline's
        for job_id, state in zip(ids, await pipe.execute(), strict=True):
            if state is None or state in _RESTING:
                self.books.open.discard(job_id)

    async def _heal(self, house: House, proxy: Proxy) -> None:
        began = monotonic_ms()
        with anyio.move_on_after(HEAL_S):
            for submitter in self.submitters:
                await submitter.speak()
            while not await self._is_at_rest(house):
                await self._end_the_endless()
                await anyio.sleep(0.2)
        self.outcome.notes["healed_ms"] = monotonic_ms() - began
        await self._scrape(house)
        await house.close(LEAVE_S)

    async def _end_the_endless(self) -> None:
        """Their submitters were told that they are canceled, or never heard of them: the server went back."""
        with suppress(RedisError, OrchError):
            for job_id, name in (await unresting(self.server.client)).items():
                if name == "endless":
                    if job_id in self.books.cancels:
                        self.undone[job_id] = self.books.cancels[job_id]
                    await self.submitters[0].store.steering.cancel(job_id, by="harness")

    async def _is_at_rest(self, house: House) -> bool:
        if not all(actor.serves for actor in house.actors):
            return False
        with suppress(RedisError):
            instances = await self.server.client.hgetall(Keys().instances)
            pids = {json.loads(about)["pid"] for about in instances.values()}
            if pids != {actor.pid for actor in house.actors}:
                return False
            return all(state in _RESTING for state in await states_of(self.server.client))
        return False

    # -- what the actors have counted

    async def _scrape_often(self, house: House) -> None:
        while self.server.may_lose:
            await self._scrape(house)
            await anyio.sleep(2.0)

    async def _scrape(self, house: House) -> None:
        for actor in house.actors:
            if actor.serves and not actor.frozen:
                port, pid = actor.metrics_port, actor.pid
                lost = await anyio.to_thread.run_sync(_lost_writes, port)
                self.counted_lost[f"{actor.name}/{pid}"] = lost

    # -- the verdict

    async def _judge(self, house: House) -> None:
        inspection = Inspection(
            self.server,
            self.books,
            self.scene,
            self.outcome,
            silences=[*house.silences, *self.server.silences],
            undone=list(self.undone.values()),
        )
        self.outcome.notes["undone_cancels"] = len(self.undone)
        settings = settings_of({**self.shape.values(), "redis_url": self.server.url})
        await inspection.look(
            self.root,
            counted_elsewhere=int(sum(self.counted_lost.values())),
            counted_by_submitters=sum(one.lost_writes for one in self.submitters),
            store=make_store(settings, actor="harness"),
        )
        for what in (*house.broken, *self.server.broken):
            self._violate("broken", what)
        if self.outcome.nemesis is not None:
            self.outcome.nemesis.counts["poison"] += len(self.poisoned)

    def _violate(self, kind: str, what: str) -> None:
        self.outcome.violations.append(Violation(kind, what))

    async def _close(self) -> None:
        for submitter in self.submitters:
            await submitter.aclose()
        await self.server.aclose()


def _server(shape: Shape, root: Path) -> Server | Replicated:
    engine = engine_named(shape.engine)
    if shape.servers == "sentinels":
        return Trio(root, engine)
    if shape.servers == "cluster":
        return OnCluster(root, engine)
    disk = SmallDisk(root / "data") if shape.small_disk else None
    return Server(root, engine, appendfsync=shape.appendfsync, disk=disk)


def _lost_writes(port: int | None) -> float:
    """What one actor counts; 0 when it does not answer."""
    with suppress(OSError):
        url = f"http://127.0.0.1:{port}/metrics"
        with urllib.request.urlopen(url, timeout=1) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith("orch_acked_writes_lost_total "):
                    return float(line.split()[1])
    return 0.0
