"""The judge of an upgrade is not blind: each kind of harm, planted, is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from tests.chaos.verdict import Trace
from tests.upgrade.house import counted_in
from tests.upgrade.judge import begun_by, causes, faults_of

LEDGER = {
    "1": "10 admit:->q gateway 0 0 {}",
    "2": "11 dispatch:q>y gateway 0 0 {}",
    "3": '12 claim:y>r runner 1 5 {"runner":"r1","claim":"1.5.x"}',
    "4": '13 settle:r>C runner 1 5 {"outcome":"done","reason":"completed"}',
}
QUICK = {
    "seq": "4",
    "state": "C",
    "spec": '{"name":"quick","adapter":{"name":"command"}}',
    **LEDGER,
}
INLINE = {**QUICK, "spec": '{"name":"inline","adapter":{"name":"python"}}'}
RUNS = {**{k: v for k, v in QUICK.items() if k != "4"}, "seq": "3", "state": "r"}
LOST = {
    **QUICK, "seq": "8",
    "4": '13 bury:r>r reaper 1 5 {"outcome":"lost","reason":"runner_dead"}',
    "5": "14 retry:r>q fallback 1 5 {}", "6": "15 dispatch:q>y fallback 1 5 {}",
    "7": '16 claim:y>r runner 2 6 {"runner":"r2","claim":"1.6.x"}',
    "8": '17 settle:r>C runner 2 6 {"outcome":"done","reason":"completed"}',
}  # fmt: skip
SPOKEN = {**QUICK, "spec": '{"name":"session","session":"s","adapter":{"name":"command"}}'}


def acts(job_id: str, fence: int = 5, *did: str) -> list[Trace]:
    return [Trace(job_id, 1, fence, what) for what in did or ("begin", "end")]


@dataclass(frozen=True)
class Found:
    """What is there at the end of a story."""

    accepted: Mapping[str, str] = field(default_factory=lambda: {"j": "quick", "i": "inline"})
    jobs: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: {"j": QUICK, "i": INLINE})
    traces: Sequence[Trace] = field(default_factory=lambda: acts("j"))
    marks: Sequence[str] = ("i",)

    @property
    def faults(self) -> list[str]:
        return list(faults_of(self.accepted, self.jobs, self.traces, self.marks))


SOUND = Found()
TWO = {"a": "session", "b": "session"}
TALK = {"a": SPOKEN, "b": SPOKEN}
HARM = {
    "was accepted, and is gone": replace(SOUND, jobs={"i": INLINE}),
    "nobody submitted it": replace(SOUND, accepted={"i": "inline"}),
    "it is running": replace(SOUND, jobs={"j": RUNS, "i": INLINE}, traces=acts("j", 5, "begin")),
    "is running, and not completed": replace(SOUND, jobs={"j": RUNS, "i": INLINE}),
    "is completed, and not canceled": replace(SOUND, accepted={"j": "endless", "i": "inline"}),
    "begin ran 2 times under fence 5": replace(SOUND, traces=acts("j", 5, "begin", "begin", "end")),
    "whose agent never ended": replace(SOUND, traces=acts("j", 5, "begin")),
    "agents of fences [4] acted": replace(SOUND, traces=[*acts("j", 4), *acts("j")]),
    "of fence 4 after fence 5": replace(SOUND, traces=[*acts("j"), *acts("j", 4, "tick")]),
    "an attempt of it was lost": replace(
        SOUND, jobs={"j": LOST, "i": INLINE}, traces=[*acts("j", 5, "begin"), *acts("j", 6)]
    ),
    "of 4 is missing": replace(
        SOUND, jobs={"j": {k: v for k, v in QUICK.items() if k != "2"}, "i": INLINE}
    ),
    "job i: begin ran 2 times": replace(SOUND, marks=("i", "i")),
    "job i: completed under fence 5, whose agent never ended": replace(SOUND, marks=()),
    "session s: b began before a had ended": replace(
        SOUND, accepted=TWO, jobs=TALK,
        traces=[*acts("a", 5, "begin"), *acts("b", 5, "begin"), *acts("a", 5, "end"), *acts("b", 5, "end")],
    ),
}  # fmt: skip


def test_a_sound_story_has_no_faults() -> None:
    assert SOUND.faults == []
    assert replace(SOUND, accepted=TWO, jobs=TALK, traces=[*acts("a"), *acts("b")]).faults == []


@pytest.mark.req("SIM-2")
@pytest.mark.parametrize("told", HARM)
def test_planted_harm_is_told(told: str) -> None:
    assert any(told in fault for fault in HARM[told].faults), HARM[told].faults


def test_attempts_are_counted_for_the_version_of_their_runner_in_their_time() -> None:
    versions = {"r1": "old", "r2": "new"}
    jobs = {"j": LOST, "i": INLINE}
    assert begun_by(jobs, versions, from_ms=0, to_ms=99) == Counter(old=2, new=1)
    assert begun_by(jobs, versions, from_ms=13, to_ms=99) == Counter(new=1)
    assert begun_by(jobs, {}, from_ms=0, to_ms=99) == Counter(unknown=3)
    assert causes(jobs)["claim"] == 3


def test_only_what_should_not_happen_is_counted_of_a_process() -> None:
    text = """# TYPE orch_reaper_repairs_total counter
orch_reaper_repairs_total{index="due"} 2.0
orch_reaper_repairs_total{index="queue"} 0.0
# TYPE orch_runner_claims_total counter
orch_runner_claims_total{pool="default"} 7.0
"""
    assert counted_in(text) == Counter({"orch_reaper_repairs_total due": 2})
