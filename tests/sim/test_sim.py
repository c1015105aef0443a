"""The simulation on every `make test`: some seeds, its own determinism, and checkers that do catch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from tests.sim import checker
from tests.sim.backend import Backend
from tests.sim.campaign import REGRESSIONS, load_regressions
from tests.sim.checker import Op, Terminals, ops_by_job, possible
from tests.sim.history import Call, History, Submission
from tests.sim.loop import Idle, Process, SimLoop
from tests.sim.plan import plan_of
from tests.sim.shard import faults_of, leftovers_of

LUA_SEEDS, FAST_SEEDS = 20, 200
FOREVER = float("inf")


def sim(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m tests.sim` in a process of its own: a run leaves one that must not go on."""
    return subprocess.run(
        [sys.executable, "-m", "tests.sim", *arguments],
        env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


@pytest.mark.timeout(300)
@pytest.mark.req("SIM-1", "SIM-2", "SIM-3")
def test_no_schedule_of_a_few_breaks_a_promise() -> None:
    done = sim("--lua", str(LUA_SEEDS), "--fast", str(FAST_SEEDS), "--jobs", "2", "--quiet")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


@pytest.mark.req("SIM-1")
def test_the_same_seed_is_the_same_trace_under_any_hash_seed() -> None:
    traces = [
        sim("--one", "--seed", "19", PYTHONHASHSEED=hash_seed).stdout.splitlines()[-1]
        for hash_seed in ("1", "2")
    ]
    assert traces[0] == traces[1]
    assert traces[0].startswith("trace ")
    assert sim("--one", "--seed", "20").stdout.splitlines()[-1] != traces[0]


# -- the loop


def test_a_killed_process_runs_no_finally_and_a_frozen_one_goes_on_later() -> None:
    loop = SimLoop("0")
    said: list[tuple[str, float]] = []

    async def live(name: str) -> None:
        import asyncio

        try:
            await asyncio.sleep(5)
            said.append((name, loop.time()))
        finally:
            said.append((f"{name} ends", loop.time()))

    killed, frozen, free = (Process(name) for name in ("killed", "frozen", "free"))
    tasks = [loop.start(process.main, live(process.name)) for process in (killed, frozen, free)]
    loop.call_later(1, loop.kill, killed)
    loop.call_later(2, loop.freeze, frozen)
    loop.call_later(60, loop.thaw, frozen)
    loop.run_until_complete(tasks[1])
    assert said == [("free", 5), ("free ends", 5), ("frozen", 60), ("frozen ends", 60)]
    with pytest.raises(Idle):
        loop.run_until_complete(tasks[0])
    with pytest.raises(RuntimeError):
        loop.run_in_executor(None, print)


# -- the checker of claims

HOLDER = {"c1": "r1", "c2": "r2"}
IMPOSSIBLE: dict[str, list[Op]] = {
    "two claims in force at once": [Op("grant", 0, 1, "c1"), Op("grant", 2, 3, "c2")],
    "two results accepted": [
        Op("grant", 0, 1, "c1"), Op("settle", 2, 3, "c1", "ok"),
        Op("grant", 4, 5, "c2"), Op("settle", 6, 7, "c2", "ok"),
    ],
    "a result accepted after the burial": [
        Op("grant", 0, 1, "c1"), Op("bury", 2, 3, "r1"), Op("settle", 4, 5, "c1", "ok"),
    ],
    "the holder refused": [Op("grant", 0, 1, "c1"), Op("settle", 2, 3, "c1", "over")],
    "a result accepted after the cancel": [
        Op("grant", 0, 1, "c1"), Op("cancel", 2, 3, verdict="ok"), Op("settle", 4, 5, "c1", "ok"),
    ],
    "canceled when it was over": [
        Op("grant", 0, 1, "c1"), Op("settle", 2, 3, "c1", "ok"), Op("cancel", 4, 5, verdict="ok"),
    ],
    "the same said of what was never accepted": [
        Op("grant", 0, 1, "c1"), Op("bury", 2, 3, "r1"), Op("settle", 4, 5, "c1", "same"),
    ],
    "a claim given twice": [
        Op("grant", 0, 1, "c1"), Op("end", 2, 3, "c1", "ok"), Op("grant", 4, 5, "c1"),
    ],
    "failed with a claim in force": [Op("grant", 0, 1, "c1"), Op("fail", 2, 3, verdict="ok")],
}  # fmt: skip
POSSIBLE: dict[str, list[Op]] = {
    "a result whose reply was lost, then asked again": [
        Op("grant", 0, 1, "c1"), Op("settle", 2, FOREVER, "c1"), Op("settle", 4, 5, "c1", "same"),
    ],
    "a burial of unknown fate explains the refusal": [
        Op("grant", 0, 1, "c1"), Op("bury", 2, FOREVER, "r1"), Op("settle", 4, 5, "c1", "over"),
        Op("grant", 6, 7, "c2"), Op("settle", 8, 9, "c2", "ok"),
    ],
    "a cancel and a result at the same time": [
        Op("grant", 0, 1, "c1"), Op("cancel", 2, 5, verdict="ok"), Op("settle", 2, 5, "c1", "over"),
    ],
    "the same claim offered again after a lost reply": [
        Op("grant", 0, 1, "c1"), Op("grant", 2, 3, "c1"), Op("settle", 4, 5, "c1", "ok"),
    ],
    "a deadline that passed": [
        Op("expire", 0, FOREVER), Op("grant", 0, 1, "c1"), Op("settle", 4, 5, "c1", "over"),
    ],
}  # fmt: skip


@pytest.mark.req("SIM-2")
@pytest.mark.parametrize("story", IMPOSSIBLE)
def test_the_search_refuses(story: str) -> None:
    assert not possible(IMPOSSIBLE[story], HOLDER)


@pytest.mark.parametrize("story", POSSIBLE)
def test_the_search_explains(story: str) -> None:
    assert possible(POSSIBLE[story], HOLDER)


def test_of_a_call_that_was_turned_away_a_second_copy_may_have_been_carried_out() -> None:
    history = History(lambda: 0.0)
    ending = ["release", "j1", "c1", "{}", "", ""]
    words = ["r1", "default", "7", "0", "nonce", "fair", "0", "1", *ending]
    turned_away = Call(0, "r1", "cycle", words, 2, 3, ["recalled"])
    repeated = Call(1, "r1", "cycle", words, 6, 7, ["ok", 1, 9, ["same"], []])
    history.calls += [turned_away, repeated]
    history.handed["c1"] = ("j1", "r1", 1.0)
    (ops,) = ops_by_job(history, ()).values()
    assert possible(ops, HOLDER)
    (alone,) = [op for op in ops if op.verdict == "same"]
    assert not possible([Op("grant", 0, 1, "c1"), alone], HOLDER), "somebody must have ended it"


# -- the other invariants, each broken once

EVENTS = {
    "1": "10 admit:->q gateway 0 0 {}",
    "2": "11 dispatch:q>y gateway 0 0 {}",
    "3": '12 claim:y>r runner 1 5 {"runner":"r1","claim":"1.5.x"}',
    "4": '13 settle:r>C runner 1 5 {"outcome":"done","reason":"completed"}',
}
JOB = {
    "state": "C", "seq": "4", "pool": "default", "class": "batch", "tenant": "acme", "ticket": "2",
    "attempt": "1", "epoch": "5", "past": "1.5.x", "runner": "r1", "result": '{"claim":"1.5.x"}',
    "outcome": "done", "finished_at": "13", "made_at": "10", "digest": "d",
    "spec": '{"name":"a","adapter":{"name":"command"},"inputs":{"sim":{"mark":"m"}}}', **EVENTS,
}  # fmt: skip
SHARD: dict[str, Any] = {
    "job:j": JOB, "pools": ["default"], "tenants": ["acme"], "instances": {"r1": "{}"},
    "retire:0": ["j"], "jobs:acme": [("j", 1)], "held:r1": {},
}  # fmt: skip
BROKEN_SHARDS: dict[str, Mapping[str, Any]] = {
    "a hole in the ledger": {"job:j": {k: v for k, v in JOB.items() if k != "2"}},
    "a state the ledger does not prove": {"job:j": {**JOB, "state": "F"}},
    "a slot held without a claim": {"held:r1": {"j": "1.5.x"}, "job:j": {**JOB, "state": "q"}},
    "a counter that is off": {"counters": {"depth:default:batch": "1"}},
    "an ended job nobody will remove": {"retire:0": []},
    "a key without an owner": {"inbox:r9": []},
    "an outcome waiting that is none": {"undecided": [("j:3", 1.0)]},
}


def test_a_sound_shard_has_no_faults() -> None:
    assert faults_of(SHARD) == []
    assert leftovers_of(SHARD) == []


@pytest.mark.parametrize("story", BROKEN_SHARDS)
def test_the_shard_checker_catches(story: str) -> None:
    assert faults_of({**SHARD, **BROKEN_SHARDS[story]})


@pytest.mark.parametrize("name", ["ready:default", "requests", "outcomes", "held:r1"])
def test_what_is_left_after_all_work_is_found(name: str) -> None:
    assert leftovers_of({**SHARD, name: [("1-0", {"j": "j:2"})]})


def _kinds(history: History) -> list[str]:
    return [kind for kind, _ in history.violations]


@pytest.fixture
def history() -> History:
    return History(lambda: 10.0)


def test_a_lost_and_a_doubled_submission_are_found(history: History) -> None:
    history.submissions = {
        "gone": Submission("gone", "raw", acked_job="j1", acked_at=5.0),
        "twice": Submission("twice", "raw"),
        "undone": Submission("undone", "raw", acked_job="j4", acked_at=8.0),
        "unread": Submission("unread", "raw", queued_at=5.0),
        "answered": Submission("answered", "raw", queued_at=5.0),
    }
    answers = {"answered": '{"code":"QUEUE_FULL"}'}
    checker.check_submissions(history, {"twice": ["j2", "j3"]}, [(7.0, 9.0)], answers)
    assert _kinds(history) == ["lost", "double", "lost"]


LEDGERS = {
    "a result of another claim": {"result": '{"claim":"1.4.y"}'},
    "a claim below the one before": {"3": EVENTS["3"], "4": EVENTS["3"].replace("1 5", "2 4")},
    "four runners lost": {
        str(n): '9 bury:r>r reaper 1 5 {"outcome":"lost","reason":"runner_dead"}' for n in range(1, 5)
    },
    "failed more often than allowed": {
        str(n): '9 release:r>r runner 1 5 {"outcome":"transient","reason":"x"}' for n in range(1, 5)
    },
    "blocked because it was canceled": {
        "3": '9 release:r>r runner 1 5 {"outcome":"canceled","reason":"canceled"}',
        "4": '9 block:r>b fallback 1 5 {"block_reason":"error"}',
    },
}  # fmt: skip


@pytest.mark.parametrize("story", LEDGERS)
def test_the_ledger_checker_catches(story: str, history: History) -> None:
    checker.check_job(history, "j", {**JOB, **LEDGERS[story]})
    assert history.violations


def test_a_sound_ledger_passes(history: History) -> None:
    checker.check_job(history, "j", JOB)
    assert history.violations == []


def test_an_entry_with_other_fields_than_the_catalogue_has_is_found(history: History) -> None:
    checker.check_fields(history, "j", {"seq": "1", "1": "0 admit:->q gateway 0 0 {}"})
    assert history.violations == []
    checker.check_fields(history, "j", {"seq": "1", "1": '0 admit:->q gateway 0 0 {"colour":1}'})
    checker.check_fields(history, "j", {"seq": "1", "1": "0 cancel:q>X gateway 0 0 {}"})
    assert [kind for kind, _ in history.violations] == ["broken"] * 3


def test_an_ended_job_that_changes_or_goes_is_found(history: History) -> None:
    terminals = Terminals(history)
    terminals.look({"j": JOB, "k": JOB})
    terminals.look({"j": {**JOB, "state": "F"}})
    assert _kinds(history) == ["double", "lost"]


def test_an_accepted_result_that_is_gone_is_found(history: History) -> None:
    cycle = Call(
        0, "r", "cycle", ["r1", "default", 1, 0, "x", "p", "", 1, "settle", "j", "1.5.x"], 1.0
    )
    cycle.returned_at, cycle.reply = 2.0, ["ok", 1, 1, ["ok"], [], []]
    history.calls = [cycle]
    checker.check_accepted(history, {"j": JOB})
    assert history.violations == []
    checker.check_accepted(history, {"j": {**JOB, "result": '{"claim":"1.9.z"}'}})
    assert _kinds(history) == ["lost"]


def test_an_agent_that_acts_after_its_burial_is_found(history: History) -> None:
    cycle = ["FCALL", "cycle_d", 1, "p", "r1"]
    history.executed("runner", cycle, ["ok", 1, 1, [], [["j", "1.5.x"]], []])
    history.acted("1.5.x")
    assert history.violations == []
    history.executed("reaper", ["FCALL", "bury_d", 1, "p", "r1"], ["ok", 1, 1, 1, 0])
    history.acted("1.5.x")
    assert _kinds(history) == ["double"]


# -- the plans


def test_kept_seeds_name_plans_and_say_what_they_found() -> None:
    assert len(load_regressions()) == REGRESSIONS.read_text().count("found = ")


def test_a_plan_gets_smaller_without_new_draws() -> None:
    plan = plan_of(7, "lua")
    assert plan == plan_of(7, "lua")
    assert plan_of(8, "lua") != plan
    for smaller in plan.smaller():
        assert smaller.seed == plan.seed
        assert smaller != plan


def test_both_tiers_have_the_shape_of_the_seam() -> None:
    from tests.sim.fast_backend import FastBackend
    from tests.sim.lua_backend import LuaBackend

    backends: list[Backend] = [LuaBackend(lambda: 0), FastBackend(lambda: 0)]
    for backend in backends:
        before = backend.snapshot()
        backend.execute(["HSET", "{orch:0}:meta", "a", "1"])
        assert backend.contents() == {"meta": {"a": "1"}}
        backend.restore(before)
        assert backend.contents() == {}
