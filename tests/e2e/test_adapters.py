"""A job of each adapter, from the front door to its record."""

from __future__ import annotations

import pytest

from contracts.outcomes import Outcome
from contracts.states import State
from orch.client import Endpoint, OrchSync
from tests.e2e.specs import call, command, shell, step, steps
from tests.e2e.stack import Stack

CALLER = "00-" + "c" * 32 + "-" + "d" * 16 + "-01"


@pytest.mark.req("RUN-1", "LSE-7", "FBK-6")
def test_a_command_runs_and_its_status_shows_attempt_epoch_and_timings(stack: Stack) -> None:
    job_id = stack.client.submit(shell("echo hello; echo oops >&2")).job_id
    record = stack.client.wait(job_id, timeout_s=30)
    assert (record.state, record.outcome, record.attempt) == (State.COMPLETED, Outcome.DONE, 1)
    assert record.result == {"exit_code": 0}
    (attempt,) = record.attempts
    assert (attempt.attempt, attempt.exit_code, attempt.reason) == (1, 0, "completed")
    assert attempt.epoch == record.epoch > 2**32
    assert attempt.ended_at_ms is not None
    assert record.started_at_ms is not None
    assert record.finished_at_ms is not None
    assert record.created_at_ms <= record.started_at_ms <= record.finished_at_ms
    assert attempt.started_at_ms <= attempt.ended_at_ms
    lines = [(line.stream, line.text) for line in stack.client.logs(job_id).lines]
    assert sorted(lines) == [("stderr", "oops\n"), ("stdout", "hello\n")]
    assert stack.orch("status", job_id, "--json").document == record.model_dump(mode="json")


@pytest.mark.req("LSE-5")
def test_an_agent_sees_its_fence_and_nothing_of_ours_besides(stack: Stack) -> None:
    job_id = stack.client.submit(command("env")).job_id
    record = stack.client.wait(job_id, timeout_s=30)
    text = "".join(line.text for line in stack.client.logs(job_id).lines)
    seen = dict(line.split("=", 1) for line in text.splitlines())
    assert seen["ORCH_JOB_ID"] == job_id
    assert seen["ORCH_FENCE"] == str(record.epoch)
    assert seen["ORCH_ATTEMPT"] == "1"
    assert seen["ORCH_URL"] == stack.url
    assert {"ORCH_REDIS_URL", "PYTHONPATH", "ORCH_HOME"} & set(seen) == set()


@pytest.mark.req("RUN-1", "RUN-5", "RUN-8")
@pytest.mark.drives("step_started", "step_finished", "artifact_recorded")
def test_steps_run_in_order_and_leave_their_artifacts(stack: Stack) -> None:
    spec = steps(
        step("make", 'echo made > "$ORCH_ARTIFACT_DIR/report.txt"'),
        step("show", "echo shown"),
    )
    job_id = stack.client.submit(spec).job_id
    record = stack.client.wait(job_id, timeout_s=30)
    assert record.state is State.COMPLETED
    events = stack.client.ledger(job_id).events
    walked = [(e.type.value, e.payload["step_id"]) for e in events if "step_id" in e.payload]
    assert walked == [
        ("step_started", "make"),
        ("artifact_recorded", "make"),
        ("step_finished", "make"),
        ("step_started", "show"),
        ("step_finished", "show"),
    ]
    (artifact,) = stack.client.artifacts(job_id).artifacts
    assert (artifact.name, artifact.step_id) == ("report.txt", "make")
    assert stack.client.artifact_bytes(job_id, artifact.sha256) == b"made\n"


@pytest.mark.req("RUN-1")
@pytest.mark.parametrize(("function", "isolation"), [("echo", "process"), ("async_echo", "inline")])
def test_a_python_function_gives_its_value_as_the_result(
    stack: Stack, function: str, isolation: str
) -> None:
    value = {"n": [1, 2.5, None, "ä"]}
    spec = call(function, value, config={"isolation": isolation})
    record = stack.client.wait(stack.client.submit(spec).job_id, timeout_s=30)
    assert (record.state, record.result) == (State.COMPLETED, value)


@pytest.mark.req("RUN-7")
def test_a_batch_of_small_jobs_is_drained_each_with_its_own_result(stack: Stack) -> None:
    answer = stack.client.submit_batch([call("echo", n) for n in range(500)])
    job_ids = [item.job.job_id for item in answer.items if item.job is not None]
    assert len(set(job_ids)) == 500
    for n, job_id in reversed(list(enumerate(job_ids))):
        record = stack.client.wait(job_id, timeout_s=30)
        assert (record.state, record.result, record.attempt) == (State.COMPLETED, n, 1)


@pytest.mark.req("MET-3")
def test_without_tracing_a_callers_context_reaches_the_agent_and_no_other_job_grows(
    stack: Stack,
) -> None:
    with OrchSync(Endpoint(stack.url, traceparent=CALLER)) as client:
        job_id = client.submit(shell('echo "$TRACEPARENT"')).job_id
        client.wait(job_id, timeout_s=30)
    assert stack.client.logs(job_id).lines[0].text == f"{CALLER}\n"
    plain = stack.run(shell('echo "${TRACEPARENT-none}"')).job_id
    assert stack.client.logs(plain).lines[0].text == "none\n"
    assert "_carried" not in stack.stored(plain)["spec"]
