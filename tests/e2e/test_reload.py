"""A running stack gets a new configuration, or keeps the one it has: with real processes (CTL-4)."""

from __future__ import annotations

import pytest

from actors.start import ROLES
from contracts.commands import CommandStatus
from contracts.control import ControlRecord
from contracts.states import State
from tests.e2e.conftest import StartStack
from tests.e2e.specs import call, shell
from tests.e2e.stack import Stack, wait_until
from tests.e2e.test_control import given


def write(stack: Stack, text: str) -> None:
    """The configuration file of the home."""
    (stack.home / "orch.toml").write_text(text)


def reloaded(stack: Stack) -> ControlRecord:
    return given(stack, "reload", "*")


def pids(stack: Stack) -> set[int]:
    """Of all actors."""
    return {pid for role in ROLES for pid in stack.pids(role)}


def echoes(stack: Stack) -> bool:
    return stack.run(call("echo", 5)).result == 5


@pytest.mark.req("CTL-4")
def test_a_good_configuration_is_in_force_after_the_reload_and_the_same_one_changes_nothing(
    start_stack: StartStack,
) -> None:
    stack = start_stack()
    before = pids(stack)
    record = reloaded(stack)
    assert record.outcome is not None
    assert (record.status, record.outcome["result"]) == (CommandStatus.DONE, "unchanged")
    assert pids(stack) == before
    write(stack, 'slots = 3\npools = ["default", "gpu"]\n')
    url = stack.url
    record = reloaded(stack)
    assert record.outcome is not None
    assert (record.status, record.outcome["result"]) == (CommandStatus.DONE, "applied")
    wait_until(lambda: not pids(stack) & before, what="the old processes are gone")
    assert stack.url == url
    found = {one.pool: one for one in stack.client.pools().pools}
    assert (found["default"].slots, found["gpu"].slots) == (3, 3)
    assert echoes(stack)
    assert stack.run(call("echo", 6, pool="gpu")).result == 6
    assert "runner-gpu-1" in stack.endpoint()["metrics"]


@pytest.mark.req("CTL-4")
@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("slots = 0\n", "slots"),
        ("slots = [\n", "TOML"),
        ("slotz = 3\n", "slotz"),
        ("port = 65000\nslots = 3\n", "port"),
        ("shard = 1\n", "shard"),
    ],
)
def test_a_bad_configuration_is_refused_with_its_reason_and_nothing_is_touched(
    stack: Stack, text: str, word: str
) -> None:
    before = pids(stack)
    write(stack, text)
    try:
        record = reloaded(stack)
        assert record.outcome is not None
        assert (record.status, record.outcome["result"]) == (CommandStatus.FAILED, "refused")
        assert word in record.outcome["reason"]
        assert pids(stack) == before
        stack.kill("runner")
        assert echoes(stack), "what dies is started again on the old configuration"
    finally:
        (stack.home / "orch.toml").unlink()


@pytest.mark.req("CTL-4")
def test_a_configuration_on_which_a_part_does_not_start_is_taken_back(
    start_stack: StartStack,
) -> None:
    stack = start_stack()
    before = pids(stack)
    busy = stack.endpoint()["metrics"]["runner-default-1"].split(":")[2].split("/")[0]
    write(stack, f"metrics_port = {busy}\n")
    record = reloaded(stack)
    assert record.outcome is not None
    assert (record.status, record.outcome["result"]) == (CommandStatus.FAILED, "rolled_back")
    assert "ended" in record.outcome["reason"]
    assert pids(stack) == before, "the old processes never stopped, the new ones are gone"
    assert echoes(stack)
    assert not stack.client.pool_health("default").draining


@pytest.mark.req("CTL-4")
def test_a_drain_that_takes_too_long_takes_the_reload_back_and_the_job_goes_on(
    start_stack: StartStack,
) -> None:
    stack = start_stack(reload_drain_ms=300)
    before, go = pids(stack), stack.root / "go"
    slow = stack.client.submit(shell(f"echo up; while [ ! -e {go} ]; do sleep 0.05; done")).job_id
    stack.wait_for_output(slow)
    write(stack, "slots = 3\n")
    record = reloaded(stack)
    assert record.outcome is not None
    assert (record.status, record.outcome["result"]) == (CommandStatus.FAILED, "rolled_back")
    assert "was not drained within 300 ms" in record.outcome["reason"]
    assert pids(stack) == before
    wait_until(
        lambda: (
            not any(r.status == "draining" for r in stack.client.pool_health("default").runners)
        ),
        what="the old runner takes work again",
    )
    assert echoes(stack)
    go.touch()
    ended = stack.client.wait(slow, timeout_s=20)
    assert (ended.state, len(ended.attempts)) == (State.COMPLETED, 1)
    record = reloaded(stack)
    assert record.outcome is not None
    assert record.outcome["result"] == "applied"
    assert echoes(stack)
