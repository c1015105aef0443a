"""A runner that is stopped beyond its lease loses its jobs, once, and its agents do not act meanwhile."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.events import EventType
from contracts.outcomes import Outcome
from contracts.states import State
from tests.e2e.specs import call, shell
from tests.e2e.stack import Stack, a_stack, is_alive, wait_until

ACTS = """
echo $$ > pid-$ORCH_ATTEMPT
while [ ! -e go-$ORCH_ATTEMPT ]; do date +%s%N >> acts-$ORCH_ATTEMPT; sleep 0.02; done
echo "by attempt $ORCH_ATTEMPT"
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with a_stack(tmp_path_factory.mktemp("stack"), runners=2, lease_ms=1_500) as running:
        yield running


def holder(stack: Stack, job_id: str) -> tuple[str, int]:
    """The runner of a running job: its instance and its process."""
    lease = wait_until(lambda: stack.client.job(job_id).lease, what="a lease")
    return lease.worker_id, stack.instances()[lease.worker_id]["pid"]


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "T"


def is_buried(stack: Stack, instance: str) -> bool:
    return instance not in stack.instances()


@pytest.mark.req("LSE-2", "LSE-4", "LSE-6", "REA-1", "REA-2")
def test_a_stopped_runner_is_buried_and_its_agent_does_not_act_past_the_lease(
    stack: Stack,
) -> None:
    job_id = stack.client.submit(shell(ACTS, config={"cwd": str(stack.root)})).job_id
    wait_until((stack.root / "acts-1").exists, what="the agent acts")
    worker, pid = holder(stack, job_id)
    stack.kill_pid(pid, signal.SIGSTOP)
    try:
        taken = stack.wait_for_event(job_id, EventType.STALE_RECOVERED, worker=worker)
        wait_until((stack.root / "acts-2").exists, what="another runner took over")
        last_act_ms = int((stack.root / "acts-1").read_text().split()[-1]) // 1_000_000
        assert last_act_ms <= taken.at_ms
        acts = (stack.root / "acts-1").stat().st_size
        (stack.root / "go-1").touch()
    finally:
        stack.kill_pid(pid, signal.SIGCONT)
    first_agent = int((stack.root / "pid-1").read_text())
    wait_until(lambda: not is_alive(first_agent), what="the first agent is killed")
    assert (stack.root / "acts-1").stat().st_size == acts
    stack.wait_for_event(job_id, EventType.LEASE_LOST)
    (stack.root / "go-2").touch()
    record = stack.client.wait(job_id, timeout_s=30)
    assert record.state is State.COMPLETED
    assert [one.outcome for one in record.attempts] == [Outcome.LOST, Outcome.DONE]
    assert record.attempts[0].epoch < record.attempts[1].epoch
    assert "".join(line.text for line in stack.client.logs(job_id).lines) == "by attempt 2\n"
    wait_until(lambda: pid in stack.serving_pids("runner"), what="the same process serves again")
    assert is_buried(stack, worker), "it comes back under a new name"


@pytest.mark.req("LSE-4", "EVT-5")
@pytest.mark.drives("agent_suspended", "agent_continued")
def test_a_server_that_is_away_stops_the_agent_and_lets_it_go_on(stack: Stack) -> None:
    # A shell that starts nothing: waiting for a child's start it would look stopped.
    script = "echo $$ > away; while [ ! -e back ]; do :; done; echo done"
    job_id = stack.client.submit(shell(script, config={"cwd": str(stack.root)})).job_id
    wait_until((stack.root / "away").exists, what="the agent acts")
    agent = int(wait_until((stack.root / "away").read_text, what="it says who it is"))
    server = stack.pid("server")
    stack.kill_pid(server, signal.SIGSTOP)
    try:
        wait_until(lambda: is_stopped(agent), what="its lease is not confirmed: it is stopped")
    finally:
        stack.kill_pid(server, signal.SIGCONT)
    wait_until(lambda: not is_stopped(agent), what="the same claim is confirmed")
    (stack.root / "back").touch()
    record = stack.client.wait(job_id, timeout_s=30)
    assert (record.state, record.attempt) == (State.COMPLETED, 1)
    turns = (EventType.AGENT_SUSPENDED, EventType.AGENT_CONTINUED)
    assert [event.type for event in stack.events_of(job_id, *turns)] == list(turns)


@pytest.mark.req("LSE-2")
def test_a_result_that_comes_after_the_burial_is_never_counted(stack: Stack) -> None:
    job_id = stack.client.submit(call("slow_echo", "once", 600)).job_id
    worker, pid = holder(stack, job_id)
    stack.kill_pid(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: is_buried(stack, worker), what="it is buried")
        record = stack.client.wait(job_id, timeout_s=30)
        assert (record.state, record.result, record.attempt) == (State.COMPLETED, "once", 2)
        end = stack.events_of(job_id)[-1].seq
    finally:
        stack.kill_pid(pid, signal.SIGCONT)
    wait_until(lambda: pid in stack.serving_pids("runner"), what="the same process serves again")
    assert is_buried(stack, worker), "it comes back under a new name"
    stack.wait_for_echoes(stack.submit_echoes(50))
    late = stack.events_of(job_id)[end:]
    assert {event.type for event in late} <= {EventType.ORPHANED_RESULT}
    assert stack.completed([job_id]) == 1


@pytest.mark.req("REA-1", "LSE-6")
@pytest.mark.parametrize("role", ["admission", "fallback", "scheduler", "gateway"])
def test_an_actor_that_was_stopped_and_buried_comes_back_as_it_was(stack: Stack, role: str) -> None:
    pid = stack.pid(role)
    (instance,) = [name for name, one in stack.instances().items() if one["pid"] == pid]
    stack.kill_pid(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: is_buried(stack, instance), what="it is buried")
    finally:
        stack.kill_pid(pid, signal.SIGCONT)
    wait_until(lambda: pid in stack.serving_pids(role), what="the same process serves again")
    assert stack.pids(role) == [pid]
    spec = shell('[ "$ORCH_ATTEMPT" = 2 ] || exit 75', retry={"backoff_ms": 10})
    assert stack.run(spec).state is State.COMPLETED
