"""What every feature stands on: one running stack (one slot, a short queue), a scene for each scenario.

Then-steps look where a caller cannot make anything up: into the stored job, its ledger, the file that an
agent wrote. With ORCH_FEATURES_MUTED=1 the When-steps of every scenario are left out and its Then-steps
wait briefly; then every scenario has to fail in a Then-step (`test_features.py` sees to that).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx2
import pytest
from pytest_bdd import given, parsers, then, when
from pytest_bdd.parser import Feature, Scenario, Step

from contracts.commands import OVER
from contracts.control import ControlRecord
from contracts.errors import OrchError
from contracts.record import LedgerEvent
from contracts.states import STATE_CODES, TERMINAL, State
from orch.core.ledger import parse_ledger, state_of
from orch.store.keys import Keys
from tests.e2e.invariants import job_ids, stored
from tests.e2e.specs import command, shell
from tests.e2e.stack import Stack, a_stack, is_alive, wait_until

T = TypeVar("T")
MUTED: Final = bool(os.environ.get("ORCH_FEATURES_MUTED"))
WAIT_S: Final = 20.0
MUTED_S: Final = 0.3
"""How long a Then-step of a muted scenario waits for what cannot come; a Given has its time."""
QUEUE_JOBS_MAX: Final = 3
_REQUIREMENT: Final = re.compile(r"[A-Z]+-\d+")


def pytest_bdd_apply_tag(tag: str, function: Callable[..., object]) -> bool | None:
    """A tag like @ADM-2 says which requirement a scenario proves."""
    if _REQUIREMENT.fullmatch(tag) is None:
        return None
    pytest.mark.req(tag)(function)
    return True


def pytest_bdd_before_scenario(
    request: pytest.FixtureRequest, feature: Feature, scenario: Scenario
) -> None:
    """The mutation: what the scenario is about does not happen."""
    if MUTED:
        scenario.steps = [step for step in scenario.steps if step.type != "when"]


def pytest_bdd_before_step(request: pytest.FixtureRequest, step: Step) -> None:
    """What cannot come is not waited for."""
    if MUTED:
        scene: Scene = request.getfixturevalue("scene")
        scene.patience_s = MUTED_S if step.type == "then" else WAIT_S


def pytest_bdd_step_error(request: pytest.FixtureRequest, step: Step) -> None:
    """Which kind of step failed, for the report."""
    request.node.user_properties.append(("failed_step", step.type))


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The running system."""
    root = tmp_path_factory.mktemp("features")
    with a_stack(root, slots=1, queue_jobs_max=QUEUE_JOBS_MAX, backoff_ms_max=60_000) as running:
        yield running


@dataclass
class Scene:
    """What a scenario has so far."""

    stack: Stack
    folder: Path
    http: httpx2.Client
    spec: dict[str, Any] = field(default_factory=dict)
    answer: httpx2.Response | None = None
    job_id: str | None = None
    waiting: list[str] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    """All that were accepted, in their order."""
    known: set[str] = field(default_factory=set)
    """Jobs that were there before the last submission."""
    about: dict[str, Any] = field(default_factory=dict)
    """Whatever only one feature has."""
    patience_s: float = WAIT_S

    @property
    def said(self) -> httpx2.Response:
        """What the last call was answered."""
        assert self.answer is not None, "nothing was asked"
        return self.answer

    @property
    def job(self) -> str:
        """The job that the scenario is about."""
        assert self.job_id is not None, "there is no job"
        return self.job_id

    @property
    def file(self) -> Path:
        """Where an agent leaves its lines."""
        return self.folder / "lines"

    @property
    def gate(self) -> Path:
        """What the job in the only slot waits for."""
        return self.folder / "gate"

    def post(self, path: str, body: object, **headers: str) -> httpx2.Response:
        """One call, whatever it is answered; a job that it names is the scenario's from now on."""
        self.known = set(job_ids(self.stack.redis))
        self.answer = self.http.post(path, json=body, headers=headers)
        document = self.answer.json()
        if "job_id" in document:
            self.job_id = document["job_id"]
            self.jobs.append(document["job_id"])
        return self.answer

    def submit(self, spec: Mapping[str, Any], **headers: str) -> str:
        """A submission that is accepted; for what a scenario begins with."""
        answer = self.post("/v1/jobs", spec, **headers)
        assert answer.status_code in {200, 202}, answer.text
        return self.job

    def wait(self, fact: Callable[[], T | None], what: str) -> T:
        """The fact, within the time that a step has."""
        return wait_until(fact, self.patience_s, what=what)

    def over(self, command_id: str) -> ControlRecord:
        """The record of a command that has come to its end; a reload starts processes first."""

        def found() -> ControlRecord | None:
            try:
                record = self.stack.client.commanded(command_id)
            except OrchError:
                return None  # no scheduler has read it yet
            return record if record.status in OVER else None

        return wait_until(found, 2 * self.patience_s, what=f"the end of {command_id}")

    def state(self, job_id: str) -> State:
        """As it is stored."""
        return state_of(stored(self.stack.redis, job_id)["state"])

    def wait_for(self, job_id: str, *states: State) -> None:
        """Until it is stored in one of these states."""
        self.wait(lambda: self.state(job_id) in states, f"{states} of {job_id}")

    def ledger(self, job_id: str) -> list[LedgerEvent]:
        """As it is stored."""
        return parse_ledger(stored(self.stack.redis, job_id))


