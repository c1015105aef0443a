"""Bounds of pools and tenants, policies at a bound, rates, and intake that an operator paused."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from contracts.errors import ErrorCode, Refused
from contracts.record import Submitted
from contracts.states import State
from orch.core.asks import Ask
from orch.core.bounds import Bounds
from tests.store.world import HOUR_MS, World, ending, spec

PLENTY = 1_000


async def steer(world: World, **fields: Any) -> None:
    """What an operator's command writes; `__` stands for `:`."""
    for name, value in fields.items():
        await world.redis("HSET", world.connection.keys.desired, name.replace("__", ":"), value)


async def refusal(world: World, **keys: Any) -> Refused:
    """The refusal of one submission, which has changed nothing at all."""
    before = await world.contents()
    (refused,) = await world.ask(spec(**keys))
    assert isinstance(refused, Refused), refused
    assert await world.contents() == before
    return refused


def labels(answers: list[Submitted | Refused]) -> list[str | None]:
    """`new`, or the label of a refusal for load."""
    return [one.policy_label if isinstance(one, Refused) else "new" for one in answers]


@pytest.mark.req("ADM-2", "ADM-3")
async def test_a_pool_has_a_bound_over_all_its_classes(world: World) -> None:
    await world.pool()
    world.bounds = Bounds(PLENTY, pool_jobs_max=2)
    await world.submit("a", priority="interactive")
    await world.submit("b")
    refused = await refusal(world, id="c", priority="interactive")
    assert (refused.code, refused.policy_label) == (ErrorCode.QUEUE_FULL, "reject")
    assert refused.details == {"queue_depth": 2, "pool_jobs_max": 2}


@pytest.mark.req("ADM-2", "ADM-4")
async def test_a_tenant_has_a_bound_over_all_its_pools_and_scheduled_jobs_count(
    world: World,
) -> None:
    await world.pool("default", "other")
    world.bounds = Bounds(PLENTY, tenant_jobs_max=2, full_policy="reject")
    await world.submit("a", tenant="t", pool="other")
    await world.submit("b", tenant="t", not_before_ms=await world.now_ms() + HOUR_MS)
    refused = await refusal(world, id="c", tenant="t")
    assert refused.policy_label == "tenant-quota"
    assert refused.details == {"queue_depth": 2, "tenant_jobs_max": 2}
    await world.submit("d", tenant="u")
    await world.store.steering.cancel("b", by="me")
    await world.submit("c", tenant="t")


@pytest.mark.req("ADM-4")
@pytest.mark.parametrize("policy", ["reject", "drop-lru", "shed-low-priority"])
async def test_a_key_has_a_bound_on_its_jobs_that_have_not_ended(world: World, policy: str) -> None:
    world.bounds = Bounds(PLENTY, key_jobs_max=2, full_policy=policy)
    runner = await world.runner(slots=1)
    first, second, third, other = await world.ask(
        *(spec(id=f"j{n}", concurrency_key="repo") for n in range(3)), spec(id="o")
    )
    assert [type(one) for one in (first, second, other)] == [Submitted] * 3
    assert isinstance(third, Refused)
    assert (third.code, third.policy_label) == (ErrorCode.QUEUE_FULL, "key-quota")
    assert third.details == {"queue_depth": 2, "key_jobs_max": 2}
    await world.submit("theirs", tenant="u", concurrency_key="repo")
    (offer,) = (await runner.cycle()).offers
    assert isinstance((await world.ask(spec(id="j2", concurrency_key="repo")))[0], Refused)
    await runner.cycle(ending("settle", offer), free=0)
    await world.submit("j2", concurrency_key="repo")


@pytest.mark.req("ADM-4", "CTL-1")
async def test_an_operator_gives_a_key_a_bound_of_its_own(world: World) -> None:
    await world.pool()
    await world.wish(key__default__repo__key_jobs_max="1")
    await world.submit("j0", concurrency_key="repo")
    refused = await refusal(world, id="j1", concurrency_key="repo")
    assert refused.details == {"queue_depth": 1, "key_jobs_max": 1}
    await world.submit("j1", concurrency_key="docs")


@pytest.mark.req("ADM-2")
@pytest.mark.first_answers
async def test_who_gave_way_ends_canceled_and_its_watchers_hear_of_it(world: World) -> None:
    await world.pool()
    world.bounds = Bounds(1, full_policy="drop-lru")
    await world.submit("old", deadline_ms=await world.now_ms() + HOUR_MS)
    position = await world.store.feed.tail()
    await world.submit("new")
    record = await world.store.reading.job("old")
    assert (record.state, record.outcome) == (State.CANCELED, "canceled")
    last = (await world.ledger("old"))[-1]
    assert last.payload == {
        "from": "queued",
        "to": "canceled",
        "cause": "evict",
        "reason": "evicted",
        "newcomer": "new",
        "policy": "drop-lru",
    }
    _, touched, _ = await world.store.feed.read(position, block_ms=1)
    assert touched["old"] == last.seq
    assert await world.state("new") is State.QUEUED


