"""What a running attempt leaves: notes in its ledger, output in order, all fenced by its claim."""

from __future__ import annotations

import orjson
import pytest

from contracts.errors import ErrorCode, Misuse, Refused
from contracts.limits import EVENTS_PER_JOB_MAX, EVENTS_RESERVED, LOG_ENTRIES_PER_JOB_MAX
from contracts.states import State
from orch.core.handover import Offer, Pieces
from tests.store.world import World, ending, started


async def note(world: World, offer: Offer, number: int, **keys: object) -> str:
    words = {"event": "step_started", "payload": started(f"s{number}"), **keys}
    return await world.store.claims.note(offer.job_id, offer.claim, number=number, **words)  # type: ignore[arg-type]  # the test's own words


@pytest.mark.req("JOB-4", "LSE-2")
async def test_a_note_is_one_entry_and_a_repeated_number_changes_nothing(world: World) -> None:
    _, offer = await world.running("job")
    assert await note(world, offer, 1, progress={"done": ["s1"]}) == ""
    last = (await world.ledger("job"))[-1]
    assert (last.type.value, last.actor, last.attempt, last.epoch, last.payload) == (
        "step_started", "runner", 1, offer.epoch, started("s1"),
    )  # fmt: skip
    before = await world.contents()
    assert await note(world, offer, 1, progress={"done": []}) == ""
    assert await world.contents() == before


@pytest.mark.req("RUN-5", "JOB-4")
async def test_progress_is_replaced_and_reaches_the_next_attempt(world: World) -> None:
    runner, offer = await world.running("job")
    await note(world, offer, 1, progress={"done": ["s1"]})
    await note(world, offer, 2)
    await note(world, offer, 3, progress={"done": ["s1", "s2"]})
    await runner.end(ending("release", offer))
    await world.decide("job", "retry")
    again = await runner.claim_one()
    assert (again.attempt, again.progress) == (2, '{"done":["s1","s2"]}')
    assert await note(world, again, 1) == ""
    assert (await world.story("job"))[-1] == "step_started"


@pytest.mark.req("RUN-4")
@pytest.mark.drives("pause_wished", "pause_withdrawn")
async def test_a_note_brings_the_operators_wish_back(world: World) -> None:
    _, offer = await world.running("job")
    assert await note(world, offer, 1) == ""
    await world.store.steering.pause("job", by="me")
    assert [await note(world, offer, 1), await note(world, offer, 2)] == ["pause", "pause"]
    await world.store.steering.resume("job", by="me")
    assert await note(world, offer, 3) == ""


@pytest.mark.req("LSE-2")
@pytest.mark.parametrize("how", ["settled", "released", "canceled", "reclaimed", "no job"])
async def test_a_note_or_output_of_an_old_claim_is_refused_and_changes_nothing(
    world: World, how: str
) -> None:
    runner, offer = await world.running("job")
    match how:
        case "settled":
            await runner.end(ending("settle", offer))
        case "released":
            await runner.end(ending("release", offer))
        case "canceled":
            await world.store.steering.cancel("job", by="me")
        case "reclaimed":
            await runner.end(ending("handback", offer))
            await runner.claim_one()
        case _:
            offer = Offer("nobody", offer.claim, 1, 1, "{}", "", "", "", 0)
    before = await world.contents()
    with pytest.raises(Refused) as refused:
        await note(world, offer, 1)
    assert refused.value.code is ErrorCode.LEASE_OVER
    assert await world.store.output.emit(
        [Pieces(offer.job_id, offer.claim, 1, [("stdout", "x")])]
    ) == [False]
    assert await world.contents() == before


@pytest.mark.req("JOB-4")
@pytest.mark.parametrize("event", ["status_changed", "nonsense", "step started", "settle:r>C"])
async def test_what_is_no_event_of_the_catalogue_cannot_be_noted(world: World, event: str) -> None:
    _, offer = await world.running("job")
    before = await world.contents()
    with pytest.raises(Misuse):
        await note(world, offer, 1, event=event)
    assert await world.contents() == before


@pytest.mark.req("EVT-1", "JOB-4")
@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        ({**started("s1"), "colour": "red"}, "step_started: no field 'colour' in the catalogue"),
        ({"step_id": "s1"}, "step_started: lacks 'executed'; step_started: lacks 'key'"),
    ],
)
async def test_fields_that_the_catalogue_does_not_have_cannot_be_noted(
    world: World, payload: dict[str, object], fault: str
) -> None:
    _, offer = await world.running("job")
    before = await world.contents()
    with pytest.raises(Misuse, match=fault):
        await note(world, offer, 1, payload=payload)
    assert await world.contents() == before


@pytest.mark.req("JOB-4")
async def test_a_full_ledger_refuses_notes_and_keeps_room_for_the_end(world: World) -> None:
    runner, offer = await world.running("job")
    room = EVENTS_PER_JOB_MAX - EVENTS_RESERVED
    at_ms, _, *more, _ = (await world.fields("job"))["3"].split()
    entry = " ".join([at_ms, "agent_suspended", *more, "{}"])
    filler = [word for n in range(4, room + 1) for word in (str(n), entry)]
    for start in range(0, len(filler), 4_000):
        await world.redis("HSET", world.connection.keys.job("job"), *filler[start : start + 4_000])
    await world.redis("HSET", world.connection.keys.job("job"), "seq", room - 1)
    await world.redis("HDEL", world.connection.keys.job("job"), room)
    await note(world, offer, 1)
    before = await world.contents()
    with pytest.raises(Refused) as refused:
        await note(world, offer, 2)
    assert refused.value.code is ErrorCode.PAYLOAD_TOO_LARGE
    assert await world.contents() == before
    await runner.end(ending("settle", offer))
    assert (await world.state("job"), (await world.fields("job"))["seq"]) == (
        State.COMPLETED,
        str(room + 1),
    )


