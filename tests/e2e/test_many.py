"""Several of each at once, and more work than room."""

from __future__ import annotations

import json
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from actors.start import ROLES
from contracts.states import State
from orch.client import Endpoint, OrchSync
from orch.store.keys import Keys
from tests.e2e.specs import call, shell
from tests.e2e.stack import DEADLINE_S, Stack, a_stack, pause, wait_until


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    root = tmp_path_factory.mktemp("stack")
    with a_stack(root, slots=2, backoff_ms=10, backoff_ms_max=10) as running:
        yield running


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def start_by_hand(
    stack: Stack, role: str, port: int, running: ExitStack
) -> subprocess.Popen[bytes]:
    words = ("--port", str(port)) if role == "gateway" else ()
    process = running.enter_context(stack.spawn_actor(role, *words))
    running.callback(process.kill)
    return process


def serves(stack: Stack, role: str, pid: int) -> bool:
    return pid in stack.serving_pids(role)


@pytest.mark.req("ARC-1", "LSE-1")
def test_replicas_started_by_hand_share_the_work(stack: Stack) -> None:
    port = free_port()
    with ExitStack() as running:
        by_hand = {role: start_by_hand(stack, role, port, running) for role in ROLES}
        for role, process in by_hand.items():
            wait_until(partial(serves, stack, role, process.pid), what=f"a second {role}")
        client = running.enter_context(OrchSync(Endpoint(f"http://127.0.0.1:{port}")))
        echoes = stack.submit_echoes(200, each_ms=5)
        retried = [client.submit(shell('[ "$ORCH_ATTEMPT" = 2 ] || exit 75')) for _ in range(5)]
        for n in range(20):
            fields = {"v": "1", "request_id": f"r{n}", "spec": json.dumps(call("echo", n))}
            stack.redis.xadd(Keys().requests, fields)
        stack.wait_for_echoes(echoes)
        answers = [wait_until(partial(stack.redis.get, Keys().answer(f"r{n}"))) for n in range(20)]
        raw = [str(json.loads(answer)["job_id"]) for answer in answers]
        for job_id in [one.job_id for one in retried] + raw:
            assert client.wait(job_id, timeout_s=DEADLINE_S).state is State.COMPLETED
        shares = Counter(
            one.runner for job_id in echoes for one in stack.client.job(job_id).attempts
        )
        assert len(shares) == 2
        assert min(shares.values()) >= 10, "no runner idles while the other has a full line"
        for process in by_hand.values():
            process.terminate()
        assert {process.wait(DEADLINE_S) for process in by_hand.values()} == {0}
        pids = {one["pid"] for one in stack.instances().values()}
        assert pids & {process.pid for process in by_hand.values()} == set()


@pytest.mark.req("SCH-1", "SCH-2")
def test_interactive_jobs_overtake_the_batch_that_waits(stack: Stack) -> None:
    batch = [call("slow_echo", n, 40, priority="batch") for n in range(40)]
    urgent = [call("slow_echo", n, 40, priority="interactive") for n in range(5)]
    specs = [*batch, *urgent]
    answer = stack.client.submit_batch(specs)
    job_ids = [item.job.job_id for item in answer.items if item.job is not None]
    started = {}
    for job_id in job_ids:
        record = stack.client.wait(job_id, timeout_s=DEADLINE_S)
        assert record.state is State.COMPLETED
        assert record.started_at_ms is not None
        started[job_id] = record.started_at_ms
    last_urgent = max(started[job_id] for job_id in job_ids[40:])
    overtaken = sum(started[job_id] > last_urgent for job_id in job_ids[:40])
    assert overtaken >= 25


@pytest.mark.req("JOB-3")
def test_an_idempotency_key_gives_the_first_job_back(stack: Stack) -> None:
    first = stack.client.submit(call("echo", 1), "the-key")
    again = stack.client.submit(call("echo", 1), "the-key")
    assert (first.duplicate, again.duplicate) == (False, True)
    assert first.job_id == again.job_id
    assert stack.client.wait(first.job_id, timeout_s=DEADLINE_S).result == 1


def test_a_stray_token_does_not_keep_full_runners_busy(stack: Stack) -> None:
    long = [stack.client.submit(shell("exec sleep 600")).job_id for _ in range(2)]
    for job_id in long:
        stack.wait_for_state(job_id, State.RUNNING)
    wake = Keys().wake("default")
    stack.redis.xadd(wake, {"pool": "default"})
    before = stack.redis.xinfo_stream(wake)["entries-added"]
    pause(1.0)  # what is looked for is that nothing much happens
    assert stack.redis.xinfo_stream(wake)["entries-added"] - before <= 20
    for job_id in long:
        stack.client.cancel(job_id)
