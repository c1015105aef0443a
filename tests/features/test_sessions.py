"""The steps of sessions.feature."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from pytest_bdd import given, parsers, scenarios, then, when

from contracts.events import EventType
from contracts.outcomes import Outcome
from contracts.record import Attempt
from contracts.states import State
from orch.core.ledger import attempts
from tests.e2e.specs import shell, step, steps
from tests.e2e.stack import is_alive
from tests.features.conftest import Scene

scenarios("sessions.feature")


def _of_session(scene: Scene, session: str = "chat") -> dict[str, Any]:
    """Each scenario has sessions of its own."""
    return {"session": f"{session}-{scene.folder.name}"}


def _wait_at_the_gate(scene: Scene) -> str:
    return f"echo $$ > {scene.folder}/pid; while [ ! -e {scene.gate} ]; do sleep 0.02; done"


def _line(scene: Scene, text: str) -> str:
    return f"echo {text} >> {scene.file}"


def _run(scene: Scene, spec: dict[str, Any]) -> None:
    """The first job; it holds the only slot until the gate opens."""
    scene.waiting = [scene.submit(spec)]
    scene.wait_for(scene.job, State.RUNNING)
    pid = scene.folder / "pid"
    scene.wait(lambda: pid.exists() and pid.read_text().strip(), "its agent runs")


def _ran(scene: Scene, job_id: str) -> Attempt:
    """The only attempt of the job, which is over."""
    scene.wait_for(job_id, State.COMPLETED)
    (attempt,) = attempts(scene.ledger(job_id))
    return attempt


def _follow_each_other(scene: Scene, *order: str) -> bool:
    """Whether each of them began when the one before it was over."""
    ran = [_ran(scene, job_id) for job_id in order]
    return all(
        one.ended_at_ms is not None and one.ended_at_ms <= next_one.started_at_ms
        for one, next_one in pairwise(ran)
    )


@given("a running job of the session")
def a_running_job(scene: Scene) -> None:
    _run(scene, shell(_wait_at_the_gate(scene), **_of_session(scene)))


@given("a running job of another session")
def a_job_of_another(scene: Scene) -> None:
    _run(scene, shell(_wait_at_the_gate(scene), **_of_session(scene, "other")))
    scene.job_id = None


@given("a running job of the session, with another step to go")
def a_running_job_of_steps(scene: Scene) -> None:
    first = f"{_line(scene, 'first')}; {_wait_at_the_gate(scene)}"
    spec = steps(step("first", first), step("second", _line(scene, "second")))
    _run(scene, {**spec, **_of_session(scene)})


@given("a job of the session that is over")
def a_job_that_is_over(scene: Scene) -> None:
    scene.wait_for(scene.submit(shell("true", **_of_session(scene))), State.COMPLETED)
    scene.job_id = None


@given("a waiting job of the session, of the lowest class")
def a_waiting_job(scene: Scene) -> None:
    scene.waiting.append(scene.submit(shell("true", priority="batch", **_of_session(scene))))
    assert scene.state(scene.job) is State.QUEUED


@given("it was interrupted by a job of the session")
def it_was_interrupted(scene: Scene) -> None:
    scene.submit(shell("true", session_policy="interrupt", **_of_session(scene)))
    scene.gate.touch()
    scene.wait_for(scene.job, State.COMPLETED)
    (scene.job_id,) = scene.waiting
    assert scene.state(scene.job) is State.PAUSED


@when(parsers.parse("another job of the session is submitted, to {policy}"))
def another_job(scene: Scene, policy: str) -> None:
    scene.post("/v1/jobs", shell("true", session_policy=policy, **_of_session(scene)))


@when("the interrupted job is resumed")
def it_is_resumed(scene: Scene) -> None:
    scene.answer = scene.http.post(f"/v1/jobs/{scene.job}/resume")


@then("it names the job that runs")
def it_names_the_job(scene: Scene) -> None:
    assert scene.said.json()["details"]["job_id"] == scene.waiting[0]


@then("the job that runs is left alone")
def left_alone(scene: Scene) -> None:
    (first,) = scene.waiting
    assert scene.state(first) is State.RUNNING
    scene.gate.touch()
    assert _ran(scene, first).outcome is Outcome.DONE


@then("all jobs of the session end completed, in the order they came")
def in_order(scene: Scene) -> None:
    assert scene.job not in scene.waiting, "no job was submitted"
    assert _follow_each_other(scene, *scene.waiting, scene.job)


@then("the job that ran is paused after its first step")
def paused_after_a_step(scene: Scene) -> None:
    first = scene.waiting[0]
    scene.wait_for(first, State.PAUSED)
    finished = [
        event.payload["step_id"]
        for event in scene.ledger(first)
        if event.type is EventType.STEP_FINISHED
    ]
    assert finished == ["first"]
    assert scene.file.read_text().split() == ["first"]


@then("the new one runs before the one that waited")
def the_new_one_first(scene: Scene) -> None:
    assert _follow_each_other(scene, scene.job, scene.waiting[1])


@then("each of its steps ran once")
def each_step_once(scene: Scene) -> None:
    assert scene.file.read_text().split() == ["first", "second"]


@then("both are canceled, replaced by the new job")
def both_are_canceled(scene: Scene) -> None:
    for job_id in scene.waiting:
        assert scene.state(job_id) is State.CANCELED
        end = scene.ledger(job_id)[-1].payload
        assert (end["by"], end["reason"]) == (f"job {scene.job}", "replaced")


@then("the agent that ran is gone")
def the_agent_is_gone(scene: Scene) -> None:
    pid = int((scene.folder / "pid").read_text())
    scene.wait(lambda: not is_alive(pid), "the agent is stopped")
