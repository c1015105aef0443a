"""The steps of schedules.feature."""

from __future__ import annotations

from typing import Any

from pytest_bdd import given, parsers, scenarios, then, when

from contracts.states import State
from orch.store.keys import Keys
from tests.e2e.invariants import job_ids
from tests.e2e.specs import shell
from tests.e2e.test_schedules import set_back
from tests.features.conftest import Scene

scenarios("schedules.feature")


def _path(scene: Scene) -> str:
    return f"/v1/schedules/{scene.folder.name}"


def _put(scene: Scene, script: str, **more: Any) -> None:
    body = {"cron": "0 3 1 1 *", "spec": shell(script), **more}
    scene.answer = scene.http.put(_path(scene), json=body)
    scene.known = set(job_ids(scene.stack.redis))


def _stored(scene: Scene) -> dict[str, str]:
    found: dict[str, str] = scene.stack.redis.hgetall(Keys().schedule("default", scene.folder.name))
    return found


def _new_jobs(scene: Scene) -> list[str]:
    return sorted(set(job_ids(scene.stack.redis)) - scene.known)


@given("no schedule")
def no_schedule(scene: Scene) -> None:
    assert _stored(scene) == {}


@given("a schedule whose next time is far away")
def a_schedule(scene: Scene) -> None:
    _put(scene, "true")
    assert scene.said.status_code == 200, scene.said.text
    scene.about["next"] = scene.said.json()["next_fire_at_ms"]


@given(parsers.parse("a schedule that {overlap}s, with a job that runs"))
def a_schedule_with_a_job(scene: Scene, overlap: str) -> None:
    _put(scene, f"while [ ! -e {scene.gate} ]; do sleep 0.02; done", overlap=overlap)
    assert scene.http.post(f"{_path(scene)}/fire").status_code == 202
    (scene.job_id,) = _new_jobs(scene)
    scene.wait_for(scene.job, State.RUNNING)
    scene.known.add(scene.job)


@given(parsers.parse('it was fired under the key "{key}"'))
def it_was_fired(scene: Scene, key: str) -> None:
    it_is_fired_under(scene, key)
    assert (scene.said.status_code, scene.said.json()["duplicate"]) == (202, False)
    scene.about["first"], scene.answer = scene.job, None


@when(parsers.parse('it is fired under the key "{key}"'))
def it_is_fired_under(scene: Scene, key: str) -> None:
    scene.post(f"{_path(scene)}/fire", {}, **{"Idempotency-Key": key})


@when("it is fired")
def it_is_fired(scene: Scene) -> None:
    scene.answer = scene.http.post(f"{_path(scene)}/fire")


@when("its time comes")
def its_time_comes(scene: Scene) -> None:
    set_back(scene.stack, scene.folder.name, 0)


@when("it is paused")
def it_is_paused(scene: Scene) -> None:
    scene.answer = scene.http.post(f"{_path(scene)}/pause")


@when(parsers.parse('one is stored with the cron expression "{cron}"'))
def one_is_stored(scene: Scene, cron: str) -> None:
    _put(scene, "true", cron=cron)


@then("one job was made of it, which ends completed")
def one_job(scene: Scene) -> None:
    scene.wait(lambda: _new_jobs(scene), "a job")
    (job_id,) = _new_jobs(scene)
    scene.wait_for(job_id, State.COMPLETED)
    assert scene.ledger(job_id)[0].payload["schedule_id"] == scene.folder.name


@then("it names the first job, and the schedule was fired once")
def the_first_job(scene: Scene) -> None:
    assert scene.said.json()["job_id"] == scene.about["first"]
    assert _stored(scene)["fired"] == "1"


@then("the schedule has its next time")
def the_next_time(scene: Scene) -> None:
    now = scene.http.get(_path(scene)).json()
    assert now["next_fire_at_ms"] >= scene.about["next"]
    assert now["counts"]["fired"] == 1


@then("its own times are as they were")
def as_they_were(scene: Scene) -> None:
    assert scene.http.get(_path(scene)).json()["next_fire_at_ms"] == scene.about["next"]


@then("no job was made, and the schedule says which one was in the way")
def no_job(scene: Scene) -> None:
    assert _new_jobs(scene) == []
    last = scene.http.get(_path(scene)).json()["last"]
    assert (last["result"], last["job_id"]) == ("skipped", scene.job)


@then("the job that ran is canceled")
def it_is_canceled(scene: Scene) -> None:
    assert scene.state(scene.job) is State.CANCELED


@then("there is a new job")
def a_new_job(scene: Scene) -> None:
    assert len(_new_jobs(scene)) == 1


@then("it has no next time")
def no_next_time(scene: Scene) -> None:
    assert scene.http.get(_path(scene)).json()["next_fire_at_ms"] is None
    due = scene.stack.redis.zrange(Keys().due, 0, -1)
    assert [entry for entry in due if scene.folder.name in entry] == []


@then("no schedule was stored")
def none_stored(scene: Scene) -> None:
    assert _stored(scene) == {}
    assert scene.said.status_code == 400