@pytest.mark.req("ADM-2", "MET-1")
@pytest.mark.first_answers
async def test_evictions_and_refusals_are_counted_by_rule(world: World) -> None:
    await world.pool()
    world.bounds = Bounds(PLENTY, pool_jobs_max=1, full_policy="shed-low-priority")
    admission = world.store.admission
    asks = [Ask(spec(id="a")), Ask(spec(id="b", priority="interactive")), Ask(spec(id="c"))]
    await admission.admit(asks)
    assert admission.submissions.evicted == {"shed-low-priority": 1}
    assert admission.submissions.refused_for_load == {"shed-low-priority": 1}


@pytest.mark.req("ADM-2")
async def test_the_oldest_of_the_lowest_class_gives_way_and_never_one_of_a_higher(
    world: World,
) -> None:
    await world.pool()
    world.bounds = Bounds(PLENTY, pool_jobs_max=3, full_policy="drop-lru")
    for name, priority in (("hi", "interactive"), ("lo1", "batch"), ("lo2", "batch")):
        await world.submit(name, priority=priority, tenant=name)
    await world.submit("hi2", priority="interactive")
    await world.submit("lo3")
    assert await world.states(["lo1", "lo2"]) == [State.CANCELED, State.CANCELED]
    await world.submit("hi3", priority="interactive")
    assert await world.state("lo3") is State.CANCELED
    assert (await refusal(world, id="lo4")).policy_label == "drop-lru"
    await world.submit("hi4", priority="interactive")
    assert await world.state("hi") is State.CANCELED


@pytest.mark.req("ADM-2")
async def test_the_youngest_of_a_strictly_lower_class_is_shed(world: World) -> None:
    await world.pool()
    world.bounds = Bounds(PLENTY, pool_jobs_max=3, full_policy="shed-low-priority")
    for n in range(3):
        await world.submit(f"lo{n}", tenant=f"t{n}")
        await world.wait_a_ms()
    assert (await refusal(world, id="lo4")).policy_label == "shed-low-priority"
    await world.submit("hi1", priority="interactive")
    await world.submit("hi2", priority="interactive")
    assert await world.states(["lo0", "lo1", "lo2"]) == [
        State.QUEUED,
        State.CANCELED,
        State.CANCELED,
    ]


@pytest.mark.req("ADM-2")
@pytest.mark.parametrize("policy", ["reject", "drop-lru", "shed-low-priority"])
async def test_capacity_zero_admits_nothing_under_any_policy(world: World, policy: str) -> None:
    await world.runner(slots=4)
    world.bounds = Bounds(0, full_policy=policy)
    refused = await refusal(world, id="a")
    assert (refused.code, refused.policy_label) == (ErrorCode.QUEUE_FULL, policy)


@pytest.mark.req("ADM-2")
async def test_nobody_gives_way_while_a_slot_is_free(world: World) -> None:
    await world.runner(slots=2)
    world.bounds = Bounds(1, full_policy="drop-lru")
    answers = await world.ask(*(spec(id=name) for name in "abcd"))
    assert labels(answers) == ["new"] * 4
    assert [one.state for one in answers if isinstance(one, Submitted)] == [
        State.READY,
        State.READY,
        State.CANCELED,
        State.QUEUED,
    ]


@pytest.mark.req("ADM-2")
async def test_a_bound_that_was_lowered_cancels_nobody_and_lets_nothing_grow(world: World) -> None:
    await world.pool()
    await world.submit_many("job", 5)
    await steer(
        world, queue__default__batch__queue_jobs_max=2, pool__default__full_policy="drop-lru"
    )
    await world.submit("new")
    assert await world.redis("HGET", world.connection.keys.counters, "depth:default:batch") == "5"
    assert await world.state("job0000") is State.CANCELED


@pytest.mark.req("ADM-2")
async def test_the_index_of_victims_goes_when_the_policy_says_reject(world: World) -> None:
    await world.pool()
    world.bounds = Bounds(1, full_policy="drop-lru")
    await world.submit("a")
    await world.submit("b")
    prefix = world.connection.keys.prefix
    assert await world.redis("EXISTS", f"{prefix}oldest:default:batch") == 1
    world.bounds = Bounds(5)
    await world.submit("c")
    assert await world.redis("EXISTS", f"{prefix}oldest:default:batch") == 0
    assert await world.redis("HGET", f"{prefix}fair:default", "evicts") is None


