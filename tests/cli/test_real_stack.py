"""The command line and a real stack that it started: what is typed ends as ledgers that prove their states.

What each command sends and prints is shown with a scripted gateway in the other files; here nothing is
played. The look behind all of these tests is `watched`, as behind the end-to-end tests.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.events import EventType
from contracts.limits import HOUR_MS
from contracts.states import State
from orch.system import SystemClock
from tests.cli.real_stack import TypedStack
from tests.e2e.specs import shell, step, steps
from tests.e2e.stack import watched

ONE_TRY = {"attempts_max": 1}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TypedStack]:
    """One stack for all tests of this file; they keep it whole."""
    root = tmp_path_factory.mktemp("typed")
    with watched(TypedStack(root, {"backoff_ms": 50, "backoff_ms_max": 200})) as running:
        yield running


@pytest.mark.req("JOB-4", "CLI-1")
def test_a_job_that_is_submitted_runs_and_each_command_tells_the_ledger_that_is_stored(
    stack: TypedStack,
) -> None:
    job_id = stack.submitted(shell("echo hello"), "--wait")
    told = [json.loads(line) for line in stack.orch("events", job_id, "--json").out.splitlines()]
    assert [event["seq"] for event in told] == list(range(1, int(stack.stored(job_id)["seq"]) + 1))
    moves = [event["payload"]["to"] for event in told if event["type"] == "status_changed"]
    assert moves[-1] == stack.orch("status", job_id, "--json").document["state"] == "completed"
    assert stack.orch("logs", job_id).out == "hello\n"
    assert job_id in stack.orch("list").out


@pytest.mark.req("JOB-4", "CLI-1")
def test_what_fails_is_a_dead_letter_and_its_replay_a_new_job(stack: TypedStack) -> None:
    job_id = stack.submitted(shell("exit 3", retry=ONE_TRY))
    assert stack.orch("wait", job_id).code == 1
    replayed = stack.orch("dead-letter", "replay", job_id, "--json").document
    (letter,) = replayed["letters"]
    assert letter["job_id"] == job_id
    assert stack.orch("wait", letter["replayed_as"]).code == 1
    assert stack.events_of(job_id, EventType.STATUS_CHANGED)[-1].payload["to"] == State.FAILED


@pytest.mark.req("JOB-4", "CLI-1")
def test_a_running_job_is_canceled_and_one_that_waits_is_paused_and_resumed(
    stack: TypedStack,
) -> None:
    endless = stack.submitted(shell("echo up; sleep 3600"))
    stack.wait_for_output(endless)
    assert stack.orch("cancel", endless).code == 0
    stack.wait_for_state(endless, State.CANCELED)
    in_an_hour_ms = SystemClock().wall_ms() + HOUR_MS
    later = stack.submitted(shell("true", not_before_ms=in_an_hour_ms))
    assert stack.orch("pause", later).code == 0
    assert stack.orch("resume", later).code == 0
    assert stack.orch("cancel", later).code == 0
    stack.wait_for_state(later, State.CANCELED)


@pytest.mark.req("JOB-4", "CLI-1")
def test_a_question_is_answered_and_the_job_goes_on(stack: TypedStack) -> None:
    approve = {"text": "Go?", "kind": "approve"}
    job_id = stack.submitted(steps(step("go", "echo went", decision=approve)))
    assert stack.orch("wait", job_id).code == 4
    assert stack.orch("approve", job_id).code == 0
    assert stack.orch("wait", job_id).code == 0
    assert stack.orch("logs", job_id).out == "went\n"


@pytest.mark.req("JOB-4")
def test_a_test_that_leaves_a_ledger_which_does_not_prove_its_state_fails(tmp_path: Path) -> None:
    stack = TypedStack(tmp_path, {})
    jobs: list[str] = []

    def leave_it_broken() -> None:
        with watched(stack):
            jobs.extend(stack.submitted(shell("true"), "--wait") for _ in range(2))
            stack.store_as(jobs[0], State.FAILED)
            stack.leave_out(jobs[1], seq=2)

    with pytest.raises(AssertionError):
        leave_it_broken()
    found = dict(fault.split(": ", 1) for fault in stack.found)
    assert found.keys() == {f"job {job_id}" for job_id in jobs}
    assert found[f"job {jobs[0]}"].startswith("its ledger says completed, it is stored as ")
    assert found[f"job {jobs[1]}"].startswith("ledger entry 2 of ")