@pytest.fixture
def scene(house: Stack, tmp_path: Path) -> Iterator[Scene]:
    """An empty queue and a free slot before, and again after."""
    with httpx2.Client(base_url=house.url, timeout=20) as http:
        scene = Scene(house, tmp_path, http)
        yield scene
        scene.gate.touch()
        for job_id in job_ids(house.redis):
            if scene.state(job_id) not in TERMINAL:
                http.post(f"/v1/jobs/{job_id}/cancel")
        wait_until(lambda: not house.held(), what="the slot is free again")


# ---- steps that several features share


@given("the only slot is taken")
def the_slot_is_taken(scene: Scene) -> None:
    blocker = scene.submit(shell(f"while [ ! -e {scene.gate} ]; do sleep 0.02; done"))
    scene.wait_for(blocker, State.RUNNING)
    scene.job_id = None


@given("a waiting job")
def a_waiting_job(scene: Scene) -> None:
    scene.submit(shell(f"echo ran >> {scene.file}"))
    assert scene.state(scene.job) is State.QUEUED


@given("a running job")
def a_running_job(scene: Scene) -> None:
    scene.submit(shell(f"echo $$ > {scene.file}; exec sleep 600"))
    scene.wait(lambda: scene.file.exists() and scene.file.read_text().strip(), "the agent runs")


@given("a completed job")
def a_completed_job(scene: Scene) -> None:
    scene.wait_for(scene.submit(shell(f"echo ran >> {scene.file}")), State.COMPLETED)


@when("another job is submitted")
def another_job_is_submitted(scene: Scene) -> None:
    scene.post("/v1/jobs", command("true"))


@when("the slot becomes free")
def the_slot_becomes_free(scene: Scene) -> None:
    scene.gate.touch()


@then("the answer is 202 and names the job")
def accepted(scene: Scene) -> None:
    assert scene.said.status_code == 202, scene.said.text
    assert scene.said.headers["location"] == f"/v1/jobs/{scene.job}"
    assert scene.job not in scene.known
    assert scene.stack.redis.exists(Keys().job(scene.job))


@then(parsers.parse("the answer is {status:d} with the code {code}"))
def refused(scene: Scene, status: int, code: str) -> None:
    body = scene.said.json()
    assert (scene.said.status_code, body["code"]) == (status, code), scene.said.text
    assert body["request_id"] == scene.said.headers["x-correlation-id"]


@then("its agent is gone")
def its_agent_is_gone(scene: Scene) -> None:
    pid = int(scene.file.read_text())
    scene.wait(lambda: not is_alive(pid), "the agent is stopped")


@then("nothing was stored for it")
def nothing_was_stored(scene: Scene) -> None:
    assert scene.said.status_code >= 400
    assert set(job_ids(scene.stack.redis)) == scene.known


@then("the answer is 200 and calls it a duplicate")
def a_duplicate(scene: Scene) -> None:
    assert (scene.said.status_code, scene.said.json()["duplicate"]) == (200, True)
    assert set(job_ids(scene.stack.redis)) == scene.known, "no second job"


@then(parsers.parse("the job ends {state}"))
def the_job_ends(scene: Scene, state: str) -> None:
    scene.wait_for(scene.job, *TERMINAL)
    assert scene.state(scene.job) is State(state)
    ends = [event for event in scene.ledger(scene.job) if event.payload.get("to") in TERMINAL]
    assert [event.payload["to"] for event in ends] == [state], "it ended once"
    assert stored(scene.stack.redis, scene.job)["state"] == STATE_CODES[State(state)]