@pytest.mark.req("RUN-2")
async def test_output_keeps_its_order_and_a_repeated_call_adds_nothing_twice(world: World) -> None:
    _, offer = await world.running("job")
    assert await world.redis("EXISTS", world.connection.keys.output("job")) == 0
    first = Pieces("job", offer.claim, 1, [("stdout", "one"), ("stderr", "two")])
    overlapping = Pieces("job", offer.claim, 2, [("stderr", "two"), ("stdout", "three")])
    assert await world.store.output.emit([first]) == [True]
    assert await world.store.output.emit([first, overlapping, overlapping]) == [True] * 3
    lines, trimmed = await world.store.reading.output("job", after=0, limit=10)
    assert ([(line.i, line.stream, line.text) for line in lines], trimmed) == (
        [(1, "stdout", "one"), (2, "stderr", "two"), (3, "stdout", "three")],
        0,
    )
    assert (await world.fields("job"))["outs"] == "3"


@pytest.mark.req("RUN-2")
async def test_one_call_carries_output_of_many_jobs_and_one_lost_claim_spoils_no_other(
    world: World,
) -> None:
    runner = await world.runner(slots=3)
    await world.submit_many("job", 3)
    offers = (await runner.cycle()).offers
    await world.store.steering.cancel(offers[1].job_id, by="me")
    batch = [Pieces(one.job_id, one.claim, 1, [("stdout", one.job_id)]) for one in offers]
    assert await world.store.output.emit(batch) == [True, False, True]
    lines, _ = await world.store.reading.output(offers[2].job_id, after=0, limit=10)
    assert [line.text for line in lines] == [offers[2].job_id]


@pytest.mark.req("RUN-2")
async def test_the_next_attempt_goes_on_numbering_where_the_last_one_stopped(world: World) -> None:
    runner, offer = await world.running("job")
    await world.store.output.emit(
        [Pieces("job", offer.claim, 1, [("stdout", "a"), ("stdout", "b")])]
    )
    await runner.end(ending("handback", offer))
    again = await runner.claim_one()
    assert again.outs == 2
    await world.store.output.emit([Pieces("job", again.claim, 3, [("stdout", "c")])])
    lines, _ = await world.store.reading.output("job", after=1, limit=10)
    assert [line.text for line in lines] == ["b", "c"]


@pytest.mark.req("RUN-2")
async def test_the_oldest_output_gives_way_and_readers_learn_how_much(world: World) -> None:
    _, offer = await world.running("job")
    total = 2 * LOG_ENTRIES_PER_JOB_MAX
    for first in range(1, total, 500):
        pieces = [("stdout", str(n)) for n in range(first, first + 500)]
        await world.store.output.emit([Pieces("job", offer.claim, first, pieces)])  # type: ignore[arg-type]  # a list of literals is a list of str
    length = await world.redis("XLEN", world.connection.keys.output("job"))
    assert LOG_ENTRIES_PER_JOB_MAX <= length < LOG_ENTRIES_PER_JOB_MAX + 200
    lines, trimmed = await world.store.reading.output("job", after=0, limit=500)
    assert (trimmed, lines[0].i) == (total - length, total - length + 1)
    tail, gone = await world.store.reading.output("job", after=total - 1, limit=500)
    assert ([line.i for line in tail], gone) == ([total], total - length)


@pytest.mark.req("JOB-5")
async def test_what_an_attempt_stored_is_listed_and_a_later_file_of_the_name_replaces_it(
    world: World,
) -> None:
    _, offer = await world.running("job")
    for n, digest in enumerate(("a" * 64, "b" * 64), start=1):
        artifact = {"name": "out.txt", "sha256": digest, "bytes": n, "step_id": None}
        await note(world, offer, n, event="artifact_recorded", payload=artifact)
    (found,) = await world.store.reading.artifacts("job")
    assert (found.name, found.sha256, found.attempt) == ("out.txt", "b" * 64, 1)


@pytest.mark.req("JOB-4")
@pytest.mark.first_answers
async def test_the_feed_names_every_job_a_call_touched(world: World) -> None:
    position = await world.store.feed.tail()
    runner, offer = await world.running("job")
    feed = world.store.feed
    await feed.tail()
    after, touched, lost = await feed.read(position, block_ms=100)
    assert (touched, lost) == ({"job": 3}, False)
    await runner.end(ending("settle", offer))
    _, touched, lost = await feed.read(after, block_ms=100)
    assert (touched, lost) == ({"job": 4}, False)


@pytest.mark.req("JOB-5")
async def test_a_result_that_stands_in_a_blob_is_listed_among_the_artifacts(world: World) -> None:
    runner, offer = await world.running("job")
    blob = {"sha256": "a" * 64, "bytes": 5_000}
    await runner.end(ending("settle", offer, data=orjson.dumps({"$blob": blob}).decode()))
    (artifact,) = await world.store.reading.artifacts("job")
    assert artifact.model_dump() == {**blob, "name": "result.json", "step_id": None, "attempt": 1}
