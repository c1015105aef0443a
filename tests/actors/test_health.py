"""Health is the age of each loop's last good cycle, not "process up" (MET-5)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import anyio
import anyio.lowlevel
import orjson
import pytest

from actors.gateway.hub import Hub
from actors.instance import every, keep_beating
from contracts.errors import ErrorCode, Refused, Unavailable
from contracts.metrics import CYCLES
from orch.store.leases import Instance
from orch.telemetry.health import DEAD_MS, STALE_MS, Health
from orch.telemetry.metrics import Metrics
from orch.telemetry.serve import telemetry_server
from tests.actors.gateway.fake_store import FakeStore


class Clock:
    """Sleeping moves it."""

    def __init__(self) -> None:
        self.now_ms = 1_000

    def monotonic_ms(self) -> int:
        return self.now_ms

    def wall_ms(self) -> int:
        return self.now_ms

    async def sleep_ms(self, duration_ms: float) -> None:
        await anyio.lowlevel.checkpoint()
        self.now_ms += int(duration_ms)


@pytest.mark.req("MET-5", "DEP-1")
def test_alive_is_an_event_loop_that_turns_whatever_redis_does() -> None:
    clock = Clock()
    health, runner = Health(clock), Health(clock, runs_bodies=True)
    with telemetry_server("127.0.0.1", 0, Metrics().registry, health) as port:
        clock.now_ms += DEAD_MS - 1
        assert (status_of(port, "/livez"), status_of(port, "/readyz")) == (200, 503)
        clock.now_ms += 1
        assert status_of(port, "/livez") == 503
        health.turned()
        assert status_of(port, "/livez") == 200
    assert runner.alive(), "a body may keep its loop"


def status_of(port: int, path: str) -> int:
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}") as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


@pytest.mark.req("MET-5")
def test_a_process_is_ready_when_every_loop_that_it_has_came_round_and_none_is_stuck() -> None:
    clock = Clock()
    health = Health(clock)
    assert not health.ready(), "nothing runs yet"
    health.expect("look")
    health.expect("mailbox")
    health.cycled("look")
    assert (health.ready(), health.waits_for()) == (False, ["mailbox"])
    health.cycled("mailbox")
    assert health.ready()
    clock.now_ms += STALE_MS - 1
    health.cycled("look")
    assert health.ready()
    clock.now_ms += 1
    assert (health.ready(), health.stuck()) == (False, ["mailbox"])
    health.cycled("mailbox")
    assert health.ready()


@pytest.mark.req("MET-5")
def test_a_loop_that_never_came_round_is_stuck_like_one_that_stopped() -> None:
    clock = Clock()
    health = Health(clock)
    health.expect("look")
    clock.now_ms += STALE_MS
    assert (health.stuck(), health.ages_ms()) == (["look"], {"look": STALE_MS})


@pytest.mark.req("MET-5")
def test_each_loop_is_judged_by_its_own_bound_and_one_that_rests_by_none() -> None:
    clock = Clock()
    health = Health(clock)
    health.expect("beat", stale_ms=1_000)
    health.expect("retire", stale_ms=150_000)
    health.expect("feed")
    for what in ("beat", "retire", "feed"):
        health.cycled(what)
    clock.now_ms += 1_000
    assert health.stuck() == ["beat"]
    clock.now_ms += 100_000
    assert health.stuck() == ["beat", "feed"]
    health.rests("feed")
    assert health.stuck() == ["beat"]
    assert "feed" not in health.ages_ms()


@pytest.mark.req("MET-5")
def test_a_drain_is_not_ready_and_nothing_is_stuck() -> None:
    health = Health(Clock())
    health.cycled("cycle")
    health.drains(draining=True)
    assert (health.ready(), health.stuck()) == (False, [])
    health.drains(draining=False)
    assert health.ready()


@pytest.mark.req("MET-1", "MET-5")
def test_ages_and_bounds_are_metrics_so_that_one_rule_watches_every_loop() -> None:
    clock, metrics = Clock(), Metrics()
    health = Health(clock)
    health.told_by(metrics)
    health.expect("beat", stale_ms=5_000)
    health.cycled("beat")
    clock.now_ms += 1_500
    sample = metrics.registry.get_sample_value
    assert sample("orch_ready") == 1
    assert sample("orch_cycle_age_seconds", {"cycle": "beat"}) == 1.5
    assert sample("orch_cycle_stale_seconds", {"cycle": "beat"}) == 5
    clock.now_ms += 3_500
    assert sample("orch_ready") == 0


# -- the loops


@asynccontextmanager
async def looping(clock: Clock, health: Health, act: object, **more: int) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(
            partial(every, 1_000, act, clock=clock, health=health, what="look", **more)  # type: ignore[arg-type]  # words by name
        )
        yield
        tasks.cancel_scope.cancel()


async def until_ms(clock: Clock, at_ms: int) -> None:
    with anyio.fail_after(5):
        while clock.now_ms < at_ms:
            await anyio.lowlevel.checkpoint()


@pytest.mark.req("MET-5")
async def test_a_loop_whose_act_fails_grows_old_and_recovers_with_its_next_good_cycle() -> None:
    clock = Clock()
    health = Health(clock)
    away = False

    async def act() -> None:
        if away:
            raise Unavailable(ErrorCode.UNAVAILABLE, "Redis is away")

    async with looping(clock, health, act):
        await until_ms(clock, 5_000)
        assert health.ready()
        away = True
        await until_ms(clock, clock.now_ms + STALE_MS + 4_000)
        assert health.stuck() == ["look"]
        away = False
        await until_ms(clock, clock.now_ms + 2_000)
        assert health.ready()


@pytest.mark.req("MET-5")
async def test_a_loop_that_hangs_in_its_act_grows_old() -> None:
    clock = Clock()
    health = Health(clock)
    async with looping(clock, health, anyio.sleep_forever):
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        assert health.waits_for() == ["look"]
        clock.now_ms += STALE_MS + 2_000
        assert health.stuck() == ["look"]


@pytest.mark.req("MET-5")
async def test_a_loop_that_takes_its_time_does_not_hold_up_readiness() -> None:
    clock = Clock()
    health = Health(clock)
    async with looping(clock, health, anyio.sleep_forever, stale_ms=3_600_000):
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        assert health.ready()
        clock.now_ms += 3_599_999
        assert health.ready()
        clock.now_ms += 1
        assert health.stuck() == ["look"]


class Leases:
    """Answers beats as told."""

    answers: tuple[bool | Exception, ...] = ()

    def __init__(self, *answers: bool | Exception) -> None:
        self._answers = list(answers)
        self.registered = 0

    async def beat(self, _instance_id: str) -> bool:
        answer = self._answers.pop(0) if self._answers else True
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def register(self, _instance: Instance, *, again: bool = False) -> None:
        self.registered += 1


@pytest.mark.req("MET-5")
async def test_an_instance_whose_beats_are_not_heard_is_stuck_after_its_lease() -> None:
    clock = Clock()
    health = Health(clock)
    away = [Unavailable(ErrorCode.UNAVAILABLE, "away") for _ in range(30)]
    leases = Leases(True, *away, Refused(ErrorCode.LEASE_OVER, "buried"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(
            partial(
                keep_beating,
                leases,  # type: ignore[arg-type]  # all that it asks of them
                Instance("fallback-1", "fallback", {}),
                clock,
                lease_ms=3_000,
                health=health,
            )
        )
        await anyio.lowlevel.checkpoint()
        assert health.ready(), "its registration was a beat"
        await until_ms(clock, 2_000)
        await until_ms(clock, clock.now_ms + 4_000)
        assert health.stuck() == ["beat"]
        with anyio.fail_after(5):
            while not leases.registered or health.stuck():
                await anyio.lowlevel.checkpoint()
        assert leases.registered == 1
        tasks.cancel_scope.cancel()


@pytest.mark.req("MET-5")
async def test_the_gateways_reader_of_the_feed_is_judged_only_while_somebody_watches() -> None:
    clock, store = Clock(), FakeStore()
    health = Health(clock)
    hub = Hub(feed=store, reading=store, clock=clock, block_ms=60_000, health=health)
    async with anyio.create_task_group() as tasks:
        await tasks.start(hub.run)
        assert health.ages_ms() == {}
        with hub.watch("job"):
            with anyio.fail_after(5):
                while "feed" not in health.ages_ms():
                    await anyio.lowlevel.checkpoint()
            clock.now_ms += STALE_MS + 60_000
            assert health.stuck() == ["feed"]
        tasks.cancel_scope.cancel()


# -- its door


@pytest.mark.req("MET-5", "API-1")
def test_an_actors_own_port_says_not_ready_and_stays_alive_and_names_the_stuck_loop() -> None:
    clock, metrics = Clock(), Metrics()
    health = Health(clock)
    health.told_by(metrics)
    health.expect("look")
    health.cycled("look")
    with telemetry_server("127.0.0.1", 0, metrics.registry, health) as port:

        def get(path: str, accept: str = "*/*") -> tuple[int, str, bytes]:
            asked = Request(f"http://127.0.0.1:{port}{path}", headers={"Accept": accept})
            try:
                with urlopen(asked) as answer:
                    return answer.status, answer.headers["Content-Type"], answer.read()
            except HTTPError as error:
                with error:
                    return error.code, error.headers["Content-Type"], error.read()

        assert get("/readyz")[0] == 200
        clock.now_ms += STALE_MS
        status, _, body = get("/readyz")
        assert (status, orjson.loads(body)) == (
            503,
            {
                "ready": False,
                "draining": False,
                "cycle_age_ms": {"look": STALE_MS},
                "stuck": ["look"],
            },
        )
        assert get("/livez")[0] == 200
        assert b'orch_cycle_age_seconds{cycle="look"} 30.0' in get("/metrics")[2]
        assert get("/metrics", "application/openmetrics-text")[1].startswith(
            "application/openmetrics-text"
        )


def test_the_loops_of_the_contract_have_each_one_name() -> None:
    assert len(set(CYCLES)) == len(CYCLES)


async def test_a_loop_may_be_asked_after_each_round_how_long_it_waits() -> None:
    clock = Clock()
    rounds_at_ms: list[int] = []

    async def act() -> None:
        rounds_at_ms.append(clock.now_ms)

    async with anyio.create_task_group() as tasks:
        ask = partial(len, rounds_at_ms)
        tasks.start_soon(partial(every, ask, act, clock=clock, health=Health(clock), what="look"))
        await until_ms(clock, 1_010)
        tasks.cancel_scope.cancel()
    assert rounds_at_ms[:4] == [1_000, 1_001, 1_003, 1_006]
