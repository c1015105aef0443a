"""A ledger proves the state, lists the attempts, and a damaged one is never believed (JOB-4, FBK-6)."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import Corrupt
from contracts.states import FIRST, STATE_CODES, Event, Refusal, State, step
from orch.core.ledger import attempts, parse_entry, parse_ledger, replay, state_of, usage

GOOD = {
    "1": "100 admit:->q gateway 0 0 {}",
    "2": "101 dispatch:q>y gateway 0 0 {}",
    "3": '102 claim:y>r runner 1 7 {"runner":"r1","claim":"1.7.x"}',
    "4": '103 step_started runner 1 7 {"step_id":"s1","key":"k"}',
    "5": '104 release:r>r runner 1 7 {"outcome":"transient","reason":"exit_code","exit_code":75}',
    "6": "105 retry:r>q fallback 1 7 {}",
    "7": "106 dispatch:q>y scheduler 1 7 {}",
    "8": '107 claim:y>r runner 2 8 {"runner":"r2","claim":"1.8.x"}',
    "9": '108 settle:r>C runner 2 8 {"outcome":"done","reason":"completed"}',
}


def ledger(**changed: str | None) -> dict[str, str]:
    """GOOD with entries replaced (`_3=…`) or removed."""
    entries: dict[str, str | None] = {**GOOD, **{name[1:]: text for name, text in changed.items()}}
    kept = {name: text for name, text in entries.items() if text is not None}
    return {"seq": "9", "state": "C", **kept}


@pytest.mark.req("JOB-4")
def test_a_ledger_is_read_oldest_first_and_proves_the_state() -> None:
    events = parse_ledger(ledger())
    assert [event.seq for event in events] == list(range(1, 10))
    assert replay(events) is State.COMPLETED
    first, noted = events[0], events[3]
    assert first.payload == {"from": None, "to": "queued", "cause": "admit"}
    assert (noted.type.value, noted.attempt, noted.epoch, noted.at_ms) == (
        "step_started",
        1,
        7,
        103,
    )


@pytest.mark.req("BUD-1", "BUD-3")
def test_the_usage_of_a_job_is_what_each_attempt_said_last_summed_once() -> None:
    assert usage(parse_ledger(ledger())) is None

    def told(tokens_in: int, tokens_out: int, cost: str) -> str:
        return f'{{"tokens_in":{tokens_in},"tokens_out":{tokens_out},"cost_micros":{cost}}}'

    entries = ledger(
        _3=f"102 usage_reported runner 1 7 {told(1, 1, '5')}",
        _4=f"103 usage_reported runner 1 7 {told(10, 2, '50')}",
        _8=f"107 usage_reported runner 2 8 {told(100, 3, 'null')}",
    )
    summed = usage(parse_ledger(entries))
    assert summed is not None
    assert summed.model_dump() == {"tokens_in": 110, "tokens_out": 5, "cost_micros": 50}


@pytest.mark.req("FBK-6")
def test_each_claim_is_one_attempt_and_the_last_may_still_run() -> None:
    events = parse_ledger(ledger())
    first, second = attempts(events)
    assert (first.runner, first.started_at_ms, first.ended_at_ms) == ("r1", 102, 104)
    assert (first.outcome, first.exit_code, first.reason) == ("transient", 75, "exit_code")
    assert (second.attempt, second.epoch, second.outcome) == (2, 8, "done")
    running = attempts(events[:8])[1]
    assert (running.ended_at_ms, running.outcome) == (None, None)


BROKEN = {
    "a hole": ledger(_4=None),
    "too few words": ledger(_4="103 step_started runner 1 7"),
    "no number where a time stands": ledger(_4="now step_started runner 1 7 {}"),
    "no number where an attempt stands": ledger(_4="103 step_started runner x 7 {}"),
    "no number where an epoch stands": ledger(_4="103 step_started runner 1 x {}"),
    "no JSON": ledger(_4="103 step_started runner 1 7 {"),
    "a payload that is no object": ledger(_4="103 step_started runner 1 7 []"),
    "a transition's payload that is no object": ledger(_2="101 dispatch:q>y gateway 0 0 []"),
    "a type nobody knows": ledger(_4="103 step_danced runner 1 7 {}"),
    "a state nobody knows": ledger(_2="101 dispatch:q>z gateway 0 0 {}"),
    "an origin nobody knows": ledger(_2="101 dispatch:z>y gateway 0 0 {}"),
    "a cause nobody knows": ledger(_2="101 vanish:q>y gateway 0 0 {}"),
    "a move that is not in the table": ledger(_2="101 dispatch:q>r gateway 0 0 {}"),
    "a move from elsewhere": ledger(_2="101 dispatch:s>y gateway 0 0 {}"),
    "a second beginning": ledger(_2="101 admit:->q gateway 0 0 {}"),
    "a beginning that is none": ledger(_1="100 dispatch:q>y gateway 0 0 {}"),
    "a forged transition": ledger(_4="103 status_changed runner 1 7 {}"),
    "no seq": {name: text for name, text in ledger().items() if name != "seq"},
    "a seq that is no number": {**ledger(), "seq": "x"},
    "nothing": {"seq": "0"},
}


@pytest.mark.req("JOB-4")
@pytest.mark.parametrize("fields", BROKEN.values(), ids=BROKEN)
def test_a_damaged_ledger_is_corrupt_and_nothing_else(fields: dict[str, str]) -> None:
    with pytest.raises(Corrupt):
        replay(parse_ledger(fields))


@pytest.mark.req("JOB-4")
def test_entries_out_of_order_prove_nothing() -> None:
    events = parse_ledger(ledger())
    with pytest.raises(Corrupt):
        replay([*events[:2], events[3]])
    with pytest.raises(Corrupt):
        replay(reversed(events))


@pytest.mark.req("JOB-2", "JOB-4")
@given(st.lists(st.sampled_from([event for event in Event if event not in FIRST]), max_size=40))
def test_replay_agrees_with_the_table_on_every_walk(wishes: list[Event]) -> None:
    walked: list[tuple[Event, State]] = [(Event.ADMIT, State.QUEUED)]
    for wish in wishes:
        told = step(walked[-1][1], wish)
        if not isinstance(told, Refusal):
            walked.append((wish, told))
    texts = [f"0 admit:->{STATE_CODES[State.QUEUED]} a 0 0 {{}}"]
    for (_, origin), (event, target) in pairwise(walked):
        texts.append(f"0 {event.value}:{STATE_CODES[origin]}>{STATE_CODES[target]} a 0 0 {{}}")
    events = [parse_entry(n, text) for n, text in enumerate(texts, start=1)]
    assert replay(events) is walked[-1][1]


def test_every_stored_letter_is_its_state_and_another_is_corrupt() -> None:
    assert {state: state_of(code) for state, code in STATE_CODES.items()} == {
        state: state for state in State
    }
    with pytest.raises(Corrupt):
        state_of("?")
