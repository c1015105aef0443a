"""The steps of cancel.feature."""

from __future__ import annotations

from pytest_bdd import given, parsers, scenarios, then, when

from contracts.states import State
from tests.features.conftest import Scene

scenarios("cancel.feature")


@given("the id of no job")
def nobody(scene: Scene) -> None:
    scene.job_id = "nobody"


@given("it was canceled")
def it_was_canceled(scene: Scene) -> None:
    assert scene.http.post(f"/v1/jobs/{scene.job}/cancel").status_code == 202


@when("it is canceled")
def it_is_canceled(scene: Scene) -> None:
    scene.answer = scene.http.post(f"/v1/jobs/{scene.job}/cancel")


@when(parsers.parse('it is canceled because "{reason}"'))
def it_is_canceled_because(scene: Scene, reason: str) -> None:
    scene.answer = scene.http.post(f"/v1/jobs/{scene.job}/cancel", json={"reason": reason})


@then("the answer is 202 with the job canceled")
def canceled(scene: Scene) -> None:
    assert (scene.said.status_code, scene.said.json()["state"]) == (202, "canceled")
    assert scene.state(scene.job) is State.CANCELED


@then("it never ran")
def it_never_ran(scene: Scene) -> None:
    scene.gate.touch()
    scene.wait(lambda: not scene.stack.held(), "the slot is free")
    assert not scene.file.exists()
    assert all(event.attempt == 0 for event in scene.ledger(scene.job))


@then("its ledger tells of one cancellation")
def one_cancellation(scene: Scene) -> None:
    causes = [event.payload.get("cause") for event in scene.ledger(scene.job)]
    assert causes.count("cancel") == 1


@then("it is still completed")
def still_completed(scene: Scene) -> None:
    assert scene.state(scene.job) is State.COMPLETED


@then(parsers.parse('its ledger says "{reason}"'))
def its_ledger_says(scene: Scene, reason: str) -> None:
    (event,) = [e for e in scene.ledger(scene.job) if e.payload.get("cause") == "cancel"]
    assert event.payload["note"] == reason
