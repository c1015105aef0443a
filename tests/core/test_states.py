"""The state table over the full product of states and events (JOB-2)."""

from __future__ import annotations

from itertools import product

import pytest

from contracts.states import (
    FIRST,
    REFUSALS,
    STATE_CODES,
    TERMINAL,
    TRANSITIONS,
    Event,
    Refusal,
    State,
    step,
)

EVENTS = [event for event in Event if event not in FIRST]
GOLDEN = {
    "scheduled": "due>queued reclaim>running pause>paused cancel>canceled expire>expired",
    "queued": "dispatch>ready reclaim>running pause>paused evict>canceled cancel>canceled expire>expired",
    "ready": "unready>queued claim>running reclaim>running pause>paused cancel>canceled expire>expired",
    "running": "settle>completed release>running bury>running retry>queued backoff>scheduled fail>failed "
    "block>blocked ask>blocked handback>queued stop>paused cancel>canceled expire>expired",
    "paused": "resume>queued resume_later>scheduled cancel>canceled expire>expired",
    "blocked": "answer>queued cancel>canceled expire>expired",
    "completed": "",
    "failed": "",
    "canceled": "",
    "expired": "",
}
"""Written by hand, so that a change of the table is a change of two places."""


@pytest.mark.req("JOB-2")
@pytest.mark.parametrize("state", list(State))
def test_a_state_is_left_as_the_specification_says_and_not_otherwise(state: State) -> None:
    moves = {word.partition(">")[::2] for word in GOLDEN[state.value].split()}
    allowed = {
        event: target
        for event, _, target in (word.partition(">") for word in GOLDEN[state.value].split())
    }
    for event in Event:
        told = step(state, event)
        if event.value in allowed:
            assert told is State(allowed[event.value])
        else:
            assert isinstance(told, Refusal)
    assert len(moves) == len(allowed)


@pytest.mark.req("JOB-2")
def test_every_pair_is_a_transition_or_a_named_refusal_and_never_both() -> None:
    pairs = set(product(State, Event))
    assert set(TRANSITIONS) | set(REFUSALS) == pairs
    assert not set(TRANSITIONS) & set(REFUSALS)


@pytest.mark.req("JOB-2")
@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_a_terminal_state_is_never_left(state: State) -> None:
    assert {step(state, event) for event in EVENTS} == {Refusal.JOB_OVER}
    assert {step(state, event) for event in FIRST} == {Refusal.ALREADY_ADMITTED}


@pytest.mark.req("JOB-2")
def test_a_job_begins_by_admission_only() -> None:
    assert {event: step(None, event) for event in FIRST} == dict(FIRST)
    assert {step(None, event) for event in EVENTS} == {Refusal.NO_SUCH_JOB}


@pytest.mark.req("JOB-2")
def test_every_state_is_reached_and_every_live_one_can_end() -> None:
    reached = set(FIRST.values())
    while True:
        more = reached | {
            target for (origin, _), target in TRANSITIONS.items() if origin in reached
        }
        if more == reached:
            break
        reached = more
    assert reached == set(State)
    for state in set(State) - TERMINAL:
        assert {step(state, Event.CANCEL), step(state, Event.EXPIRE)} == {
            State.CANCELED,
            State.EXPIRED,
        }


def test_states_are_stored_as_different_single_letters() -> None:
    assert len(set(STATE_CODES.values())) == len(State)
    assert all(len(code) == 1 for code in STATE_CODES.values())
