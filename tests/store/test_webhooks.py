"""Webhooks in the store: one delivery for each hook and event, written with the transition itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from contracts import limits
from contracts.errors import ErrorCode, Refused
from contracts.states import State
from contracts.webhooks import WebhookEvent
from orch.core.bounds import Bounds
from orch.store.repairs import START
from tests.store.notifying import collect, fill_line, hook, told, tried
from tests.store.world import HOUR_MS, World, ending


@pytest.mark.req("EVT-4")
async def test_each_end_of_a_job_becomes_one_delivery_for_each_webhook_that_wants_it(
    world: World,
) -> None:
    await world.pool()
    await hook(world, name="all")
    await hook(world, name="ends", events=[WebhookEvent.COMPLETED, WebhookEvent.FAILED])
    await hook(world, tenant="other")
    runner = await world.runner(slots=4)
    for name in ("done", "dead", "asks"):
        await world.submit(name)
    offers = {offer.job_id: offer for offer in (await runner.cycle()).offers}
    verbs: dict[str, Any] = {"done": "settle", "dead": "release", "asks": "ask"}
    await runner.end(*(ending(verbs[name], offer) for name, offer in offers.items()))
    await world.decide("dead", "fail")
    await world.submit("gone")
    await world.store.steering.cancel("gone", by="me")
    assert await told(world) == [
        ("job.blocked", "asks"),
        ("job.canceled", "gone"),
        ("job.completed", "done"),
        ("job.completed", "done"),
        ("job.failed", "dead"),
        ("job.failed", "dead"),
    ]


@pytest.mark.req("EVT-4")
async def test_a_lapsed_question_tells_that_it_blocked_and_then_that_it_expired(
    world: World,
) -> None:
    await world.pool()
    await hook(world)
    runner, offer = await world.running("job")
    await runner.end(ending("ask", offer, expires_in_ms=-1))
    await world.store.timers.due(most=9)
    assert await told(world) == [("job.blocked", "job"), ("job.expired", "job")]


@pytest.mark.req("EVT-4")
async def test_a_repeated_ending_is_told_once(world: World) -> None:
    await world.pool()
    await hook(world)
    runner, offer = await world.running("job")
    await runner.end(ending("settle", offer))
    await runner.end(ending("settle", offer))
    assert await told(world) == [("job.completed", "job")]


@pytest.mark.req("EVT-4")
async def test_a_job_of_a_tenant_without_webhooks_bears_no_mark_and_is_told_to_nobody(
    world: World,
) -> None:
    await world.pool()
    await hook(world, tenant="other")
    await world.submit("job")
    await world.submit("theirs", tenant="other")
    assert "ties" not in await world.fields("job")
    assert (await world.fields("theirs"))["ties"] == "w"
    await world.store.steering.cancel("job", by="me")
    assert await told(world) == []
    assert await world.redis("EXISTS", world.connection.keys.notices) == 0


@pytest.mark.req("EVT-4")
async def test_a_delivery_knows_its_job_and_its_ledger_entry(world: World) -> None:
    await world.pool()
    made = await hook(world)
    runner, offer = await world.running("job", name="count sheep")
    await runner.end(ending("settle", offer))
    (taken,) = await collect(world)
    (post,) = taken.posts
    assert taken.hook.secret == made.secret
    assert (post.name, post.pool, post.result, post.tries) == (
        "count sheep",
        "default",
        '{"answer":42}',
        0,
    )
    fields = await world.fields("job")
    assert post.entry == fields[fields["seq"]]


@pytest.mark.req("EVT-4")
@pytest.mark.first_answers
async def test_what_a_notifier_has_in_hand_no_other_gets_until_its_time_is_over(
    world: World,
) -> None:
    await world.pool()
    await hook(world)
    await world.submit_many("job", 3)
    for n in range(2):
        await world.store.steering.cancel(f"job{n:04}", by="me")
    (first,) = await collect(world, busy_ms=HOUR_MS, most=1)
    await world.store.steering.cancel("job0002", by="me")
    assert await collect(world) == [], "a new one waits too: one hook, one notifier"
    await world.store.deliveries.deliver(first, tried(first, "delivered"))
    (rest,) = await collect(world, busy_ms=0)
    assert len(rest.posts) == 2
    await world.wait_a_ms()
    (again,) = await collect(world)
    assert [post.event for post in again.posts] == [post.event for post in rest.posts]


@pytest.mark.req("EVT-4")
@pytest.mark.first_answers
async def test_of_two_notifiers_that_sent_the_same_delivery_one_is_counted(world: World) -> None:
    await world.pool()
    made = await hook(world)
    await world.submit("job")
    await world.store.steering.cancel("job", by="me")
    (slow,) = await collect(world, busy_ms=0)
    await world.wait_a_ms()
    (quick,) = await collect(world, busy_ms=HOUR_MS)
    assert await world.store.deliveries.deliver(quick, tried(quick, "again", delay_ms=HOUR_MS)) == [
        True
    ]
    before = await world.contents()
    assert await world.store.deliveries.deliver(slow, tried(slow, "delivered")) == [False]
    assert await world.contents() == before
    (shown,) = (await world.store.webhooks.deliveries(made.webhook_id)).deliveries
    assert (shown.state, shown.tries) == ("pending", 1)


@pytest.mark.req("EVT-4")
@pytest.mark.first_answers
async def test_a_failed_try_comes_again_when_its_time_has_come_with_the_body_it_had(
    world: World,
) -> None:
    await world.pool()
    await hook(world)
    await world.submit("job")
    await world.store.steering.cancel("job", by="me")
    (first,) = await collect(world, busy_ms=HOUR_MS)
    await world.store.deliveries.deliver(first, tried(first, "again", delay_ms=HOUR_MS))
    _, next_in_ms, _ = await world.store.deliveries.collect(hooks=9, most=9, busy_ms=1)
    assert HOUR_MS - 60_000 < next_in_ms <= HOUR_MS
    await world.store.deliveries.deliver(first, [])
    (place,) = await world.redis("ZRANGE", world.connection.keys.unsent, 0, -1)
    posts = world.connection.keys.posts(place)
    await world.redis("ZADD", posts, 1, first.posts[0].event.member)
    await world.redis("ZADD", world.connection.keys.unsent, 1, place)
    (second,) = await collect(world)
    assert (second.posts[0].tries, second.posts[0].about["body"]) == (1, "{}")
    assert second.posts[0].event == first.posts[0].event


@pytest.mark.req("EVT-4")
async def test_a_dead_delivery_is_listed_and_sent_once_more_with_its_id(world: World) -> None:
    await world.pool()
    made = await hook(world)
    await world.submit("job")
    await world.store.steering.cancel("job", by="me")
    (taken,) = await collect(world)
    await world.store.deliveries.deliver(taken, tried(taken, "dead"))
    assert await collect(world) == []
    (dead,) = (await world.store.webhooks.deliveries(made.webhook_id)).deliveries
    assert (dead.state, dead.type, dead.job_id) == ("dead", "job.canceled", "job")
    assert (await world.store.webhooks.resend(made.webhook_id, ["another"])).delivery_ids == []
    await world.store.webhooks.resend(made.webhook_id, [dead.delivery_id])
    (again,) = await collect(world)
    assert again.posts[0].event == taken.posts[0].event
    assert again.posts[0].tries == 0
    assert again.posts[0].about["body"] == "{}"
    await world.store.deliveries.deliver(again, tried(again, "delivered"))
    (shown,) = (await world.store.webhooks.deliveries(made.webhook_id)).deliveries
    assert shown.state == "delivered"


@pytest.mark.req("EVT-4")
async def test_a_webhook_that_is_gone_gets_nothing_more_and_keeps_what_waits_until_it_is_on_again(
    world: World,
) -> None:
    await world.pool()
    made = await hook(world)
    await world.submit_many("job", 3)
    await world.store.steering.cancel("job0000", by="me")
    (taken,) = await collect(world)
    await world.store.steering.cancel("job0001", by="me")
    await world.store.deliveries.deliver(taken, tried(taken, "dead", off="410"))
    await world.store.steering.cancel("job0002", by="me")
    assert await collect(world) == []
    shown = await world.store.webhooks.one(made.webhook_id)
    assert (shown.off, shown.pending) == ("410", 1)
    assert (await world.store.webhooks.switch_on(made.webhook_id)).off is None
    assert await told(world) == [("job.canceled", "job0001")]


@pytest.mark.req("EVT-4")
async def test_a_removed_webhook_leaves_nothing_behind(world: World) -> None:
    await world.pool()
    made = await hook(world)
    await world.submit_many("job", 4)
    for n, verdict in enumerate(("delivered", "dead", "again")):
        await world.store.steering.cancel(f"job{n:04}", by="me")
        (taken,) = await collect(world)
        await world.store.deliveries.deliver(taken, tried(taken, verdict, delay_ms=HOUR_MS))  # type: ignore[arg-type]  # one of them
        await world.store.deliveries.deliver(taken, [])
    await world.store.webhooks.test(made.webhook_id)
    (late,) = await collect(world)
    await world.store.webhooks.remove(made.webhook_id)
    assert await world.store.deliveries.deliver(late, tried(late, "again")) == [False]
    await world.store.steering.cancel("job0003", by="me")
    contents = await world.contents()
    assert not [
        name
        for name, value in contents.items()
        if made.webhook_id
        in f"{name} {value}".replace(str(contents.get(world.connection.keys.notices)), "")
    ]
    with pytest.raises(Refused) as caught:
        await world.store.webhooks.one(made.webhook_id)
    assert caught.value.code is ErrorCode.NOT_FOUND


@pytest.mark.req("EVT-4")
async def test_a_tenant_may_have_so_many_webhooks_and_no_more(world: World) -> None:
    for _ in range(limits.WEBHOOKS_PER_TENANT_MAX):
        await hook(world)
    before = await world.contents()
    with pytest.raises(Refused) as caught:
        await hook(world)
    assert caught.value.code is ErrorCode.LIMIT_REACHED
    assert caught.value.details == {"limit": limits.WEBHOOKS_PER_TENANT_MAX}
    assert await world.contents() == before


@pytest.mark.req("EVT-4")
async def test_above_the_bound_the_newest_deliveries_are_dropped_and_counted(world: World) -> None:
    await world.pool()
    made = await hook(world)
    await fill_line(world, made.webhook_id, but=1)
    await world.submit_many("job", 2)
    await world.store.steering.cancel("job0000", by="me")
    await world.store.steering.cancel("job0001", by="me")
    shown = await world.store.webhooks.one(made.webhook_id)
    assert (shown.pending, shown.dropped) == (limits.WEBHOOK_POSTS_MAX, 1)


@pytest.mark.req("EVT-4", "SEC-1")
async def test_a_secret_is_shown_once_and_stands_nowhere_else(world: World) -> None:
    await world.pool()
    made = await hook(world)
    fresh = await world.store.webhooks.rotate(made.webhook_id, overlap_ms=HOUR_MS)
    secrets = {made.secret.partition("_")[2], fresh.secret.partition("_")[2]}
    assert len(secrets) == 2
    await world.submit("job")
    await world.store.steering.cancel("job", by="me")
    await world.store.webhooks.test(made.webhook_id)
    (taken,) = await collect(world)
    await world.store.deliveries.deliver(taken, tried(taken, "dead"))
    shown = [
        await world.store.webhooks.one(made.webhook_id),
        await world.store.webhooks.known(None),
        await world.store.webhooks.deliveries(made.webhook_id),
        await world.store.reading.job("job"),
        taken.hook,
    ]
    assert not [one for one in secrets if one in repr(shown)]
    stored = await world.contents()
    where = {name for name, value in stored.items() for one in secrets if one in str(value)}
    assert where == {world.connection.keys.hooks("default")}


@pytest.mark.req("EVT-4")
async def test_both_secrets_sign_while_one_replaces_the_other(world: World) -> None:
    made = await hook(world)
    fresh = await world.store.webhooks.rotate(made.webhook_id, overlap_ms=HOUR_MS)
    await world.store.webhooks.test(made.webhook_id)
    (taken,) = await collect(world)
    assert fresh.old_secret_until_ms is not None
    assert taken.hook.secrets_at(fresh.old_secret_until_ms - 1) == [fresh.secret, made.secret]
    assert taken.hook.secrets_at(fresh.old_secret_until_ms) == [fresh.secret]


@pytest.mark.req("EVT-4")
async def test_a_webhook_that_changed_meanwhile_is_not_overwritten(world: World) -> None:
    made = await hook(world)
    hooks = world.connection.keys.hooks("default")
    seen = await world.redis("HGET", hooks, made.webhook_id)
    await world.store.webhooks.rotate(made.webhook_id, overlap_ms=0)
    before = await world.contents()
    reply = await world.connection.call(
        "hook", "put", "default", made.webhook_id, json.dumps({"events": []}), seen, 9, 9
    )
    assert reply == ["changed"]
    assert await world.contents() == before


@pytest.mark.req("EVT-4", "REA-3")
@pytest.mark.first_answers
@pytest.mark.parametrize(("index", "name"), [("unsent", "default:{}"), ("webhooks", "{}")])
async def test_an_index_of_webhooks_that_was_lost_is_rebuilt(
    world: World, index: str, name: str
) -> None:
    await world.pool()
    made = await hook(world)
    await world.submit("job")
    await world.store.steering.cancel("job", by="me")
    before = await world.contents()
    lost = world.connection.keys.prefix + index
    assert await world.redis("DEL", lost) == 1
    page = await world.store.repairs.page(START, most=1_000)
    assert [(one.index, one.name) for one in page.repairs] == [
        (index, name.format(made.webhook_id))
    ]
    assert (await world.contents())[lost] == before[lost]
    assert await told(world) == [("job.canceled", "job")]


@pytest.mark.req("EVT-4", "REA-3")
@pytest.mark.first_answers
async def test_what_waited_for_a_webhook_whose_record_was_lost_goes(world: World) -> None:
    await world.pool()
    await hook(world)
    await world.submit("job")
    await world.store.steering.cancel("job", by="me")
    await world.redis("DEL", world.connection.keys.hooks("default"))
    await world.redis("DEL", world.connection.keys.webhooks)
    page = await world.store.repairs.page(START, most=1_000)
    assert [one.index for one in page.repairs] == ["leftover"]
    assert await told(world) == []


@pytest.mark.req("EVT-4", "ADM-2")
async def test_a_job_that_gave_way_to_a_newcomer_is_told_of_as_canceled(world: World) -> None:
    await world.pool()
    await hook(world)
    world.bounds = Bounds(1, full_policy="drop-lru")
    await world.submit("victim", session="s")
    await world.submit("newcomer")
    assert await told(world) == [("job.canceled", "victim")]
    assert (await world.store.reading.job("victim")).state is State.CANCELED
