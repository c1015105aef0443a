"""What people do to a running job: pause, resume, cancel, answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import ErrorCode, Refused
from contracts.events import EventType
from contracts.outcomes import Outcome
from contracts.states import BlockReason, State
from orch.client.frames import JobFrame
from tests.e2e.specs import shell, step, steps
from tests.e2e.stack import Stack, is_alive, wait_until

SPAWNS_A_TREE = """
echo $$ > pids; (echo $BASHPID >> pids; sleep 600) & setsid sh -c 'echo $$ >> pids; exec sleep 600' &
trap '' TERM; echo ready; while true; do sleep 0.1; done
"""


@pytest.mark.req("RUN-4", "FBK-1")
def test_a_paused_job_keeps_its_finished_steps_and_the_attempt_does_not_count(
    stack: Stack, tmp_path: Path
) -> None:
    told, go = tmp_path / "told", tmp_path / "go"
    spec = steps(
        step("first", f"echo ran >> {told}"),
        step("second", f"while [ ! -e {go} ]; do sleep 0.05; done"),
        step("third", f"cat {told}"),
        retry={"attempts_max": 1},
    )
    job_id = stack.client.submit(spec).job_id
    stack.wait_for_event(job_id, EventType.STEP_STARTED, step_id="second")
    assert stack.client.pause(job_id).pause_wished
    seq_after = len(stack.events_of(job_id))
    stack.client.pause(job_id)
    assert len(stack.events_of(job_id)) == seq_after, "a repeat adds no event"
    go.touch()
    stack.wait_for_state(job_id, State.PAUSED)
    assert stack.client.job(job_id).lease is None
    assert stack.client.resume(job_id).state in {State.QUEUED, State.READY, State.RUNNING}
    record = stack.client.wait(job_id, timeout_s=30)
    assert record.state is State.COMPLETED
    assert stack.stored(job_id).get("failures", "0") == "0"
    started = [e.payload["step_id"] for e in stack.events_of(job_id, EventType.STEP_STARTED)]
    assert (started.count("first"), started.count("third")) == (1, 1)
    assert "".join(line.text for line in stack.client.logs(job_id).lines) == "ran\n"


@pytest.mark.req("RUN-4")
def test_a_pause_within_the_grace_is_kept_by_force(stack: Stack) -> None:
    job_id = stack.client.submit(shell("echo up; exec sleep 600")).job_id
    stack.wait_for_output(job_id)
    stack.client.pause(job_id)
    stack.wait_for_state(job_id, State.PAUSED)
    assert stack.client.cancel(job_id).state is State.CANCELED


@pytest.mark.req("RUN-4", "EVT-2")
def test_cancel_kills_the_whole_process_tree_and_ends_the_stream(
    stack: Stack, tmp_path: Path
) -> None:
    spec = shell(SPAWNS_A_TREE, config={"cwd": str(tmp_path)})
    spec["adapter"]["config"]["argv"][0] = "/bin/bash"
    job_id = stack.client.submit(spec).job_id
    stack.wait_for_output(job_id)

    def told() -> list[str]:
        found = (tmp_path / "pids").read_text().split()
        return found if len(found) == 3 else []

    pids = wait_until(told, what="three processes")
    assert all(is_alive(int(pid)) for pid in pids)
    assert stack.client.cancel(job_id).state is State.CANCELED
    wait_until(lambda: not any(is_alive(int(pid)) for pid in pids), 10, what="the tree is dead")
    with pytest.raises(Refused) as refused:
        stack.client.pause(job_id)
    assert refused.value.code is ErrorCode.INVALID_TRANSITION
    assert stack.client.cancel(job_id).state is State.CANCELED
    frames: list[JobFrame] = list(stack.client.events(job_id))
    assert (frames[-1].event.value, frames[-1].data["state"]) == ("end", "canceled")
    record = stack.client.job(job_id)
    assert [one.outcome for one in record.attempts] == [Outcome.CANCELED]
    wait_until(lambda: job_id not in stack.held(), what="its slot is free")


@pytest.mark.req("RUN-4", "RUN-2")
@pytest.mark.drives("output_stored")
def test_canceling_jobs_in_full_cry_takes_nothing_from_the_output_of_others(stack: Stack) -> None:
    noisy = [stack.client.submit(shell("exec yes a longer line of text")).job_id for _ in range(4)]
    for job_id in noisy:
        stack.wait_for_output(job_id)
    for job_id in noisy:
        stack.client.cancel(job_id)
    wait_until(lambda: not set(noisy) & set(stack.held()), what="they are gone")
    record = stack.run(shell("for i in 1 2 3 4 5 6 7 8; do seq 1 20000; done; echo last"))
    assert record.state is State.COMPLETED


@pytest.mark.req("APR-1")
def test_a_question_frees_the_slot_and_its_answer_reaches_the_step(stack: Stack) -> None:
    decision = {"text": "Which colour?", "kind": "choose", "options": ["red", "blue"]}
    spec = steps(
        step("before", "echo before"),
        step("paint", 'echo "answer $ORCH_ANSWER"', decision=decision),
    )
    job_id = stack.client.submit(spec).job_id
    record = stack.client.wait(job_id, timeout_s=30)
    assert (record.state, record.block_reason) == (State.BLOCKED, BlockReason.DECISION)
    assert record.lease is None
    assert record.question is not None
    assert job_id not in stack.held()
    question_id = record.question.question_id
    unchanged = stack.stored(job_id)
    with pytest.raises(Refused) as unfit:
        stack.client.answer(job_id, question_id, "green")
    assert unfit.value.code is ErrorCode.INVALID_ANSWER
    assert stack.stored(job_id) == unchanged
    stack.client.answer(job_id, question_id, "blue", "I like it")
    with pytest.raises(Refused) as twice:
        stack.client.answer(job_id, question_id, "red")
    assert twice.value.code is ErrorCode.ALREADY_ANSWERED
    record = stack.client.wait(job_id, timeout_s=30)
    assert (record.state, record.attempt) == (State.COMPLETED, 2)
    lines = [line.text for line in stack.client.logs(job_id).lines]
    assert lines == ["before\n", 'answer "blue"\n']
    assert [
        e.payload.get("value") for e in stack.events_of(job_id, EventType.QUESTION_ANSWERED)
    ] == ["blue"]
    (consumed,) = stack.events_of(job_id, EventType.ANSWER_CONSUMED)
    assert consumed.payload["step_id"] == "paint"
    with pytest.raises(Refused) as late:
        stack.client.answer(job_id, question_id, "red")
    assert late.value.code is ErrorCode.ALREADY_ANSWERED


@pytest.mark.req("APR-1", "CLI-2")
def test_the_command_line_says_that_an_answer_is_needed_and_takes_it(stack: Stack) -> None:
    spec = steps(step("go", "echo went", decision={"text": "Go?", "kind": "approve"}))
    job_id = stack.client.submit(spec).job_id
    assert stack.orch("wait", job_id).code == 4
    question = stack.client.job(job_id).question
    assert question is not None
    assert stack.orch("answer", job_id, "approve").code == 0
    assert stack.orch("wait", job_id).code == 0
