"""The steps of backpressure.feature."""

from __future__ import annotations

import pytest
from pytest_bdd import given, parsers, scenarios, then, when

from contracts.states import State
from tests.e2e.specs import shell
from tests.features.conftest import QUEUE_JOBS_MAX, Scene

scenarios("backpressure.feature")


def steer(scene: Scene, verb: str) -> None:
    """A command about the pool, carried out to its end."""
    pushed = scene.http.post(f"/v1/pools/default/{verb}", json={"what": "intake"})
    path = f"/v1/control/{pushed.json()['command_id']}"
    scene.wait(lambda: scene.http.get(path).json().get("status") == "done", f"the end of {verb}")


@given("intake is paused")
def intake_is_paused(scene: Scene, request: pytest.FixtureRequest) -> None:
    request.addfinalizer(lambda: steer(scene, "resume"))
    steer(scene, "pause")


@given("the queue is full")
def the_queue_is_full(scene: Scene) -> None:
    for n in range(QUEUE_JOBS_MAX):
        spec = shell(f"echo {n} >> {scene.file}", idempotency_key=f"{scene.folder.name}-{n}")
        scene.waiting.append(scene.submit(spec))
    scene.job_id = scene.answer = None


@when("a waiting job is canceled")
def a_waiting_job_is_canceled(scene: Scene) -> None:
    assert scene.http.post(f"/v1/jobs/{scene.waiting[1]}/cancel").status_code == 202


@when("a waiting job is submitted again")
def a_waiting_job_again(scene: Scene) -> None:
    spec = shell(f"echo 1 >> {scene.file}", idempotency_key=f"{scene.folder.name}-1")
    scene.post("/v1/jobs", spec)


@then("its headers say how long to wait")
def headers_say(scene: Scene) -> None:
    assert int(scene.said.headers["retry-after"]) >= 1
    assert int(scene.said.headers["x-backoff-ms"]) >= 1


@then(parsers.parse("it names the rule {label}"))
def it_names_the_rule(scene: Scene, label: str) -> None:
    assert scene.said.json()["policy_label"] == label


@then("it is retriable and tells the depth of the queue")
def the_body_says(scene: Scene) -> None:
    body = scene.said.json()
    assert body["retriable"] is True
    assert body["details"]["queue_depth"] == QUEUE_JOBS_MAX


@then("every accepted job ends completed, in the order it came")
def all_are_served(scene: Scene) -> None:
    for job_id in scene.waiting:
        scene.wait_for(job_id, State.COMPLETED)
    assert scene.file.read_text().split() == [str(n) for n in range(QUEUE_JOBS_MAX)]


@then("nothing was stored for the one that was refused")
def the_refused_one(scene: Scene) -> None:
    assert scene.said.status_code == 429
    assert scene.job_id is None
