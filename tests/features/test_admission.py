"""The steps of admission.feature."""

from __future__ import annotations

import json
from typing import Any

from pytest_bdd import given, parsers, scenarios, then, when

from contracts.states import State
from orch.store.keys import Keys
from orch.system import SystemIds
from tests.e2e.specs import command, shell
from tests.features.conftest import Scene

scenarios("admission.feature")

FAULTS: dict[str, dict[str, Any]] = {
    "a key that nobody knows": {"colour": "red"},
    "no adapter": {"adapter": None},
    "a pool that does not exist": {"pool": "nowhere"},
    "two dots in its id": {"id": "a..b"},
    "a deadline that has passed": {"deadline_ms": 1_000},
    "more than a mebibyte": {"inputs": {"fat": "x" * 2**20}},
}


@given("a job that leaves a line in a file")
def a_job_with_a_trace(scene: Scene) -> None:
    scene.spec = shell(f"echo ran >> {scene.file}")


@given(parsers.parse('it was submitted under the key "{key}"'))
def it_was_submitted(scene: Scene, key: str) -> None:
    scene.submit(scene.spec, **{"Idempotency-Key": key})
    scene.answer = None


@given("another job")
def another_job(scene: Scene) -> None:
    scene.spec = command("echo", "something else")


@given(parsers.parse("a job with {fault}"))
def a_job_with(scene: Scene, fault: str) -> None:
    spec = {**shell(f"echo ran >> {scene.file}"), **FAULTS[fault]}
    scene.spec = {key: value for key, value in spec.items() if value is not None}


@given("a batch of a good job, a bad one and a good one")
def a_batch(scene: Scene) -> None:
    scene.spec = {"items": [command("true"), {"name": "no adapter"}, command("true")]}


@when("it is submitted")
def it_is_submitted(scene: Scene) -> None:
    scene.post("/v1/jobs", scene.spec)


@when(parsers.parse('it is submitted under the key "{key}"'))
def it_is_submitted_under(scene: Scene, key: str) -> None:
    scene.post("/v1/jobs", scene.spec, **{"Idempotency-Key": key})


@when("the batch is submitted")
def the_batch_is_submitted(scene: Scene) -> None:
    scene.post("/v1/jobs:batch", scene.spec)


@when("it is added to the stream of requests")
def it_is_added(scene: Scene) -> None:
    scene.about["request_id"] = SystemIds().token()
    entry = {"v": "1", "request_id": scene.about["request_id"], "spec": json.dumps(scene.spec)}
    scene.stack.redis.xadd(Keys().requests, entry)


@then("the answer is found under its request id")
def the_answer_is_found(scene: Scene) -> None:
    key = Keys().answer(scene.about["request_id"])
    answer = json.loads(scene.wait(lambda: scene.stack.redis.get(key), "an answer"))
    scene.job_id = answer["job_id"]
    assert not answer["duplicate"]


@then(parsers.parse("the file has {count:d} line"))
def the_file_has(scene: Scene, count: int) -> None:
    assert scene.file.read_text().splitlines() == ["ran"] * count


@then("it shows both digests")
def both_digests(scene: Scene) -> None:
    details = scene.said.json()["details"]
    assert details["digest"] != details["other_digest"]


@then("the answers are a job, an error and a job, in this order")
def in_order(scene: Scene) -> None:
    items = scene.said.json()["items"]
    assert [[name for name, value in one.items() if value] for one in items] == [
        ["job"],
        ["error"],
        ["job"],
    ]
    assert items[1]["error"]["code"] == "INVALID_SPEC"


@then("both jobs end completed")
def both_end(scene: Scene) -> None:
    items = scene.said.json()["items"]
    for one in (items[0], items[2]):
        scene.wait_for(one["job"]["job_id"], State.COMPLETED)
