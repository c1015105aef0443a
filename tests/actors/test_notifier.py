"""The notifier against a real store and a real receiver: told once, told again, given up, never lost."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from jsonschema import Draft202012Validator

from actors.notifier.perform import IDLE_MS, Notifier
from actors.notifier.send import Sender
from contracts.errors import ErrorCode, Unavailable
from contracts.webhooks import Delivery, NewWebhook, NewWebhookAnswer
from orch.core.asks import Ask
from orch.core.bounds import Bounds
from orch.core.scheduling import scheduling_policy
from orch.core.webhooks import InHand, Tried
from orch.store.connection import BlockingReader, Connection
from orch.store.deliveries import Deliveries
from orch.store.leases import Instance
from orch.store.store import Store, open_store
from orch.system import SystemClock, SystemIds, SystemRng
from orch.telemetry.health import Health
from orch.telemetry.metrics import Metrics
from tests.actors.receiver import Receiver, receiving
from tests.store.world import Runner, ending, spec

LOOPBACK = ("127.0.0.0/8",)


@dataclass
class House:
    store: Store
    receiver: Receiver
    metrics: Metrics

    async def hook(self, **keys: Any) -> NewWebhookAnswer:
        wish = {"url": self.receiver.url, **keys}
        return await self.store.webhooks.add(NewWebhook.model_validate(wish))

    async def cancel(self, job_id: str) -> None:
        await self.store.admission.admit([Ask(spec(id=job_id))])
        await self.store.steering.cancel(job_id, by="me")

    async def deliveries(self, hook: NewWebhookAnswer) -> list[Delivery]:
        return (await self.store.webhooks.deliveries(hook.webhook_id)).deliveries

    async def due_now(self, hook: NewWebhookAnswer, *, tries: int | None = None) -> None:
        """Its time has come; perhaps it was tried more often than it was."""
        keys, place = self.store.connection.keys, f"{hook.tenant}:{hook.webhook_id}"
        execute = self.store.connection.execute
        for member in await execute("ZRANGE", keys.posts(place), 0, -1):
            await execute("ZADD", keys.posts(place), 1, member)
            if tries is not None:
                text = await execute("HGET", keys.tries(place), member)
                await execute(
                    "HSET", keys.tries(place), member, f"{tries} {text.partition(' ')[2]}"
                )
        await execute("ZADD", keys.unsent, 1, place)

    @asynccontextmanager
    async def notifying(
        self, store: Store | None = None, reader: BlockingReader | None = None
    ) -> AsyncIterator[None]:
        """A notifier at work."""
        instance = Instance(f"notifier-{SystemIds().token()}", "notifier", {})
        used = store or self.store
        await used.leases.register(instance)
        notifier = Notifier(
            used,
            reader or used.connection.reader(IDLE_MS),
            Sender(LOOPBACK),
            instance,
            SystemClock(),
            SystemRng(1),
            Health(SystemClock()),
            self.metrics,
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(notifier.run)
            yield
            tasks.cancel_scope.cancel()


async def until(fact: Callable[[], Any]) -> None:
    with anyio.fail_after(20):
        while not fact():
            await anyio.sleep(0.01)


async def states(house: House, hook: NewWebhookAnswer, *expected: str) -> None:
    with anyio.fail_after(20):
        while [one.state for one in await house.deliveries(hook)] != list(expected):
            await anyio.sleep(0.01)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture
async def house(server_url: str, flush: None, receiver: Receiver) -> AsyncIterator[House]:
    policy = scheduling_policy(
        ("batch:1",), default_class="batch", scheduling="fair", aging_ms=60_000
    )
    connection = Connection(server_url, SystemClock())
    store = open_store(
        connection, SystemIds(), policy, actor="test", bounds=Bounds(queue_jobs_max=1_000)
    )
    await store.timers.declare(["default"])
    yield House(store, receiver, Metrics())
    await connection.aclose()


@pytest.mark.req("EVT-4")
async def test_a_completed_job_is_told_once_signed_and_without_its_result(house: House) -> None:
    hook = await house.hook()
    await house.store.leases.register(Instance("r", "runner", {}, "default", 1))
    runner = Runner(house.store, "r", "default", 1)
    await house.store.admission.admit([Ask(spec(id="job", name="count sheep"))])
    offer = await runner.claim_one()
    async with house.notifying():
        await runner.end(ending("settle", offer))
        await states(house, hook, "delivered")
    (got,) = house.receiver.got
    assert got.is_signed_by(hook.secret)
    document = json.loads(got.body)
    record = await house.store.reading.job("job")
    assert document["type"] == "job.completed"
    assert document["timestamp"].endswith("+00:00")
    schema = Path(__file__).parents[2] / "contracts" / "schemas" / "v1" / "webhook.json"
    Draft202012Validator(json.loads(schema.read_bytes())).validate(document)
    assert document["data"] == {
        "job_id": "job",
        "name": "count sheep",
        "state": "completed",
        "tenant": "default",
        "pool": "default",
        "outcome": "done",
        "reason": "completed",
        "attempt": 1,
        "finished_at_ms": record.finished_at_ms,
    }
    (shown,) = await house.deliveries(hook)
    assert (shown.delivery_id, shown.tries, shown.status) == (got.message_id, 1, 200)


@pytest.mark.req("EVT-4")
async def test_a_result_is_sent_to_the_webhook_that_asked_for_it(house: House) -> None:
    hook = await house.hook(with_result=True)
    await house.store.leases.register(Instance("r", "runner", {}, "default", 2))
    runner = Runner(house.store, "r", "default", 2)
    await house.store.admission.admit([Ask(spec(id="small")), Ask(spec(id="large"))])
    offers = {one.job_id: one for one in (await runner.cycle()).offers}
    blob = {"sha256": "0" * 64, "bytes": 9}
    await runner.end(
        ending("settle", offers["small"]),
        ending("settle", offers["large"], data=json.dumps({"$blob": blob})),
    )
    async with house.notifying():
        await states(house, hook, "delivered", "delivered")
    found = {}
    for got in house.receiver.got:
        data = json.loads(got.body)["data"]
        found[data["job_id"]] = {key: data[key] for key in data if key.startswith("result")}
    assert found == {"small": {"result": {"answer": 42}}, "large": {"result_ref": blob}}


@pytest.mark.req("EVT-4")
async def test_a_canceled_job_and_a_test_are_told_too(house: House) -> None:
    hook = await house.hook(events=["job.canceled"])
    async with house.notifying():
        await house.cancel("job")
        await states(house, hook, "delivered")
        await house.store.webhooks.test(hook.webhook_id)
        await states(house, hook, "delivered", "delivered")
    first, second = (json.loads(got.body) for got in house.receiver.got)
    data = first["data"]
    assert (first["type"], data["reason"], data["attempt"]) == ("job.canceled", "canceled", 0)
    assert (second["type"], second["data"]["webhook_id"]) == ("webhook.test", hook.webhook_id)


@pytest.mark.req("EVT-4")
async def test_a_receiver_that_fails_is_tried_again_with_the_same_id_and_body(house: House) -> None:
    house.receiver.answers = [(500, {}, b"canary"), (200, {}, b"")]
    hook = await house.hook()
    async with house.notifying():
        await house.cancel("job")
        await until(lambda: house.receiver.got)
        with anyio.fail_after(20):
            while not (pending := await house.deliveries(hook))[0].tries:
                await anyio.sleep(0.01)
        (one,) = pending
        assert (one.state, one.status, one.error) == ("pending", 500, "answered 500")
        assert one.next_try_at_ms is not None
        assert one.last_try_at_ms is not None
        assert 4_000 < one.next_try_at_ms - one.last_try_at_ms < 7_000
        # The job's record may be gone by then: what is said stays the same.
        await house.store.connection.execute("DEL", house.store.connection.keys.job("job"))
        await states(house, hook, "delivered")
    first, second = house.receiver.got
    assert (first.message_id, first.body) == (second.message_id, second.body)
    assert second.is_signed_by(hook.secret)
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) >= 4


@pytest.mark.req("EVT-4")
async def test_after_the_last_try_the_delivery_is_dead_and_can_be_sent_again(house: House) -> None:
    house.receiver.answers = [(500, {}, b""), (500, {}, b""), (200, {}, b"")]
    hook = await house.hook()
    async with house.notifying():
        await house.cancel("job")
        with anyio.fail_after(20):
            while [one.tries for one in await house.deliveries(hook)] != [1]:
                await anyio.sleep(0.01)
        await house.due_now(hook, tries=9)
        await states(house, hook, "dead")
        (dead,) = await house.deliveries(hook)
        assert (dead.tries, dead.next_try_at_ms) == (10, None)
        posted = await house.store.webhooks.resend(hook.webhook_id, [dead.delivery_id])
        assert posted.delivery_ids == [dead.delivery_id]
        await states(house, hook, "delivered")
    assert len({got.message_id for got in house.receiver.got}) == 1
    shown = await house.store.webhooks.one(hook.webhook_id)
    assert (shown.delivered, shown.dead, shown.failed_tries) == (1, 1, 2)


@pytest.mark.req("EVT-4")
async def test_a_receiver_that_is_gone_for_good_switches_its_webhook_off(house: House) -> None:
    house.receiver.answers = [(410, {}, b"")]
    hook = await house.hook()
    async with house.notifying():
        await house.cancel("job")
        await states(house, hook, "dead")
        await house.cancel("next")
    assert len(house.receiver.got) == 1
    assert (await house.store.webhooks.one(hook.webhook_id)).off == "the receiver answered 410 Gone"


@pytest.mark.req("EVT-4")
async def test_a_notifier_that_ends_between_sending_and_writing_is_followed_by_the_same_id(
    house: House,
) -> None:
    house.receiver.gate.clear()
    hook = await house.hook()
    async with house.notifying():
        await house.cancel("job")
        await until(lambda: house.receiver.got)
    house.receiver.gate.set()
    async with house.notifying():
        await states(house, hook, "delivered")
    first, second = house.receiver.got
    assert (first.message_id, first.body) == (second.message_id, second.body)


@pytest.mark.req("EVT-4")
async def test_many_notifiers_tell_each_event_once(house: House) -> None:
    hook = await house.hook()
    async with house.notifying(), house.notifying(), house.notifying():
        for n in range(40):
            await house.cancel(f"job{n}")
        await states(house, hook, *["delivered"] * 40)
    told = [json.loads(got.body)["data"]["job_id"] for got in house.receiver.got]
    assert sorted(told) == sorted(f"job{n}" for n in range(40))


class Flaky(Deliveries):
    """Redis is away for the first calls of `deliver`."""

    away = 3

    async def deliver(self, taken: InHand, tried: Sequence[Tried]) -> list[bool]:
        if self.away:
            self.away -= 1
            raise Unavailable(ErrorCode.UNAVAILABLE, "Redis cannot be reached")
        return await super().deliver(taken, tried)


@pytest.mark.req("EVT-4")
async def test_what_was_sent_while_redis_was_away_is_written_down_when_it_is_back(
    house: House,
) -> None:
    hook = await house.hook()
    await house.cancel("job")
    flaky = Flaky(house.store.connection)
    async with house.notifying(replace(house.store, deliveries=flaky)):
        await states(house, hook, "delivered")
    assert (flaky.away, len(house.receiver.got)) == (0, 1)


@pytest.mark.req("EVT-4")
async def test_a_slow_receiver_does_not_hold_up_another(house: House) -> None:
    house.receiver.gate.clear()
    with receiving() as quick:
        await house.hook(name="slow")
        hook = await house.hook(name="quick", url=quick.url)
        async with house.notifying():
            await house.cancel("job")
            await states(house, hook, "delivered")
            await house.cancel("next")
            await states(house, hook, "delivered", "delivered")
        house.receiver.gate.set()


@pytest.mark.req("EVT-4")
async def test_an_unreadable_webhook_does_not_hold_up_another(house: House) -> None:
    keys, hook = house.store.connection.keys, await house.hook()
    broken = '{"events":["job.canceled"]}'
    await house.store.connection.execute("HSET", keys.hooks("default"), "wh_0", broken)
    async with house.notifying():
        await house.cancel("job")
        await states(house, hook, "delivered")


@pytest.mark.req("EVT-4", "MET-1")
async def test_tries_are_counted_by_what_became_of_them(house: House) -> None:
    house.receiver.answers = [(410, {}, b"")]
    hook = await house.hook()
    async with house.notifying():
        await house.cancel("job")
        await states(house, hook, "dead")
    sample = house.metrics.registry.get_sample_value
    assert sample("orch_notifier_tries_total", {"result": "dead"}) == 1
    assert sample("orch_notifier_try_seconds_count") == 1
    assert cast(float, sample("orch_notifier_oldest_unsent_seconds")) >= 0


class Idle:
    """A reader that never gets anything; how it asked is kept."""

    def __init__(self) -> None:
        self.asked: list[tuple[str | int, ...]] = []

    async def read(self, *command: str | int) -> dict[str, Any]:
        self.asked.append(command)
        await anyio.sleep_forever()
        return {}


@pytest.mark.req("EVT-4")
async def test_an_idle_notifier_looks_once_and_then_waits_five_seconds_for_a_notice(
    house: House,
) -> None:
    idle, looks = Idle(), []

    class Counted(Deliveries):
        async def collect(self, **keys: int) -> Any:
            looks.append(keys)
            return await super().collect(**keys)

    counted = replace(house.store, deliveries=Counted(house.store.connection))
    async with house.notifying(counted, cast(BlockingReader, idle)):
        await until(lambda: idle.asked)
    assert len(looks) == len(idle.asked) == 1
    block = idle.asked[0].index("BLOCK")
    assert idle.asked[0][block + 1] == IDLE_MS == 5_000
