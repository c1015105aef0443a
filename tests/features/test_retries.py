"""The steps of retries.feature."""

from __future__ import annotations

from pytest_bdd import given, parsers, scenarios, then, when

from contracts.states import State
from orch.core.ledger import attempts
from orch.store.keys import Keys
from tests.e2e.invariants import stored
from tests.e2e.specs import shell
from tests.features.conftest import Scene

scenarios("retries.feature")


@given(parsers.parse("a job that fails once with exit code {code:d} and then succeeds"))
def fails_once(scene: Scene, code: int) -> None:
    script = f"[ -e {scene.file} ] || {{ touch {scene.file}; exit {code}; }}"
    scene.spec = shell(script, retry={"attempts_max": 3, "backoff_ms": 20})


@given(parsers.parse("a job that always fails with exit code {code:d}"))
def always_fails(scene: Scene, code: int) -> None:
    scene.spec = shell(f"exit {code}", retry={"attempts_max": 3, "backoff_ms": 20})


@given(parsers.parse("a job that always fails with exit code {code:d}, of {count:d} attempts"))
def always_fails_so_often(scene: Scene, code: int, count: int) -> None:
    scene.spec = shell(f"exit {code}", retry={"attempts_max": count, "backoff_ms": 20})


@given("a dead letter")
def a_dead_letter(scene: Scene) -> None:
    scene.wait_for(scene.submit(shell("exit 3")), State.FAILED)
    scene.answer = None


@given("a job that waits for its second attempt")
def waits_for_its_second(scene: Scene) -> None:
    scene.submit(shell("exit 75", retry={"attempts_max": 2, "backoff_ms": 60_000}))
    scene.wait_for(scene.job, State.SCHEDULED)
    scene.waiting = [scene.job]
    scene.job_id = None


@when("it is submitted")
def it_is_submitted(scene: Scene) -> None:
    scene.post("/v1/jobs", scene.spec)


@when("it is replayed")
def it_is_replayed(scene: Scene) -> None:
    scene.post("/v1/dead-letters/replay", {"job_ids": [scene.job]})


@when("it is replayed, only to see")
def it_is_replayed_dry(scene: Scene) -> None:
    scene.post("/v1/dead-letters/replay", {"job_ids": [scene.job], "dry_run": True})


@then(parsers.re(r"it took (?P<count>\d+) attempts?"))
def it_took(scene: Scene, count: str) -> None:
    told = attempts(scene.ledger(scene.job))
    assert len(told) == int(count)
    assert [one.attempt for one in told] == list(range(1, int(count) + 1))


@then("it is among the dead letters, because its attempts are used")
def among_the_dead(scene: Scene) -> None:
    assert scene.stack.redis.zscore(Keys().dead("default"), scene.job) is not None
    assert stored(scene.stack.redis, scene.job)["why"] == "attempts_used"
    letters = scene.http.get("/v1/dead-letters").json()["dead_letters"]
    assert letters[0]["job_id"] == scene.job


@then("there is a new job, and both name each other")
def a_new_job(scene: Scene) -> None:
    (letter,) = scene.said.json()["letters"]
    new = letter["replayed_as"]
    assert new not in scene.known
    assert stored(scene.stack.redis, scene.job)["replayed_as"] == new
    assert stored(scene.stack.redis, new)["replay_of"] == scene.job


@then("it is no dead letter any more")
def no_dead_letter(scene: Scene) -> None:
    assert scene.stack.redis.zscore(Keys().dead("default"), scene.job) is None


@then("it is named, and nothing was made")
def nothing_was_made(scene: Scene) -> None:
    (letter,) = scene.said.json()["letters"]
    assert (letter["job_id"], letter["replayed_as"]) == (scene.job, None)
    assert "replayed_as" not in stored(scene.stack.redis, scene.job)


@then("the first one still waits")
def still_waits(scene: Scene) -> None:
    (first,) = scene.waiting
    assert scene.state(first) is State.SCHEDULED
