"""The judge of a chaos run notices what it is there to notice: each broken promise, planted by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.chaos import verdict
from tests.chaos.submit import Ack, Books
from tests.chaos.verdict import Silence, Trace, Violation

ONE, TWO = 2**32 + 1, 2**32 + 2


Row: TypeAlias = tuple[str, int, int, dict[str, object]]


def entries(*rows: Row) -> dict[str, str]:
    """A ledger: (kind, attempt, fence, payload) each."""
    found = {
        str(n): f"1000 {kind} x {attempt} {fence} {json.dumps(payload)}"
        for n, (kind, attempt, fence, payload) in enumerate(rows, 1)
    }
    return {**found, "seq": str(len(rows))}


def claim(attempt: int, fence: int) -> list[Row]:
    return [
        ("dispatch:q>y", attempt, 0, {}),
        ("claim:y>r", attempt, fence, {"runner": "r", "claim": str(fence)}),
    ]


def a_job(*rows: Row, **fields: str) -> dict[str, str]:
    spec = {"name": "x", "adapter": {"name": "command"}, "labels": {"mark": "m1"}}
    base = {"state": "C", "result": json.dumps({"fence": TWO}), "spec": json.dumps(spec)}
    return {**base, **entries(*rows), **fields}


BURIED: Row = ("bury:r>r", 1, ONE, {"outcome": "lost"})
AGAIN: Row = ("retry:r>q", 1, ONE, {})
SETTLED: Row = ("settle:r>C", 2, TWO, {"outcome": "done"})
TWICE = (("admit:->q", 0, 0, {}), *claim(1, ONE), BURIED, AGAIN, *claim(2, TWO), SETTLED)
GOOD = a_job(*TWICE)
TRACES = [
    Trace("j", 1, ONE, "begin"),
    Trace("j", 2, TWO, "begin"),
    Trace("j", 2, TWO, "end"),
]


def kinds(found: Iterable[Violation]) -> list[str]:
    return [violation.kind for violation in found]


def test_a_job_that_lost_a_runner_and_then_completed_is_as_it_should_be() -> None:
    assert kinds(verdict.judge_job("j", GOOD, TRACES)) == []
    assert kinds(verdict.acts_past_lease(TRACES)) == []


@pytest.mark.parametrize(
    ("fields", "traces", "kind"),
    [
        ({**GOOD, "3": GOOD["2"]}, TRACES, "double"),
        ({**GOOD, "state": "F"}, TRACES, "double"),
        ({**GOOD, "result": json.dumps({"fence": ONE})}, TRACES, "double"),
        (GOOD, TRACES[:2], "double"),
        (GOOD, [*TRACES, TRACES[2], TRACES[1]], "double"),
        (GOOD, [*TRACES, Trace("j", 3, TWO + 1, "tick")], "double"),
        (a_job(TWICE[0], ("settle:r>C", 1, ONE, {})), [], "double"),
        (a_job(*TWICE[:-1], state="r"), TRACES, "stuck"),
        (
            a_job(*TWICE[:5], *claim(2, ONE), ("settle:r>C", 2, ONE, {"outcome": "done"})),
            [],
            "double",
        ),
    ],
    ids=[
        "a transition that the table has not",
        "a state that the ledger does not prove",
        "a result of another claim",
        "a result without work",
        "a body that ran twice under one claim",
        "an agent nobody gave a claim",
        "a result without a claim",
        "a job that rests nowhere",
        "a fence that was given twice",
    ],
)
def test_a_broken_job_is_noticed(fields: dict[str, str], traces: list[Trace], kind: str) -> None:
    assert kind in kinds(verdict.judge_job("j", fields, traces))


def test_a_line_of_an_older_claim_below_one_of_a_newer_claim_is_an_act_past_the_lease() -> None:
    late = [*TRACES, Trace("j", 1, ONE, "tick"), Trace("j", 1, ONE, "tick")]
    assert kinds(verdict.acts_past_lease(late)) == ["past_lease"]
    other_job = [*TRACES, Trace("k", 1, ONE, "tick")]
    assert kinds(verdict.acts_past_lease(other_job)) == []


def test_one_mark_for_two_jobs_is_noticed() -> None:
    assert kinds(verdict.doubled_marks({"j": GOOD, "k": GOOD})) == ["double"]
    assert kinds(verdict.doubled_marks({"j": GOOD})) == []


def books(tmp_path: Path, *, door: str = "direct") -> Books:
    found = Books(tmp_path / "journal")
    found.write(Ack("j", "m1", "quick", door, "s1", 4, 100, 1))
    return found


def judged(found: Books, *, may_lose: bool = True, elsewhere: int = 0) -> list[str]:
    lost = verdict.lost_acks(found, {})
    return kinds(verdict.judge_lost(lost, found, may_lose=may_lose, counted_elsewhere=elsewhere))


def test_an_acknowledged_submission_that_exists_is_not_lost(tmp_path: Path) -> None:
    assert verdict.lost_acks(books(tmp_path), {"j": GOOD}) == []
    assert json.loads((tmp_path / "journal").read_text())[:2] == ["j", "m1"]


def test_where_nothing_may_be_lost_a_counted_loss_is_a_loss(tmp_path: Path) -> None:
    found = books(tmp_path)
    found.losses.append(("s1", 4, 9))
    assert judged(found, may_lose=False) == ["lost"]


def test_where_something_may_be_lost_its_own_submitter_must_have_counted_it(tmp_path: Path) -> None:
    found = books(tmp_path)
    assert judged(found, elsewhere=9) == ["undetected"]
    found.losses.append(("s2", 4, 9))
    found.losses.append(("s1", 3, 9))
    assert judged(found) == ["undetected"]
    found.losses.append(("s1", 4, 9))
    assert judged(found) == []


def test_a_submission_through_the_stream_may_be_counted_by_anybody(tmp_path: Path) -> None:
    found = books(tmp_path, door="raw")
    assert judged(found) == ["undetected"]
    assert judged(found, elsewhere=1) == []


def test_a_job_must_end_as_its_kind_does() -> None:
    ack = Ack("j", "m1", "quick", "direct", "s1", 4, 100, 1)
    assert kinds(verdict.judge_end(ack, GOOD)) == []
    failed = ("job_failed", 2, TWO, {"reason": "attempts_used", "crashes": 1})
    fields = a_job(*TWICE[:-1], failed, ("fail:r>F", 2, TWO, {}), state="F")
    assert kinds(verdict.judge_end(ack, fields)) == ["broken"]
    assert kinds(verdict.judge_end(replace(ack, kind="fails"), fields)) == []
    poison = ("job_failed", 2, TWO, {"reason": "poison", "crashes": 3})
    fields = a_job(*TWICE[:-1], poison, ("fail:r>F", 2, TWO, {}), state="F")
    assert kinds(verdict.judge_end(ack, fields)) == []
    assert kinds(verdict.judge_end(replace(ack, kind="poison"), GOOD)) == ["broken"]


def test_a_claim_that_no_ledger_has_is_a_forgotten_one_if_somebody_counted(tmp_path: Path) -> None:
    found, stranger = Books(tmp_path / "journal"), 7 * 2**32 + 1
    traces = [*TRACES, Trace("j", 3, stranger, "begin"), Trace("lost", 1, stranger, "begin")]
    both = {("j", stranger), ("lost", stranger)}
    assert verdict.forgotten(found, {"j": GOOD}, traces, counted_elsewhere=0) == set()
    assert verdict.forgotten(found, {"j": GOOD}, traces, counted_elsewhere=1) == both
    found.losses.append(("s1", 3, 5))
    assert verdict.forgotten(found, {"j": GOOD}, traces, counted_elsewhere=0) == set()
    found.losses.append(("s1", 6, 8))
    assert verdict.forgotten(found, {"j": GOOD}, traces, counted_elsewhere=0) == both


def test_an_entry_with_other_fields_than_the_catalogue_has_is_found() -> None:
    whole = a_job(("admit:->q", 0, 0, {}), *claim(1, ONE), ("agent_suspended", 1, ONE, {}))
    assert kinds(verdict.judge_fields("j", whole)) == []
    bare = a_job(("admit:->q", 0, 0, {"by": "me"}), BURIED)
    assert kinds(verdict.judge_fields("j", bare)) == ["broken"] * 3


def test_a_forgotten_claim_excuses_its_own_agent_and_no_other_fault_of_its_job() -> None:
    stranger = TWO + 1
    gone = {("j", stranger)}
    acted = [*TRACES, Trace("j", 3, stranger, "begin"), Trace("j", 2, TWO, "tick")]
    assert kinds(verdict.judge_job("j", GOOD, acted)) == ["double"]
    assert kinds(verdict.judge_job("j", GOOD, acted, gone)) == []
    assert kinds(verdict.acts_past_lease(acted)) == ["past_lease"]
    assert kinds(verdict.acts_past_lease(acted, gone)) == []
    older = [*acted, Trace("j", 1, ONE, "tick")]
    assert kinds(verdict.acts_past_lease(older, {("k", stranger)})) == ["past_lease"] * 2
    gap = {key: value for key, value in GOOD.items() if key != "3"}
    twice = {**a_job(*TWICE, SETTLED), "state": "C"}
    for broken in (gap, twice, {**GOOD, "result": json.dumps({"fence": ONE})}):
        assert "double" in kinds(verdict.judge_job("j", broken, acted, gone))
    assert kinds(verdict.judge_job("j", GOOD, [*acted, TRACES[1]], gone)) == ["double"]


def test_an_agent_that_acts_when_its_runner_cannot_have_had_a_lease_is_noticed() -> None:
    frozen = Silence(9, "the freeze", 10_000, 13_000)
    down = Silence(0, "the server's end", 20_000, 23_000)
    short = Silence(0, "the server's end", 30_000, 30_900)

    def acts(at_ms: int, runner: int = 9) -> list[str]:
        trace = Trace("j", 1, ONE, "tick", at_ms, runner)
        return kinds(verdict.acts_without_lease([trace, trace], [frozen, down, short], 1_000))

    assert acts(11_500) == ["past_lease"]
    assert acts(10_900) == acts(13_100) == acts(11_500, runner=8) == acts(30_950) == []
    assert acts(21_500, runner=8) == ["past_lease"]


def test_a_job_whose_cancel_was_forgotten_may_be_left_to_a_human() -> None:
    ack = Ack("j", "m1", "endless", "direct", "s1", 4, 100, 1)
    gave_up: Row = ("release:r>r", 2, TWO, {"outcome": "canceled"})
    blocked: Row = ("block:r>b", 2, TWO, {})
    fields = a_job(*TWICE[:-1], gave_up, blocked, state="b")
    assert kinds(verdict.judge_end(ack, fields)) == ["broken"]
    assert kinds(verdict.judge_end(ack, fields, cancel_is_gone=True)) == []
    fields = a_job(*TWICE[:-1], blocked, state="b")
    assert kinds(verdict.judge_end(ack, fields, cancel_is_gone=True)) == ["broken"]


def test_a_line_tells_when_it_was_written_and_under_which_runner(tmp_path: Path) -> None:
    path = tmp_path / "effects"
    path.write_text("j 1 5 begin 77 12.34 99\nj 1 5 en")
    assert verdict.read_traces(path) == [Trace("j", 1, 5, "begin", 12_340, 99)]
