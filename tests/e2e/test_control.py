"""Operators' commands with real processes: pools that drain, gates that close, late comers that obey."""

from __future__ import annotations

import json
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from contracts.commands import OVER, CommandStatus
from contracts.control import ControlRecord
from contracts.errors import OrchError
from contracts.events import EventType
from contracts.states import State
from orch.store.keys import Keys
from tests.e2e.conftest import StartStack
from tests.e2e.specs import call, shell, step, steps
from tests.e2e.stack import Stack, wait_until


def over(stack: Stack, command_id: str) -> ControlRecord:
    """The record of a command that has come to its end."""

    def found() -> ControlRecord | None:
        try:
            record = stack.client.commanded(command_id)
        except OrchError:
            return None
        return record if record.status in OVER else None

    return wait_until(found, what=f"the end of {command_id}")


def given(stack: Stack, command: str, target: str, **args: Any) -> ControlRecord:
    """A command, carried out to its end."""
    return over(stack, stack.client.control(command, target, args).command_id)


def readiness(stack: Stack, part: str) -> dict[str, Any]:
    """What a part says on its own port."""
    url = stack.endpoint()["metrics"][part].replace("/metrics", "/readyz")
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            status, body = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read()
    return {"status": status, **json.loads(body)}


@pytest.fixture
def whole(stack: Stack) -> Iterator[Stack]:
    """A stack whose pool takes work again after the test."""
    yield stack
    given(stack, "undrain", "pool:default")
    given(stack, "resume", "*")


@pytest.mark.req("CTL-1", "CTL-3")
def test_a_pool_is_drained_while_a_job_runs_and_takes_work_again(whole: Stack) -> None:
    go = whole.root / "go"
    slow = whole.client.submit(shell(f"echo up; while [ ! -e {go} ]; do sleep 0.05; done")).job_id
    whole.wait_for_output(slow)
    drain = whole.client.control("drain", "pool:default").command_id
    wait_until(lambda: whole.client.pool_health("default").draining, what="the flag is visible")
    wait_until(lambda: whole.client.commanded(drain).acked, what="the runner obeys")
    record = whole.client.commanded(drain)
    assert (record.status, record.waiting) == (CommandStatus.APPLIED, record.expected)
    assert readiness(whole, "runner-default-1")["draining"] is True
    assert readiness(whole, "runner-default-1")["status"] == 503
    late = whole.client.submit(call("echo", 7)).job_id
    go.touch()
    record = over(whole, drain)
    assert record.status is CommandStatus.DONE
    assert record.outcome is not None
    assert (record.outcome["force_stopped"], record.outcome["left"]) == (0, 0)
    assert whole.client.job(slow).state is State.COMPLETED
    assert whole.client.job(late).state is State.QUEUED, "admitted, and given to nobody"
    assert whole.client.scale("default").workload == 1
    given(whole, "undrain", "pool:default")
    assert whole.client.wait(late, timeout_s=20).state is State.COMPLETED
    assert readiness(whole, "runner-default-1")["status"] == 200


@pytest.mark.req("CTL-3")
def test_at_the_deadline_what_is_left_goes_back_with_what_it_had_finished(whole: Stack) -> None:
    told, go = whole.root / "told", whole.root / "go-on"
    spec = steps(
        step("first", f"echo ran >> {told}"),
        step("second", f"echo up; while [ ! -e {go} ]; do sleep 0.05; done"),
    )
    slow = whole.client.submit(spec).job_id
    whole.wait_for_event(slow, EventType.STEP_STARTED, step_id="second")
    record = given(whole, "drain", "pool:default", deadline_ms=200)
    assert record.outcome is not None
    assert (record.outcome["force_stopped"], record.outcome["left"]) == (1, 0)
    assert 200 <= record.outcome["duration_ms"] < 20_000
    whole.wait_for_state(slow, State.QUEUED)
    go.touch()
    given(whole, "undrain", "pool:default")
    ended = whole.client.wait(slow, timeout_s=20)
    assert ended.state is State.COMPLETED
    assert [one.outcome for one in ended.attempts][-1] == "done"
    assert told.read_text() == "ran\n", "the finished step was not run again"


@pytest.mark.req("CTL-3")
def test_one_runner_is_drained_and_its_neighbour_does_the_work(start_stack: StartStack) -> None:
    stack = start_stack(runners=2, slots=1)
    runners = sorted(n for n, one in stack.instances().items() if one["role"] == "runner")
    record = given(stack, "drain", f"runner:{runners[0]}")
    assert record.expected == [runners[0]]
    echoes = stack.submit_echoes(20, each_ms=1)
    stack.wait_for_echoes(echoes)
    workers = {one.runner for job in echoes for one in stack.client.job(job).attempts}
    assert workers == {runners[1]}
    health = stack.client.pool_health("default")
    assert {one.runner: one.status for one in health.runners} == {
        runners[0]: "draining",
        runners[1]: "ready",
    }


