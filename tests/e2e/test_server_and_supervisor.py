"""The private server dies, the supervisor dies, the machine's user starts twice: the jobs go on."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from contracts.events import EventType
from contracts.states import State
from orch.cli.stack import actors_argv
from tests.e2e.conftest import StartStack
from tests.e2e.specs import shell, step, steps
from tests.e2e.stack import Stack, a_stack, environ, is_alive, wait_until
from tests.e2e.submitter import Submitter


@pytest.mark.req("LSE-1", "REA-3", "ARC-1")
def test_the_private_server_is_killed_under_load_and_no_acknowledged_job_is_lost(
    start_stack: StartStack,
) -> None:
    stack = start_stack()
    with Submitter(stack) as submitter:
        echoes = stack.submit_echoes(300, each_ms=10)
        wait_until(lambda: stack.completed(echoes) > 20, what="the load runs")
        dead = stack.kill("server")
        wait_until(lambda: set(stack.pids("server")) - {dead}, what="the server is back")
        wait_until(stack.answers, what="the gateway answers")
        many = len(submitter.acknowledged)
        wait_until(lambda: len(submitter.acknowledged) > many + 10, what="submissions go on")
    assert len(set(submitter.acknowledged.values())) == len(submitter.acknowledged)
    stack.wait_for_echoes({**echoes, **submitter.acknowledged})


@pytest.mark.req("ARC-1", "LSE-4")
def test_the_supervisor_is_killed_everything_stops_and_the_next_start_goes_on(
    start_stack: StartStack,
) -> None:
    stack = start_stack(runners=2)
    go, told = stack.root / "go", stack.root / "told"
    spec = steps(
        step("first", f"echo ran >> {told}"),
        step("second", f"echo up; while [ ! -e {go} ]; do sleep 0.1; done"),
    )
    slow = stack.client.submit(spec).job_id
    stack.wait_for_event(slow, EventType.STEP_STARTED, step_id="second")
    echoes = stack.submit_echoes(300, each_ms=20)
    wait_until(lambda: stack.completed(echoes) > 10, what="the load runs")
    stack.kill_supervisor()
    wait_until(lambda: not stack.processes(), 15, what=f"all is gone: {stack.processes()}")
    go.touch()
    stack.start()
    stack.wait_for_echoes(echoes)
    assert stack.client.wait(slow, timeout_s=30).state is State.COMPLETED
    assert told.read_text() == "ran\n"


@pytest.mark.req("RUN-6")
def test_the_stack_is_asked_to_leave_and_its_jobs_go_on_later(start_stack: StartStack) -> None:
    stack = start_stack()
    slow = stack.client.submit(shell("echo up; exec sleep 600")).job_id
    stack.wait_for_output(slow)
    echoes = stack.submit_echoes(200, each_ms=20)
    stack.end()
    stack.start()
    stack.wait_for_echoes(echoes)
    stack.wait_for_state(slow, State.RUNNING)
    first, *_ = stack.client.job(slow).attempts
    assert first.reason == "interrupted"
    assert stack.stored(slow).get("failures", "0") == "0"
    stack.client.cancel(slow)


@pytest.mark.req("RUN-6", "RUN-5")
def test_a_runner_that_leaves_stops_between_two_steps_and_another_goes_on(
    start_stack: StartStack,
) -> None:
    stack = start_stack(slots=1, grace_ms=20_000)
    told, go = stack.root / "told", stack.root / "go"
    spec = steps(
        step("first", f"while [ ! -e {go} ]; do sleep 0.1; done; echo first >> {told}"),
        step("second", f"echo second >> {told}"),
        retry={"attempts_max": 1},
    )
    job_id = stack.client.submit(spec).job_id
    stack.wait_for_event(job_id, EventType.STEP_STARTED, step_id="first")
    leaving = stack.kill("runner", signal.SIGTERM)
    wait_until(lambda: '"leaving"' in stack.log.read_text(), what="the runner heard the signal")
    go.touch()
    record = stack.client.wait(job_id, timeout_s=30)
    assert not is_alive(leaving)
    assert record.state is State.COMPLETED
    assert [one.reason for one in record.attempts] == ["interrupted", "completed"]
    assert told.read_text() == "first\nsecond\n"
    first, second = stack.events_of(job_id, EventType.STEP_STARTED)
    assert (first.attempt, second.attempt) == (1, 2), "nothing was begun after the signal"


@pytest.mark.req("CLI-1")
def test_a_second_up_finds_the_first_and_the_actors_refuse_its_home(stack: Stack) -> None:
    before = stack.processes()
    second = stack.orch("up", "--detach", "--wait", "--json")
    assert (second.code, second.document["pid"]) == (0, stack.endpoint()["pid"])
    assert second.document == {**stack.endpoint(), "redis_url": second.document["redis_url"]}
    raw = stack.spawn_up()
    assert raw.wait(20) == 6
    error = json.loads((stack.home / "up.error.json").read_text())
    assert (error["code"], error["details"]["pid"]) == ("HOME_IN_USE", stack.endpoint()["pid"])
    assert stack.processes() == before
    assert stack.run(shell("true")).state is State.COMPLETED


@pytest.mark.req("CLI-1", "ARC-1")
def test_two_stacks_live_side_by_side_and_know_nothing_of_each_other(
    stack: Stack, start_stack: StartStack
) -> None:
    other = start_stack("other")
    assert stack.url != other.url
    mine, theirs = stack.submit_echoes(50), other.submit_echoes(50)
    stack.wait_for_echoes(mine)
    other.wait_for_echoes(theirs)
    assert not any(stack.stored(job_id) for job_id in theirs)
    other.end()
    assert stack.run(shell("true")).state is State.COMPLETED


@pytest.mark.req("CLI-1")
def test_a_home_locked_by_something_else_is_refused_and_a_stale_lock_is_not(tmp_path: Path) -> None:
    import fcntl
    import subprocess

    home = tmp_path / "home"
    home.mkdir()
    (home / "lock").write_text(str(os.getpid()))
    with (home / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = subprocess.run(
            actors_argv("up", "--home", str(home)),
            env=environ(),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=40,
            check=False,
        )
    assert (ended.returncode, ended.stderr.partition(":")[0]) == (6, "HOME_IN_USE")
    assert str(os.getpid()) in ended.stderr
    assert not (home / "endpoint.json").exists()
    # The same file without the lock is what a crash leaves behind.
    (home / "endpoint.json").write_text(json.dumps({"url": "http://127.0.0.1:9", "pid": 2**22}))
    with a_stack(tmp_path) as stack:
        assert stack.run(shell("true")).state is State.COMPLETED


@pytest.mark.req("RUN-6", "LSE-1")
def test_a_runner_asked_to_leave_hands_back_what_it_had_not_begun(start_stack: StartStack) -> None:
    stack = start_stack(slots=2, python_workers=1, grace_ms=10_000)
    go = stack.root / "go"
    running = [
        stack.client.submit(shell(f"echo up; while [ ! -e {go} ]; do sleep 0.1; done")).job_id
        for _ in range(2)
    ]
    for job_id in running:
        stack.wait_for_output(job_id)
    waiting = stack.submit_echoes(20)
    leaving = stack.kill("runner", signal.SIGTERM)
    go.touch()
    stack.wait_for_echoes(waiting)
    assert not is_alive(leaving)
    for job_id in running:
        record = stack.client.wait(job_id, timeout_s=30)
        assert (record.state, record.attempt) == (State.COMPLETED, 1)
