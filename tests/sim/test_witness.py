"""Checkers that do catch: turns in a line, decisions about the right outcome, silence watched long enough."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.sim.checker import check_job, check_turns
from tests.sim.history import History
from tests.sim.loop import Process
from tests.sim.server import Message
from tests.sim.witness import Looks, Witness


@pytest.fixture
def history() -> History:
    return History(lambda: 10.0)


def job(*events: str, **fields: str) -> dict[str, str]:
    """A job hash with that ledger."""
    ledger = {str(n): event for n, event in enumerate(events, 1)}
    line = {"pool": "p", "class": "c", "tenant": "t", "state": "y", "spec": "{}"}
    return {**line, "seq": str(len(events)), **ledger, **fields}


def moved(at_ms: int, move: str, payload: str = "{}") -> str:
    return f"{at_ms} {move} gateway 1 5 {payload}"


ADMITTED_10 = moved(10, "admit:->q")
DISPATCHED_30 = moved(30, "dispatch:q>y")
OUT_OF_TURN = {
    "admitted later and dispatched earlier": (
        job(ADMITTED_10, DISPATCHED_30),
        job(moved(11, "admit:->q"), moved(29, "dispatch:q>y")),
    ),
    "paused and resumed, it kept its place": (
        job(ADMITTED_10, DISPATCHED_30),
        job(
            moved(9, "admit:->q"), moved(12, "pause:q>p"), moved(13, "resume:p>q"),
            moved(29, "dispatch:q>y"),
        ),
    ),
    "one that still waits was passed": (
        job(ADMITTED_10),
        job(moved(11, "admit:->q"), moved(29, "dispatch:q>y")),
    ),
}  # fmt: skip
IN_TURN = {
    "dispatched in the same call": (
        job(ADMITTED_10, DISPATCHED_30),
        job(moved(11, "admit:->q"), moved(30, "dispatch:q>y")),
    ),
    "a retry stands at the head": (
        job(ADMITTED_10, DISPATCHED_30),
        job(moved(5, "claim:y>r"), moved(11, "retry:r>q"), moved(29, "dispatch:q>y")),
    ),
    "the one before was canceled": (
        job(ADMITTED_10, moved(20, "cancel:q>X")),
        job(moved(11, "admit:->q"), moved(29, "dispatch:q>y")),
    ),
    "another tenant's line": (
        job(ADMITTED_10, DISPATCHED_30),
        job(moved(11, "admit:->q"), moved(29, "dispatch:q>y"), tenant="u"),
    ),
}  # fmt: skip


@pytest.mark.req("SCH-1", "SCH-7")
@pytest.mark.parametrize("story", OUT_OF_TURN)
def test_who_goes_before_his_turn_is_found(story: str, history: History) -> None:
    first, second = OUT_OF_TURN[story]
    check_turns(history, {"a": first, "b": second})
    assert [kind for kind, _ in history.violations] == ["broken"]


@pytest.mark.parametrize("story", IN_TURN)
def test_who_goes_in_turn_is_not(story: str, history: History) -> None:
    first, second = IN_TURN[story]
    check_turns(history, {"a": first, "b": second})
    assert history.violations == []


LOST = moved(1, "bury:r>r", '{"outcome":"lost"}')
FAILED = moved(1, "release:r>r", '{"outcome":"transient"}')


@pytest.mark.parametrize(
    ("decision", "fits"),
    [
        ('{"after":"transient","failures":1,"crashes":1}', True),
        ('{"after":"lost","failures":1,"crashes":1}', False),
        ('{"after":"transient","failures":1,"crashes":0}', False),
        ('{"after":"transient","failures":0,"crashes":1}', False),
    ],
)
def test_a_decision_is_about_the_outcome_before_it(
    decision: str, fits: bool, history: History
) -> None:
    check_job(history, "a", job(LOST, FAILED, moved(2, "retry:r>q", decision)))
    assert (history.violations == []) is fits


@pytest.mark.req("LSE-6")
def test_a_long_pause_between_two_looks_adds_two_seconds_of_silence() -> None:
    looks = Looks(0.0)
    for number, at in enumerate((0.0, 1.0, 9.0)):
        looks.look(number, at, {"r": "5"})
    assert looks.silent_s == {"r": 3.0}
    assert looks.seen_s("r", 9.5) == 3.5
    looks.look(3, 10.0, {"r": "6"})
    assert looks.silent_s == {"r": 0.0}


@pytest.mark.req("LSE-6")
def test_a_look_that_is_heard_after_a_newer_one_tells_nothing() -> None:
    looks = Looks(0.0)
    looks.look(1, 1.0, {"r": "5"})
    looks.look(3, 2.5, {"r": "6"})
    looks.look(2, 2.5, {"r": "5"})  # another caller's of the same process, stalled on the way
    looks.look(4, 3.0, {"r": "6"})
    assert looks.silent_s == {"r": 0.5}


def buries(history: History) -> Any:
    """A function that lets a reaper bury `r` by a counter, at a time of nobody's looks."""
    server = SimpleNamespace(on_executed=lambda _message: None)
    plan, loop = SimpleNamespace(lease_ms=1_500), SimpleNamespace(time=lambda: 10.0)
    world = SimpleNamespace(server=server, loop=loop, plan=plan, history=history)
    Witness(cast("Any", world), cast("Any", SimpleNamespace(rollbacks=[])))
    link = SimpleNamespace(process=Process("reaper1"))

    def call(verb: str, counter: str) -> None:
        if verb == "bury":
            history.buried["r"].append(10.0)
        command = ["FCALL", f"{verb}_x", "1", "{orch:0}:", "r", counter]
        server.on_executed(cast("Message", SimpleNamespace(command=command, verb=verb, link=link)))

    return call


@pytest.mark.req("LSE-6")
def test_only_the_burial_of_who_still_had_a_beat_is_judged(history: History) -> None:
    call = buries(history)
    call("bury", "7")
    assert [kind for kind, _ in history.violations] == ["broken"], "nobody had watched it"
    call("bury", "6")  # what a repair found of it, by a reaper that decided earlier
    assert len(history.violations) == 1
    call("register", "")
    call("bury", "8")
    assert len(history.violations) == 2
