"""A second shard beside a house that works: its actors join, one gateway answers for both."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from contracts.states import State
from orch.client import Endpoint, OrchSync
from orch.store.keys import Keys
from tests.e2e.conftest import StartStack
from tests.e2e.specs import call, shell
from tests.e2e.stack import DEADLINE_S, Stack, wait_until
from tests.e2e.test_reload import reloaded, write

FURTHER = 3
ROLES = ("admission", "scheduler", "reaper", "fallback", "runner")


@contextmanager
def actors_of(stack: Stack, shard: int) -> Iterator[None]:
    """The actors of one more shard on the stack's server, as somebody starts them by hand."""
    with ExitStack() as running:
        started: list[subprocess.Popen[bytes]] = []
        for role in ROLES:
            words = ("--set", f"shard={shard}", "--url", stack.url)
            started.append(running.enter_context(stack.spawn_actor(role, *words)))
            running.callback(started[-1].kill)
        known = Keys(shard).instances
        wait_until(lambda: stack.redis.hlen(known) == len(ROLES), what="they are registered")
        yield
        for process in started:
            process.terminate()
        assert [process.wait(DEADLINE_S) for process in started] == [0] * len(ROLES)


@pytest.mark.req("DEP-2")
@pytest.mark.timeout(120)
def test_a_shard_joins_while_work_is_in_flight(start_stack: StartStack) -> None:
    stack = start_stack()
    flying = stack.submit_echoes(40, each_ms=200)
    with actors_of(stack, FURTHER):
        write(stack, f'shards = ["{FURTHER}"]\n')
        assert reloaded(stack).outcome is not None
        there = Endpoint(stack.url, shard=str(FURTHER))
        with OrchSync(there) as client:
            asked = client.submit(shell('echo "$ORCH_SHARD"'))
            record = client.wait(asked.job_id, timeout_s=DEADLINE_S)
            assert record.state is State.COMPLETED, record
            assert str(FURTHER) in client.logs(asked.job_id).lines[0].text
            assert client.wait(client.submit(call("echo", 7)).job_id).result == 7
            seen = {one.job_id for one in client.jobs().jobs}
        assert not seen & flying.keys()
        listed = stack.orch("list", "--json", "--shard", str(FURTHER)).document["jobs"]
        assert {one["job_id"] for one in listed} == seen
        assert stack.orch("list", "--shard", "9").code == 6
        stack.wait_for_echoes(flying)
