"""Admission: one answer for each request, nothing stored for a bad one, the same answer on repetition."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from contracts.errors import ErrorCode, Refused, Unavailable
from contracts.record import Submitted
from contracts.states import State
from orch.core.asks import Ask
from orch.core.bounds import Bounds
from orch.core.canonical import digest
from orch.store.admission import TOGETHER
from orch.store.library import library
from tests.store.world import HOUR_MS, World, spec


def codes(answers: list[Submitted | Refused]) -> list[str]:
    """Refusal codes, and `new` or `duplicate` for what was accepted."""
    return [
        answer.code.value
        if isinstance(answer, Refused)
        else ("duplicate" if answer.duplicate else "new")
        for answer in answers
    ]


@pytest.mark.req("ADM-1", "ADM-3")
@pytest.mark.first_answers
async def test_a_job_is_stored_and_queues_behind_those_before_it(world: World) -> None:
    await world.pool()
    await world.submit("first")
    answer = await world.submit("second", labels={"team": "a"})
    assert answer == Submitted(
        job_id="second",
        state=State.QUEUED,
        queue_position=1,
        predicted_start_ms=None,
        duplicate=False,
    )
    record = await world.store.reading.job("second")
    assert (record.state, record.name, record.labels) == (State.QUEUED, "a job", {"team": "a"})
    assert await world.story("second") == ["admit"]


@pytest.mark.req("ADM-3")
@pytest.mark.first_answers
async def test_a_start_is_predicted_only_for_a_job_that_got_a_slot(world: World) -> None:
    await world.pool()
    waits = await world.submit("waits")
    assert (waits.state, waits.queue_position, waits.predicted_start_ms) == (State.QUEUED, 0, None)
    await world.runner(slots=3)
    starts = await world.submit("starts")
    assert (starts.state, starts.queue_position, starts.predicted_start_ms) == (State.READY, 0, 0)


@pytest.mark.req("JOB-3")
async def test_an_id_is_made_for_a_job_that_brings_none(world: World) -> None:
    await world.pool()
    first, second = await world.ask(spec(), spec())
    assert isinstance(first, Submitted)
    assert isinstance(second, Submitted)
    assert len({first.job_id, second.job_id}) == 2
    assert await world.states([first.job_id, second.job_id]) == [State.QUEUED, State.QUEUED]


@pytest.mark.req("JOB-3", "ADM-6")
async def test_the_same_key_and_content_is_the_first_job_again(world: World) -> None:
    await world.pool()
    (first,) = await world.ask(spec(idempotency_key="k"))
    before = await world.contents()
    (again,) = await world.ask(spec(), idempotency_key="k")
    assert isinstance(first, Submitted)
    assert isinstance(again, Submitted)
    assert (again.job_id, again.duplicate, first.duplicate) == (first.job_id, True, False)
    assert await world.contents() == before


@pytest.mark.req("JOB-3", "ADM-6")
@pytest.mark.parametrize("by", ["key", "id"])
async def test_other_content_under_the_same_key_or_id_is_a_conflict_with_both_digests(
    world: World, by: str
) -> None:
    await world.pool()
    named: dict[str, Any] = {"idempotency_key": "k"} if by == "key" else {"id": "job"}
    (first,) = await world.ask(spec(**named))
    before = await world.contents()
    (refused,) = await world.ask(spec(**named, objective="another"))
    assert isinstance(first, Submitted)
    assert isinstance(refused, Refused)
    assert refused.code is ErrorCode.IDEMPOTENCY_CONFLICT
    content = spec()
    assert refused.details == {
        "job_id": first.job_id,
        "digest": digest({**content, "objective": "another"}),
        "other_digest": digest(content),
    }
    assert await world.contents() == before


@pytest.mark.req("JOB-3")
async def test_the_same_id_and_content_is_a_duplicate(world: World) -> None:
    await world.pool()
    await world.submit("job")
    before = await world.contents()
    assert codes(await world.ask(spec(id="job"))) == ["duplicate"]
    assert await world.contents() == before


@pytest.mark.req("JOB-3")
async def test_a_key_belongs_to_its_tenant(world: World) -> None:
    await world.pool()
    answers = await world.ask(
        spec(tenant="a", idempotency_key="k"), spec(tenant="b", idempotency_key="k")
    )
    assert codes(answers) == ["new", "new"]


@pytest.mark.req("JOB-3")
@pytest.mark.parametrize("named", [{"id": "job"}, {"idempotency_key": "k"}, {}])
async def test_the_same_call_again_after_a_lost_reply_is_answered_as_at_first(
    world: World, named: dict[str, Any]
) -> None:
    await world.pool()
    item = world.store.admission._judge(Ask(spec(**named)), {})
    assert not isinstance(item, Refused)
    call = ("gateway", world.policy.text(), "queue_jobs_max=10", "y", 1, *item.args)
    first = await world.connection.call("admit", *call)
    before = await world.contents()
    again = await world.connection.call("admit", *call)
    assert (
        [answer[:3] for answer in again[1]]
        == [answer[:3] for answer in first[1]]
        == [["new", item.job_id, "q"]]
    )
    assert await world.contents() == before


@pytest.mark.req("JOB-3")
async def test_items_of_one_batch_are_judged_in_their_order(world: World) -> None:
    await world.pool()
    answers = await world.ask(
        spec(id="a"),
        spec(id="a"),
        spec(id="a", objective="another"),
        spec(idempotency_key="k"),
        spec(idempotency_key="k"),
        spec(idempotency_key="k", objective="another"),
    )
    conflict = ErrorCode.IDEMPOTENCY_CONFLICT.value
    assert codes(answers) == ["new", "duplicate", conflict, "new", "duplicate", conflict]
    assert await world.redis("ZCARD", world.connection.keys.jobs("default")) == 2


@pytest.mark.req("ADM-3")
async def test_a_duplicate_within_a_batch_says_where_the_first_stands(world: World) -> None:
    await world.runner(slots=1)
    later = await world.now_ms() + HOUR_MS
    answers = await world.ask(
        spec(id="now"), spec(id="now"), spec(id="later", not_before_ms=later),
        spec(id="later", not_before_ms=later), spec(id="waits"), spec(id="waits"),
    )  # fmt: skip
    found = [(one.state, one.duplicate) for one in answers if isinstance(one, Submitted)]
    assert found == [
        (State.READY, False), (State.READY, True), (State.SCHEDULED, False),
        (State.SCHEDULED, True), (State.QUEUED, False), (State.QUEUED, True),
    ]  # fmt: skip


@pytest.mark.req("ADM-6")
async def test_refusals_cost_nothing_and_leave_the_others_of_the_batch_alone(world: World) -> None:
    await world.pool()
    now = await world.now_ms()
    bad: list[Any] = [
        spec(pool="nowhere"),
        spec(deadline_ms=now - 1),
        spec(colour="red"),
        spec(priority="urgent"),
        spec(adapter={"name": "command", "config": {}}),
        spec(inputs={"n": 2**60}),
        "no object",
    ]
    before = await world.contents()
    assert codes(await world.ask(*bad)) == [
        "INVALID_SPEC", "DEADLINE_UNMET", *["INVALID_SPEC"] * 5
    ]  # fmt: skip
    assert await world.contents() == before
    answers = await world.ask(*bad[:3], spec(id="good"), *bad[3:])
    assert [one.job_id for one in answers if isinstance(one, Submitted)] == ["good"]


@pytest.mark.req("ADM-6")
@pytest.mark.parametrize("pools", [(), ("b", "a")])
async def test_an_unknown_pool_is_refused_with_the_pools_that_exist(
    world: World, pools: tuple[str, ...]
) -> None:
    if pools:
        await world.pool(*pools)
    (refused,) = await world.ask(spec(pool="nowhere"))
    assert isinstance(refused, Refused)
    assert refused.details == {"path": "pool", "pools": sorted(pools)}


@pytest.mark.req("ADM-2", "ADM-3")
async def test_a_full_queue_refuses_and_one_class_does_not_fill_another(world: World) -> None:
    await world.pool()
    world.bounds = Bounds(2)
    answers = await world.ask(
        spec(id="a"), spec(id="b"), spec(id="c"), spec(id="d", priority="interactive")
    )
    assert codes(answers) == ["new", "new", "QUEUE_FULL", "new"]
    before = await world.contents()
    (refused,) = await world.ask(spec(id="e"))
    assert isinstance(refused, Refused)
    assert (refused.entry.retriable, refused.policy_label, refused.retry_after_ms) == (
        True,
        "reject",
        1_000,
    )
    assert refused.details == {"queue_depth": 2, "queue_jobs_max": 2}
    assert await world.contents() == before


@pytest.mark.req("ADM-2")
async def test_capacity_zero_admits_nothing(world: World) -> None:
    await world.runner(slots=4)
    world.bounds = Bounds(0)
    before = await world.contents()
    assert codes(await world.ask(spec(id="a"), spec(id="b"))) == ["QUEUE_FULL", "QUEUE_FULL"]
    assert await world.contents() == before


@pytest.mark.req("ADM-2")
@pytest.mark.first_answers
async def test_a_delayed_job_takes_no_place_in_the_queue_of_its_batch(world: World) -> None:
    await world.pool()
    world.bounds = Bounds(1)
    later = await world.now_ms() + HOUR_MS
    answers = await world.ask(spec(id="later", not_before_ms=later), spec(id="now"))
    assert codes(answers) == ["new", "new"]
    assert [one.queue_position for one in answers if isinstance(one, Submitted)] == [None, 0]


@pytest.mark.req("ADM-5")
async def test_a_deadline_before_the_earliest_start_cannot_be_met(world: World) -> None:
    await world.pool()
    now = await world.now_ms()
    before = await world.contents()
    answers = await world.ask(spec(not_before_ms=now + 2 * HOUR_MS, deadline_ms=now + HOUR_MS))
    assert codes(answers) == ["DEADLINE_UNMET"]
    assert await world.contents() == before


@pytest.mark.req("SCH-3")
async def test_not_before_parks_the_job_as_data(world: World) -> None:
    await world.runner(slots=1)
    later = await world.now_ms() + HOUR_MS
    answer = await world.submit("job", not_before_ms=later)
    assert (answer.state, answer.queue_position) == (State.SCHEDULED, None)
    assert (await world.store.reading.job("job")).due_at_ms == later
    assert await world.redis("XLEN", world.connection.keys.ready("default")) == 0
    assert await world.redis("XLEN", world.connection.keys.alarm) == 1


@pytest.mark.req("SCH-3")
async def test_a_not_before_that_has_passed_delays_nothing(world: World) -> None:
    await world.pool()
    answer = await world.submit("job", not_before_ms=1)
    assert answer.state is State.QUEUED


@pytest.mark.req("ADM-1")
@pytest.mark.first_answers
async def test_many_jobs_go_in_a_few_calls_and_arrive_in_the_order_of_asking(world: World) -> None:
    await world.pool()
    await world.submit("first")
    calls = int((await world.redis("HGET", world.connection.keys.meta, "seq")) or 0)
    ids = await world.submit_many("b", 4 * TOGETHER + 1)
    assert int(await world.redis("HGET", world.connection.keys.meta, "seq")) - calls == 5
    listed = await world.redis("ZRANGE", world.connection.keys.jobs("default"), 0, -1)
    assert listed == ["first", *ids]


@pytest.mark.req("ADM-1")
async def test_a_refusal_among_many_is_answered_in_its_place(world: World) -> None:
    await world.pool()
    documents = [spec(id=f"job{n:04}") for n in range(2 * TOGETHER)]
    documents[TOGETHER + 1] = {"nonsense": 1}
    answers = await world.ask(*documents)
    refused = [n for n, answer in enumerate(answers) if isinstance(answer, Refused)]
    assert refused == [TOGETHER + 1]
    told = [answer.job_id for answer in answers if isinstance(answer, Submitted)]
    assert told == [f"job{n:04}" for n in range(2 * TOGETHER) if n != TOGETHER + 1]


@pytest.mark.req("ADM-1", "ADM-2")
@pytest.mark.parametrize("engine", ["valkey"], indirect=True)
async def test_a_server_that_refuses_many_is_told_of_as_one_that_refuses_one(world: World) -> None:
    await world.pool()
    world.connection.deadline_ms = 0
    await world.redis("CONFIG", "SET", "maxmemory", 1)
    try:
        with pytest.raises(Unavailable):
            await world.submit_many("b", 2 * TOGETHER)
    finally:
        await world.redis("CONFIG", "SET", "maxmemory", 0)


@pytest.mark.req("ADM-1", "ADM-3")
async def test_a_raw_request_is_answered_and_settled_in_the_same_function(world: World) -> None:
    await world.runner(slots=1)
    keys = world.connection.keys
    bodies = []
    for n, document in enumerate((spec(id="good"), spec(id="good"), spec(pool="nowhere"))):
        entry = await world.redis("XADD", keys.requests, "*", "request_id", f"r{n}", "spec", "-")
        await world.ask(document, entry_id=entry, request_id=f"r{n}")
        bodies.append(orjson.loads(await world.redis("GET", keys.answer(f"r{n}"))))
        assert 0 < await world.redis("PTTL", keys.answer(f"r{n}")) <= 600_000
    assert await world.redis("XLEN", keys.requests) == 0
    assert bodies[0] == {
        "job_id": "good", "state": "ready", "queue_position": 0, "predicted_start_ms": 0, "duplicate": False,
    }  # fmt: skip
    assert (bodies[1]["job_id"], bodies[1]["duplicate"]) == ("good", True)
    assert (bodies[2]["code"], bodies[2]["request_id"]) == ("INVALID_SPEC", "r2")


@pytest.mark.req("ADM-1")
async def test_a_raw_request_that_is_no_spec_is_refused_and_settled(world: World) -> None:
    keys = world.connection.keys
    entry = await world.redis("XADD", keys.requests, "*", "request_id", "r1", "spec", "{")
    refused = Refused(ErrorCode.INVALID_SPEC, "no JSON")
    await world.store.admission.refuse(entry, "r1", refused)
    assert orjson.loads(await world.redis("GET", keys.answer("r1"))) == refused.body("r1")
    assert await world.redis("XLEN", keys.requests) == 0


@pytest.mark.req("ADM-1")
async def test_who_read_a_request_before_its_entry_id_was_given_again_leaves_the_new_one_alone(
    world: World,
) -> None:
    await world.pool()
    keys, entry = world.connection.keys, "5-1"
    # Data went back, and the server's clock with them: what was read as r1 is now r2.
    await world.redis("XADD", keys.requests, entry, "request_id", "r2", "spec", "-")
    assert codes(await world.ask(spec(id="first"), entry_id=entry, request_id="r1")) == [
        "INVALID_REQUEST"
    ]
    await world.store.admission.refuse(entry, "r1", Refused(ErrorCode.INVALID_SPEC, "no JSON"))
    assert await world.redis("GET", keys.answer("r1")) is None
    assert await world.redis("XLEN", keys.requests) == 1
    await world.ask(spec(id="second"), entry_id=entry, request_id="r2")
    assert orjson.loads(await world.redis("GET", keys.answer("r2")))["job_id"] == "second"
    assert await world.redis("XLEN", keys.requests) == 0


@pytest.mark.req("ADM-1")
async def test_a_request_whose_id_is_given_twice_or_is_none_is_settled_all_the_same(
    world: World,
) -> None:
    await world.pool()
    keys = world.connection.keys
    for names, known_as in ((("r1", "r2"), "r2"), (("no id!",), ""), ((), "")):
        words = [word for name in names for word in ("request_id", name)]
        entry = await world.redis("XADD", keys.requests, "*", *words, "spec", "-")
        await world.ask(spec(), entry_id=entry, request_id=known_as)
        assert await world.redis("XLEN", keys.requests) == 0


@pytest.mark.req("SEC-3", "JOB-3")
async def test_an_idempotency_key_of_any_door_obeys_the_specs_bounds(world: World) -> None:
    await world.pool()
    before = await world.contents()
    for key in ("k" * 201, "two words", "\n", "ü"):
        assert codes(await world.ask(spec(), idempotency_key=key)) == ["INVALID_SPEC"]
    assert await world.contents() == before


@pytest.mark.req("ADM-6")
async def test_text_that_is_no_unicode_is_refused_and_harms_nobody(world: World) -> None:
    await world.pool()
    answers = await world.ask(spec(name="\ud800"), spec(inputs={"a": "\ud800"}), spec(id="good"))
    assert codes(answers) == ["INVALID_SPEC", "INVALID_SPEC", "new"]


@pytest.mark.req("JOB-3")
def test_every_verb_of_the_library_is_named_by_the_hash_of_its_text() -> None:
    made = library()
    assert made.name.removeprefix("orch_") == made.digest
    assert all(made.function(verb) == f"{verb}_{made.digest}" for verb in made.verbs)