@pytest.mark.req("ADM-2", "REA-3")
async def test_a_lost_index_of_victims_is_made_anew_when_it_is_needed(world: World) -> None:
    await world.pool()
    world.bounds = Bounds(3, full_policy="drop-lru")
    for n in range(4):
        await world.submit(f"job{n}", tenant=f"t{n}")
    await world.redis("DEL", f"{world.connection.keys.prefix}oldest:default:batch")
    await world.submit("job4", tenant="t4")
    assert await world.states(["job1", "job2"]) == [State.CANCELED, State.QUEUED]


@pytest.mark.req("ADM-4", "ADM-3")
async def test_a_tenant_that_submits_too_fast_is_told_when_the_next_token_comes(
    world: World,
) -> None:
    await world.pool()
    await steer(world, tenant__t__rate="0.5", tenant__t__burst=2)
    answers = await world.ask(*(spec(id=f"job{n}", tenant="t") for n in range(3)))
    assert labels(answers) == ["new", "new", "rate-limit"]
    refused = await refusal(world, id="job3", tenant="t")
    assert refused.code is ErrorCode.RATE_LIMITED
    assert refused.retry_after_ms is not None
    assert 0 < refused.retry_after_ms <= 2_000
    assert refused.details == {"tenant": "t", "rate": 0.5, "burst": 2}
    assert labels(await world.ask(spec(id="free", tenant="u"), spec(id="job0", tenant="t"))) == [
        "new",
        "new",
    ], "others, and what was there before, need no token"
    ttl = await world.redis("PTTL", world.connection.keys.rate("t"))
    assert 0 < ttl <= 4_000


@pytest.mark.req("ADM-4", "ADM-6")
async def test_a_submission_that_is_refused_for_room_takes_no_token(world: World) -> None:
    await world.pool()
    world.bounds = Bounds(1, tenant_rate=1, tenant_burst=5)
    await world.submit("a")
    tokens = await world.redis("GET", world.connection.keys.rate("default"))
    assert (await refusal(world, id="b")).code is ErrorCode.QUEUE_FULL
    assert await world.redis("GET", world.connection.keys.rate("default")) == tokens


@pytest.mark.req("ADM-4")
async def test_without_a_rate_nothing_is_kept_of_a_tenant_that_submits(world: World) -> None:
    await world.pool()
    await world.submit("a")
    assert await world.redis("GET", world.connection.keys.rate("default")) is None


@pytest.mark.req("ADM-3", "CTL-2")
@pytest.mark.parametrize("scope", ["*", "pool:default", "queue:default:batch", "tenant:default"])
async def test_paused_intake_refuses_until_it_is_resumed(world: World, scope: str) -> None:
    await world.pool()
    await steer(world, **{f"{scope}:intake": "paused"})
    refused = await refusal(world, id="a")
    assert (refused.code, refused.policy_label) == (ErrorCode.INTAKE_PAUSED, "intake-paused")
    assert (refused.entry.retriable, refused.details) == (True, {"scope": scope})
    if scope != "*":
        (other,) = await world.ask(spec(id="b", pool="default", tenant="t", priority="interactive"))
        assert isinstance(other, Refused) == (scope == "pool:default")
    await world.redis("HDEL", world.connection.keys.desired, f"{scope}:intake")
    await world.submit("a")


@pytest.mark.req("ADM-1", "ADM-3")
@pytest.mark.first_answers  # asked again, the request is settled
async def test_a_raw_producer_reads_the_same_refusal(world: World) -> None:
    await world.pool()
    world.bounds = Bounds(0)
    keys = world.connection.keys
    entry = await world.redis("XADD", keys.requests, "*", "request_id", "r", "spec", "-")
    (refused,) = await world.ask(spec(id="a"), entry_id=entry, request_id="r")
    assert isinstance(refused, Refused)
    assert orjson.loads(await world.redis("GET", keys.answer("r"))) == refused.body("r")


@pytest.mark.req("ADM-6", "JOB-3")
async def test_duplicates_refusals_and_evictions_of_one_batch_come_in_order(world: World) -> None:
    await world.pool()
    world.bounds = Bounds(2, full_policy="drop-lru")
    answers = await world.ask(
        spec(id="a"), spec(id="a"), spec(id="b"), spec(pool="nowhere"), spec(id="c"), spec(id="a"),
        spec(id="a", objective="another"),
    )  # fmt: skip
    told = [
        one.code.value if isinstance(one, Refused) else (one.job_id, one.state, one.duplicate)
        for one in answers
    ]
    assert told == [
        ("a", State.CANCELED, False), ("a", State.CANCELED, True), ("b", State.QUEUED, False),
        "INVALID_SPEC", ("c", State.QUEUED, False), ("a", State.CANCELED, True),
        "IDEMPOTENCY_CONFLICT",
    ]  # fmt: skip
