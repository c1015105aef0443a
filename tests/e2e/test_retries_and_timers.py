"""What happens after a failure, and what happens at a time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contracts.errors import ErrorCode, Refused
from contracts.events import EventType
from contracts.outcomes import Outcome
from contracts.record import JobRecord
from contracts.states import State
from tests.e2e.specs import call, command, shell
from tests.e2e.stack import Stack, a_stack, is_alive, wait_until

TWICE = {"attempts_max": 2, "backoff_ms": 50}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    root = tmp_path_factory.mktemp("stack")
    with a_stack(root, backoff_ms=20, backoff_ms_max=100) as running:
        yield running


def endings(record: JobRecord) -> list[tuple[Outcome | None, str | None, int | None]]:
    return [(one.outcome, one.reason, one.exit_code) for one in record.attempts]


@pytest.mark.req("FBK-1", "FBK-2", "FBK-4", "FBK-6")
def test_a_transient_failure_is_retried_after_a_backoff_until_it_is_a_dead_letter(
    stack: Stack,
) -> None:
    record = stack.run(shell("exit 75", retry={"attempts_max": 3, "backoff_ms": 50}))
    assert (record.state, record.outcome) == (State.FAILED, Outcome.TRANSIENT)
    assert endings(record) == [(Outcome.TRANSIENT, "exit_code", 75)] * 3
    events = stack.events_of(record.job_id)
    waits = [e.payload["due_at_ms"] - e.at_ms for e in events if "delay_ms" in e.payload]
    assert all(0 <= wait <= ceiling for wait, ceiling in zip(waits, (50, 100), strict=False))
    (failed,) = stack.events_of(record.job_id, EventType.JOB_FAILED)
    assert failed.payload["reason"] == "attempts_used"
    assert stack.redis.zscore("{orch:0}:dead:default", record.job_id) is not None
    assert events[-1].payload["to"] == "failed"


@pytest.mark.req("FBK-1")
def test_a_failure_of_logic_is_not_retried_unless_the_spec_names_it(stack: Stack) -> None:
    alone = stack.run(shell("exit 3"))
    named = stack.run(shell("exit 3", retry={**TWICE, "on": ["logic"]}))
    other = stack.run(shell("exit 75", retry={**TWICE, "on": ["logic"]}))
    assert endings(alone) == [(Outcome.LOGIC, "exit_code", 3)]
    assert endings(named) == [(Outcome.LOGIC, "exit_code", 3)] * 2
    assert endings(other) == [(Outcome.TRANSIENT, "exit_code", 75)]
    assert {alone.state, named.state, other.state} == {State.FAILED}


@pytest.mark.req("FBK-1", "RUN-3")
@pytest.mark.parametrize(
    ("config", "reason"), [({"wall_ms": 200}, "wall_limit"), ({"idle_ms": 200}, "idle_limit")]
)
def test_a_command_over_its_limit_is_stopped_and_tried_again(
    stack: Stack, config: dict[str, int], reason: str
) -> None:
    record = stack.run(command("sleep", "600", config=config, retry=TWICE))
    assert record.state is State.FAILED
    assert [(o, r) for o, r, _ in endings(record)] == [(Outcome.RESOURCE, reason)] * 2
    assert len(stack.events_of(record.job_id, EventType.JOB_TIMEOUT)) == 2


@pytest.mark.req("SCH-3")
def test_a_job_does_not_start_before_its_time(stack: Stack) -> None:
    seconds, micros = stack.redis.time()
    at_ms = seconds * 1_000 + micros // 1_000 + 700
    job_id = stack.client.submit(shell("true", not_before_ms=at_ms)).job_id
    assert stack.client.job(job_id).state is State.SCHEDULED
    record = stack.client.wait(job_id, timeout_s=30)
    assert record.started_at_ms is not None
    assert record.started_at_ms >= at_ms


@pytest.mark.req("REA-1", "EVT-2")
def test_a_deadline_expires_a_running_job_and_stops_its_agent(stack: Stack) -> None:
    seconds, _ = stack.redis.time()
    spec = shell("echo $$; exec sleep 600", deadline_ms=(seconds + 2) * 1_000)
    job_id = stack.client.submit(spec).job_id
    pid = int(stack.wait_for_output(job_id))
    record = stack.client.wait(job_id, timeout_s=30)
    assert (record.state, record.outcome) == (State.EXPIRED, Outcome.EXPIRED)
    assert [one.outcome for one in record.attempts] == [Outcome.EXPIRED]
    wait_until(lambda: not is_alive(pid), what="the agent is stopped")
    wait_until(lambda: job_id not in stack.held(), what="its slot is free")
    assert [frame.event.value for frame in stack.client.events(job_id)][-1] == "error"


@pytest.mark.req("REA-1")
def test_a_deadline_expires_a_job_that_still_waits(stack: Stack) -> None:
    seconds, _ = stack.redis.time()
    job_id = stack.client.submit(
        shell(
            "true",
            id="waits",
            not_before_ms=(seconds + 3) * 1_000,
            deadline_ms=(seconds + 4) * 1_000,
        )
    ).job_id
    stack.client.pause(job_id)
    record = stack.client.wait(job_id, timeout_s=30)
    assert (record.state, record.attempts) == (State.EXPIRED, [])


@pytest.mark.req("ADM-5", "ADM-6")
def test_a_deadline_that_has_passed_is_refused_and_nothing_is_made(stack: Stack) -> None:
    with pytest.raises(Refused) as refused:
        stack.client.submit(shell("true", id="too-late", deadline_ms=1))
    assert refused.value.code is ErrorCode.DEADLINE_UNMET
    assert stack.stored("too-late") == {}


@pytest.mark.req("FBK-1")
@pytest.mark.parametrize(
    ("function", "outcome", "reason"),
    [
        ("fail", Outcome.LOGIC, "exception"),
        ("exit_soft", Outcome.LOGIC, "worker_exited"),
        ("exit_hard", Outcome.LOGIC, "worker_exited"),
        ("absent", Outcome.ENVIRONMENT, "not_found"),
    ],
)
def test_a_callable_that_raises_or_exits_ends_its_own_attempt_only(
    stack: Stack, function: str, outcome: Outcome, reason: str
) -> None:
    echoes = stack.submit_echoes(10)
    record = stack.run(call(function))
    assert record.state is State.FAILED
    assert [(o, r) for o, r, _ in endings(record)] == [(outcome, reason)]
    stack.wait_for_echoes(echoes)


@pytest.mark.req("RUN-3")
def test_a_callable_that_blocks_is_ended_by_its_wall_limit(stack: Stack) -> None:
    spec = call("block", config={"wall_ms": 300}, retry={"attempts_max": 1})
    record = stack.run(spec)
    assert (record.state, record.outcome) == (State.FAILED, Outcome.RESOURCE)
    assert stack.run(call("echo", 1)).result == 1
