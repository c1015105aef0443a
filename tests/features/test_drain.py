"""The steps of drain.feature."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest
from pytest_bdd import given, parsers, scenarios, then, when

from contracts.commands import CommandStatus
from contracts.states import State
from tests.features.conftest import Scene

scenarios("drain.feature")
POOL: Final = "default"


def push(scene: Scene, verb: str, pool: str = POOL, **args: Any) -> None:
    scene.answer = scene.http.post(f"/v1/pools/{pool}/{verb}", json=args or None)
    if scene.said.status_code == 202:
        scene.about["command"] = scene.said.json()["command_id"]


@pytest.fixture(autouse=True)
def open_again(scene: Scene) -> Iterator[None]:
    """The pool takes work again after each scenario."""
    yield
    push(scene, "undrain")
    assert scene.over(scene.about["command"]).status is CommandStatus.DONE


@given("a draining pool")
def a_draining_pool(scene: Scene) -> None:
    push(scene, "drain")
    assert scene.over(scene.about["command"]).status is CommandStatus.DONE
    scene.answer = None


@when("the pool is drained")
def the_pool_is_drained(scene: Scene) -> None:
    push(scene, "drain")
    scene.wait(lambda: scene.stack.client.pool_health(POOL).draining, "the pool drains")


@when(parsers.parse("the pool is drained within {deadline_ms:d} ms"))
def the_pool_is_drained_within(scene: Scene, deadline_ms: int) -> None:
    push(scene, "drain", deadline_ms=deadline_ms)


@when("the pool is undrained")
def the_pool_is_undrained(scene: Scene) -> None:
    push(scene, "undrain")


@when("the pool of nobody is drained")
def the_pool_of_nobody(scene: Scene) -> None:
    push(scene, "drain", "nobody")


@when("the same command is given again")
def the_same_command(scene: Scene) -> None:
    again = {"id": scene.about["command"], "command": "undrain", "target": f"pool:{POOL}"}
    scene.answer = scene.http.post("/v1/control", json=again)


@then("the command ends done")
def the_command_ends(scene: Scene) -> None:
    assert "command" in scene.about, "no command was given"
    record = scene.over(scene.about["command"])
    assert (record.status, record.waiting) == (CommandStatus.DONE, [])
    scene.about["outcome"] = record.outcome


@then("nothing was stopped by force")
def nothing_was_stopped(scene: Scene) -> None:
    assert (scene.about["outcome"]["force_stopped"], scene.about["outcome"]["left"]) == (0, 0)


@then("one job was stopped by force")
def one_was_stopped(scene: Scene) -> None:
    assert (scene.about["outcome"]["force_stopped"], scene.about["outcome"]["left"]) == (1, 0)


@then("the job still waits")
def the_job_still_waits(scene: Scene) -> None:
    assert scene.stack.client.pool_health(POOL).draining
    assert scene.state(scene.job) is State.QUEUED
    assert not scene.stack.held()


@then("the pool still drains")
def the_pool_still_drains(scene: Scene) -> None:
    assert scene.stack.client.pool_health(POOL).draining
