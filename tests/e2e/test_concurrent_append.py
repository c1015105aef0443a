"""Many writers at once, processes of their own, on the same keys, the same ledger and the same output."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise

import pytest

from contracts.limits import PAGE_ITEMS_MAX
from contracts.states import State
from orch.core.ledger import parse_ledger
from orch.store.keys import Keys
from tests.e2e.invariants import job_ids
from tests.e2e.specs import shell
from tests.e2e.stack import Stack, wait_until
from tests.e2e.writer import writers

KEYS = 60
CALLS = 80
CHILDREN = 4
LINES = 2_000
SPEAKS = (
    f"for c in $(seq {CHILDREN}); do (for n in $(seq {LINES}); do echo $c $n; done) & done; wait"
)


@pytest.mark.req("SIM-5", "JOB-3")
@pytest.mark.first_answers
def test_one_key_is_one_job_however_many_submit_it_at_once_and_by_which_door(stack: Stack) -> None:
    arrived = int(stack.redis.hget(Keys().meta, "arrivals") or 0)
    before = set(job_ids(stack.redis))
    over_http = [("submit", seed, stack.url, KEYS) for seed in "abc"]
    raw = [("push", seed, stack.redis_url, KEYS) for seed in "de"]
    told = writers(stack, [*over_http, *raw])
    for key in (f"k{n}" for n in range(KEYS)):
        assert len({one[key][0] for one in told}) == 1, key
        assert [one[key][1] for one in told].count(False) == 1, (
            "the others are told that it was there"
        )
    made = set(job_ids(stack.redis)) - before
    assert made == {job_id for job_id, _ in told[0].values()}
    assert int(stack.redis.hget(Keys().meta, "arrivals") or 0) - arrived == KEYS
    wait_until(lambda: stack.completed(made) == KEYS, what="each is completed once")


@pytest.mark.req("SIM-5", "JOB-2")
def test_a_ledger_that_many_append_to_has_no_gap_no_double_and_one_story(stack: Stack) -> None:
    job_id = stack.client.submit(shell("true", not_before_ms=2**42)).job_id
    told = writers(stack, [("steer", seed, stack.url, job_id, CALLS) for seed in "abcde"])
    events = parse_ledger(stack.stored(job_id))  # Corrupt: an entry is missing
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    moves = [(event.payload["from"], event.payload["to"]) for event in events]
    assert all(earlier[1] == later[0] for earlier, later in pairwise(moves))
    notes = Counter(event.payload["note"] for event in events[1:])
    assert set(notes.values()) == {1}, "each call appended one entry, or none"
    assert set(notes) <= {words for one in told for words in one["taken"]}
    for seed in "abcde":
        own = [int(note.partition(".")[2]) for note in notes if note.startswith(seed)]
        assert own == sorted(own), "what one writer said later stands later"
    assert len({note[0] for note in notes}) > 1, "they met"
    assert stack.client.cancel(job_id).state is State.CANCELED


@pytest.mark.req("SIM-5", "EVT-1", "RUN-2")
def test_output_that_many_write_at_once_is_whole_and_in_the_order_of_each(stack: Stack) -> None:
    jobs = [stack.client.submit(shell(SPEAKS)).job_id for _ in range(6)]
    for job_id in jobs:
        assert stack.client.wait(job_id, timeout_s=30).state is State.COMPLETED
        pieces = stack.client.logs(job_id, limit=PAGE_ITEMS_MAX).lines
        assert len(pieces) > 1, "many pieces"
        assert [piece.i for piece in pieces] == list(range(1, len(pieces) + 1))
        heard: dict[str, list[int]] = defaultdict(list)
        for line in "".join(piece.text for piece in pieces).splitlines():
            child, number = line.split()
            heard[child].append(int(number))
        assert heard == {str(n + 1): list(range(1, LINES + 1)) for n in range(CHILDREN)}