@pytest.mark.req("CTL-1", "CTL-2")
def test_a_command_by_hand_is_obeyed_and_acknowledged_well_within_a_second(whole: Stack) -> None:
    fields = {"v": "1", "id": "by-hand", "command": "pause", "target": "*", "args": "{}"}
    whole.redis.xadd(Keys().control, fields)
    record = over(whole, "by-hand")
    roles = {whole.instances()[name]["role"] for name in record.acked}
    assert roles == {"admission", "gateway", "runner", "scheduler"}
    assert record.ended_at_ms is not None
    assert record.ended_at_ms - record.at_ms < 1_000
    told = [fields["what"] for _, fields in whole.redis.xrange(Keys().acks)]
    assert told[-1] == "done"


@pytest.mark.req("CTL-5")
def test_a_command_given_while_the_scheduler_is_down_is_obeyed_when_it_returns(
    whole: Stack,
) -> None:
    old = whole.kill("scheduler", signal.SIGSTOP)
    drain = whole.client.control("drain", "pool:default").command_id
    assert whole.client.commanded(drain).status is CommandStatus.PUSHED
    whole.kill_pid(old, signal.SIGKILL)
    assert over(whole, drain).status is CommandStatus.DONE


@pytest.mark.req("CTL-5")
def test_a_runner_that_starts_later_obeys_what_was_commanded_before(whole: Stack) -> None:
    given(whole, "drain", "pool:default")
    dead = whole.kill("runner")
    wait_until(lambda: whole.serving_pids("runner") - {dead}, what="the next runner serves")
    job = whole.client.submit(call("echo", 1)).job_id
    wait_until(
        lambda: readiness(whole, "runner-default-1")["draining"], what="the new one drains too"
    )
    assert whole.client.job(job).state is State.QUEUED
    given(whole, "undrain", "pool:default")
    assert whole.client.wait(job, timeout_s=20).state is State.COMPLETED


@pytest.mark.req("CTL-1")
def test_jobs_are_canceled_by_filter_whether_they_wait_or_run(whole: Stack) -> None:
    runs = whole.client.submit(shell("echo up; sleep 60", labels={"team": "x"})).job_id
    whole.wait_for_output(runs)
    waits = whole.client.submit(
        shell("true", labels={"team": "x"}, not_before_ms=4 * 10**12)
    ).job_id
    other = whole.client.submit(shell("true", not_before_ms=4 * 10**12)).job_id
    which = {"label": "team=x"}
    record = given(whole, "cancel", "*", filter=which, dry_run=True)
    assert record.outcome == {"matched": 2, "canceled": 0}
    record = given(whole, "cancel", "*", filter=which)
    assert record.outcome == {"matched": 2, "canceled": 2}
    states = [whole.client.job(one).state for one in (runs, waits, other)]
    assert states == [State.CANCELED, State.CANCELED, State.SCHEDULED]
    whole.client.cancel(other)


@pytest.mark.req("CTL-2", "CLI-2")
def test_the_command_line_gives_waits_and_shows(whole: Stack) -> None:
    ended = whole.orch("control", "drain", "pool:default", "--wait", "--id", "cli-1")
    assert (ended.code, ended.err) == (0, "")
    assert "done" in ended.out
    again = whole.orch("control", "drain", "pool:default", "--id", "cli-1")
    assert (again.code, again.err.partition(":")[0]) == (6, "DUPLICATE_COMMAND")
    stale = whole.orch("control", "undrain", "pool:default", "--wait", "--if-revision", "0")
    assert (stale.code, stale.err.partition(":")[0]) == (1, "REVISION_CONFLICT")
    typo = whole.orch("control", "drain", "pool:typo", "--wait", "--json")
    assert (typo.code, json.loads(typo.out)["code"]) == (6, "NOT_FOUND")
    shown = whole.orch("control", "status", "cli-1", "--json").document
    assert (shown["command"], shown["status"]) == ("drain", "done")
    listed = whole.orch("control", "list", "--json").document
    assert "cli-1" in [one["command_id"] for one in listed["commands"]]
    assert "draining" in whole.orch("pools").out
    limited = whole.orch("control", "set-limit", "tenant:t", "weight", "3", "--wait", "--json")
    assert limited.document["args"] == {"limit": "weight", "value": 3}
    assert whole.redis.hget(Keys().desired, "tenant:t:weight") == "3"
    lifted = whole.orch("control", "set-limit", "tenant:t", "weight", "null", "--wait")
    assert lifted.code == 0
    assert whole.redis.hget(Keys().desired, "tenant:t:weight") is None
