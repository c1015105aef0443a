"""The steps of reload.feature.

The stack of all features is reloaded: each configuration adds a priority class of the scenario's own, which
is in nobody's way, and which only processes that live by it know.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from pytest_bdd import given, parsers, scenarios, then, when

from contracts.commands import CommandStatus
from contracts.control import ControlRecord
from contracts.states import State
from orch.core.ledger import attempts
from tests.e2e.specs import command
from tests.e2e.test_reload import pids
from tests.features.conftest import Scene

scenarios("reload.feature")

FAULTS: Final = {
    "a value out of its bounds": "slots = 0",
    "a key that nobody knows": "slotz = 3",
    "a line that is no TOML": "slots = [",
    "a key that cannot change": "shard = 1",
}


def _file(scene: Scene) -> Path:
    return scene.stack.home / "orch.toml"


@pytest.fixture(autouse=True)
def the_file(scene: Scene) -> Iterator[None]:
    """The file says what is in force: before each scenario and after it."""
    before = _file(scene).read_text() if _file(scene).exists() else None
    scene.about |= {"pids": pids(scene.stack), "url": scene.stack.url}
    yield
    if scene.about.get("result") == "applied":
        return
    if before is None:
        _file(scene).unlink(missing_ok=True)
    else:
        _file(scene).write_text(before)


def _record(scene: Scene) -> ControlRecord:
    """How the reload ended."""
    assert "command" in scene.about, "no reload was asked for"
    record = scene.over(scene.about["command"])
    assert record.outcome is not None, record
    scene.about["result"] = record.outcome["result"]
    return record


def _of_the_class(scene: Scene) -> dict[str, Any]:
    return command("true", priority=scene.about["class"])


@given("a configuration with one more priority class")
def one_more_class(scene: Scene) -> None:
    scene.about["class"] = f"c{scene.stack.client.commands(limit=1).revision}"
    classes = f'["interactive:8", "batch:1", "{scene.about["class"]}:1"]'
    _file(scene).write_text(f"classes = {classes}\n")


@given(parsers.parse("a configuration with one more priority class and {fault}"))
def a_bad_one(scene: Scene, fault: str) -> None:
    one_more_class(scene)
    with _file(scene).open("a") as text:
        text.write(f"{FAULTS[fault]}\n")


@given("the configuration that is in force")
def in_force(scene: Scene) -> None:
    """The file is as it was read last."""


@when("the stack is reloaded")
def it_is_reloaded(scene: Scene) -> None:
    scene.about["revision"] = scene.stack.client.commands(limit=1).revision
    scene.about["command"] = scene.stack.client.control("reload", "*").command_id


@when("another job is submitted once new processes run")
def another_job(scene: Scene) -> None:
    old = scene.about["pids"]
    scene.wait(lambda: scene.stack.serving_pids("runner") - old, "a new runner")
    scene.submit(command("true"))


@when("the gateway dies")
def the_gateway_dies(scene: Scene) -> None:
    _record(scene)
    scene.about["dead"] = scene.stack.kill("gateway")


@then(parsers.parse("the record says {result}, under the next revision"))
def the_record_says(scene: Scene, result: str) -> None:
    record = _record(scene)
    assert (record.status, scene.about["result"]) == (CommandStatus.DONE, result)
    assert record.revision == scene.about["revision"] + 1
    assert (record.waiting, len(record.acked)) == ([], 1), "the supervisor said so"


@then(parsers.parse("the record says refused, because of {word}"))
def refused_because(scene: Scene, word: str) -> None:
    record = _record(scene)
    assert (record.status, scene.about["result"]) == (CommandStatus.FAILED, "refused")
    assert record.outcome is not None
    assert word in record.outcome["reason"]


@then("every job ends completed, at its first attempt")
def every_job(scene: Scene) -> None:
    assert len(scene.jobs) == 3
    for job_id in scene.jobs:
        scene.wait_for(job_id, State.COMPLETED)
        assert len(attempts(scene.ledger(job_id))) == 1


@then("all processes are new, at the same address")
def all_are_new(scene: Scene) -> None:
    scene.wait(lambda: not pids(scene.stack) & scene.about["pids"], "the old ones are gone")
    assert scene.stack.url == scene.about["url"]
    assert scene.stack.answers()


@then("the processes are those from before")
def the_same(scene: Scene) -> None:
    assert pids(scene.stack) == scene.about["pids"]


@then("there is a new gateway, at the same address")
def a_new_gateway(scene: Scene) -> None:
    before, dead = scene.about["pids"], scene.about["dead"]
    scene.wait(lambda: len(pids(scene.stack) - before) == 1, "a new process")
    assert pids(scene.stack) & before == before - {dead}
    assert scene.stack.url == scene.about["url"]
    scene.wait(scene.stack.answers, "it answers")


@then("the class is known, and its jobs run")
def the_class_is_known(scene: Scene) -> None:
    scene.wait_for(scene.submit(_of_the_class(scene)), State.COMPLETED)


@then("the class is unknown, and other jobs run")
def the_class_is_unknown(scene: Scene) -> None:
    answer = scene.post("/v1/jobs", _of_the_class(scene))
    assert (answer.status_code, answer.json()["details"]["path"]) == (400, "priority")
    scene.wait_for(scene.submit(command("true")), State.COMPLETED)
