"""`kill -9` of any one actor under load: no job is lost, every job completes once, the part serves again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.start import ROLES
from contracts.events import EventType
from contracts.outcomes import Outcome
from contracts.states import State
from ops import timeline
from orch.store.keys import Keys
from orch.system import SystemIds
from tests.e2e.specs import shell, step, steps
from tests.e2e.stack import Stack, a_stack, is_alive, wait_until
from tests.e2e.test_metrics import scraped, total


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    root = tmp_path_factory.mktemp("stack")
    with a_stack(root, runners=2, lease_ms=4_000, backoff_ms=10, backoff_ms_max=10) as running:
        yield running


def three_steps(stack: Stack, name: str) -> str:
    """A job whose first step tells every run, and whose second one goes on until the test says so."""
    told, go = stack.root / f"{name}.told", stack.root / f"{name}.go"
    spec = steps(
        step("first", f"echo ran >> {told}"),
        step("second", f"while [ ! -e {go} ]; do sleep 0.05; done"),
        step("third", f"cat {told}"),
    )
    job_id = stack.client.submit(spec).job_id
    stack.wait_for_event(job_id, EventType.STEP_STARTED, step_id="second")
    return job_id


def let_go(stack: Stack, name: str) -> None:
    (stack.root / f"{name}.go").touch()


def proves_admission(stack: Stack) -> None:
    request_id = SystemIds().token()
    fields = {"v": "1", "request_id": request_id, "spec": json.dumps(shell("true"))}
    stack.redis.xadd(Keys().requests, fields)
    answer = wait_until(lambda: stack.redis.get(Keys().answer(request_id)), what="an answer")
    job_id = json.loads(answer)["job_id"]
    assert stack.client.wait(job_id, timeout_s=30).state is State.COMPLETED


def proves_fallback(stack: Stack) -> None:
    spec = shell('[ "$ORCH_ATTEMPT" = 2 ] || exit 75')
    record = stack.run(spec)
    assert [one.outcome for one in record.attempts] == [Outcome.TRANSIENT, Outcome.DONE]


def proves_scheduler(stack: Stack) -> None:
    soon = int(stack.redis.time()[0] + 1) * 1_000
    record = stack.run(shell("true", not_before_ms=soon))
    assert record.started_at_ms is not None
    assert record.started_at_ms >= soon


def proves_any(stack: Stack) -> None:
    assert stack.run(shell("true")).state is State.COMPLETED


PROOFS = {
    "admission": proves_admission,
    "fallback": proves_fallback,
    "scheduler": proves_scheduler,
}


@pytest.mark.req("ARC-1", "LSE-1", "REA-4")
@pytest.mark.parametrize("role", ROLES)
def test_a_killed_part_loses_nothing_and_serves_again(stack: Stack, role: str) -> None:
    slow = three_steps(stack, role)
    echoes = stack.submit_echoes(200, each_ms=5)
    wait_until(lambda: stack.completed(echoes) > 10, what="the load runs")
    dead = stack.kill(role)
    stack.wait_for_echoes(echoes)
    wait_until(
        lambda: stack.pids(role) and set(stack.pids(role)) <= stack.serving_pids(role) - {dead},
        what=f"{role} is back",
    )
    wait_until(stack.answers, what="the gateway answers")
    let_go(stack, role)
    assert stack.client.wait(slow, timeout_s=30).state is State.COMPLETED
    assert "".join(line.text for line in stack.client.logs(slow).lines) == "ran\n"
    PROOFS.get(role, proves_any)(stack)


def counted(stack: Stack) -> list[int]:
    """The dead and their jobs, as the data have them."""
    return [int(n or 0) for n in stack.redis.hmget(Keys().meta, "burials", "recovered")]


def told(stack: Stack) -> list[float]:
    """The same, as the reaper exports it."""
    text = scraped(stack, "reaper-1")
    names = ("orch_cluster_burials_total", "orch_cluster_stale_recovered_total")
    return [total(text, name) for name in names]


@pytest.mark.req("REA-2", "REA-4", "RUN-5", "LSE-1", "MET-1")
def test_another_runner_takes_over_at_once_and_finished_steps_do_not_run_again(
    stack: Stack,
) -> None:
    job_id = three_steps(stack, "taken")
    before = stack.client.job(job_id)
    assert before.lease is not None
    about = stack.instances()[before.lease.worker_id]
    victims = [one for one in stack.pids("runner") if one == about["pid"]]
    assert victims
    burials, recovered = counted(stack)
    stack.kill_pid(victims[0])
    stack.wait_for_event(job_id, EventType.STALE_RECOVERED, worker=before.lease.worker_id)
    let_go(stack, "taken")
    record = stack.client.wait(job_id, timeout_s=30)
    assert (record.state, record.attempt) == (State.COMPLETED, 2)
    first, second = record.attempts
    assert (first.outcome, second.outcome) == (Outcome.LOST, Outcome.DONE)
    assert first.epoch < second.epoch
    assert first.runner != second.runner
    # It is the supervisor that buries a runner whose end it saw, and nobody scrapes a supervisor.
    assert counted(stack)[0] > burials
    assert counted(stack)[1] > recovered
    wait_until(lambda: told(stack) == counted(stack), what="the burial and its job are told")
    started = [
        (event.attempt, event.payload["step_id"])
        for event in stack.events_of(job_id, EventType.STEP_STARTED)
    ]
    assert started == [(1, "first"), (1, "second"), (2, "second"), (2, "third")]


@pytest.mark.req("REA-1", "LSE-6")
def test_the_dead_are_buried_and_nothing_of_them_is_kept(stack: Stack) -> None:
    dead = stack.kill("admission")
    wait_until(
        lambda: all(is_alive(about["pid"]) for about in stack.instances().values()),
        what="only the living are registered",
    )
    wait_until(lambda: stack.serving_pids("admission") - {dead}, what="admission is back")
    readers = stack.redis.xinfo_consumers(Keys().requests, "admission")
    assert {one["name"] for one in readers} <= set(stack.instances())


@pytest.mark.req("REA-2", "FBK-4")
def test_a_job_that_kills_its_runner_three_times_is_a_dead_letter_and_others_go_on(
    stack: Stack,
) -> None:
    # The guard is the agent's parent, the runner the guard's.
    runner = "$(awk '/^PPid/ {print $2}' /proc/$PPID/status)"
    poison = stack.client.submit(shell(f"kill -9 {runner}; sleep 60")).job_id
    record = stack.client.wait(poison, timeout_s=60)
    assert (record.state, record.outcome) == (State.FAILED, Outcome.LOST)
    assert [one.outcome for one in record.attempts] == [Outcome.LOST] * 3
    (end,) = stack.events_of(poison, EventType.JOB_FAILED)
    assert (end.payload["reason"], end.payload["crashes"]) == ("poison", 3)
    assert poison in {letter.job_id for letter in stack.client.dead_letters().dead_letters}
    stack.wait_for_echoes(stack.submit_echoes(50))


@pytest.mark.req("RUN-5", "RUN-8", "EVT-1")
@pytest.mark.drives("step_unknown", "step_skipped", "step_failed")
def test_a_step_with_effects_that_nobody_saw_end_is_skipped_by_a_human_and_the_next_one_fails(
    stack: Stack,
) -> None:
    runner = "$(awk '/^PPid/ {print $2}' /proc/$PPID/status)"
    deploy = step("deploy", f"kill -9 {runner}; sleep 60", effect="side_effect")
    job_id = stack.client.submit(steps(deploy, step("check", "exit 3"))).job_id
    asked = stack.client.wait(job_id, timeout_s=30)
    assert asked.question is not None
    stack.client.answer(job_id, asked.question.question_id, "skip", "it is deployed")
    assert stack.client.wait(job_id, timeout_s=30).outcome is Outcome.LOGIC
    (skipped,) = stack.events_of(job_id, EventType.STEP_SKIPPED)
    (failed,) = stack.events_of(job_id, EventType.STEP_FAILED)
    assert (skipped.payload["step_id"], skipped.payload["executed"]) == ("deploy", False)
    assert (failed.payload["step_id"], failed.payload["exit_code"]) == ("check", 3)


@pytest.mark.req("EVT-5", "DOC-1")
@pytest.mark.drives(
    "status_changed", "stale_recovered", "step_unknown", "step_started", "artifact_recorded", "step_finished",
    "question_asked", "question_answered", "answer_consumed", "job_resumed", "job_timeout", "job_failed",
    "replayed",
)  # fmt: skip
def test_the_documented_timeline_is_what_happens(stack: Stack, tmp_path: Path) -> None:
    kept = json.loads((timeline.ROOT / timeline.FILE).read_bytes())
    told = timeline.tell(stack.client, tmp_path)
    for new, old in zip(told, kept, strict=True):
        assert new["events"] == old["events"], "if meant: python -m ops.timeline, make generate"
    assert told == kept
