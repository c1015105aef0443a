"""Drill of ops/runbooks/dead-letters.md: an endpoint is down, jobs fail for good, later they are replayed."""

from __future__ import annotations

from typing import Final

from contracts.states import State
from ops.drills.load import Load, call
from ops.drills.scene import Failed, Scene
from ops.drills.stack import Stack, stack

FAIL: Final = 6
_RETRY: Final = {"attempts_max": 2, "backoff_ms": 20, "on": ["logic"]}


def play(scene: Scene) -> None:
    """Show it."""
    house = stack(scene)
    house.up()
    good = Load(scene, "good")
    good.echoes(house, 40, each_ms=10)
    endpoint = scene.root / "endpoint"
    scene.step(f"{FAIL} jobs call an endpoint that is down")
    _fail(scene, house, [f"broken-{n}" for n in range(FAIL)], str(endpoint))
    house.orch("dead-letter", "list", "--limit", "50")
    house.orch("control", "pause", "pool:default", "--what", "dispatch", "--wait", show=False)
    scene.step("the cause is mended, the pool opened again, one of them tried first")
    endpoint.touch()
    house.orch("control", "resume", "pool:default", "--what", "dispatch", "--wait", show=False)
    _replay(scene, house, "broken-0", count=1)
    scene.step("it went well: the rest, first only counted")
    words = ("dead-letter", "replay", "--all", "--reason", "attempts_used")
    told = house.orch(*words, "--dry-run").out
    scene.equal("the dry run names the others", told.count("would be replayed"), FAIL - 1)
    scene.equal("and replays none", _left(house), FAIL - 1)
    _replay(scene, house, "--all", "--reason", "attempts_used", count=FAIL - 1)
    scene.equal("dead letters left", _left(house), 0)
    good.all_done_once(house)


def _fail(scene: Scene, house: Stack, names: list[str], endpoint: str) -> None:
    specs = [call("needs", endpoint, name=name, tenant="broken", retry=_RETRY) for name in names]
    Load(scene, "broken").submit(house, specs)
    scene.until(f"{len(names)} dead letters", lambda: _left(house) == len(names))
    scene.until(
        f'orch_fallback_decisions_total{{verb="fail"}} is {len(names)}',
        lambda: house.total("orch_fallback_decisions_total", verb="fail") == len(names),
    )


def _left(house: Stack) -> int:
    return len(house.ask(lambda client: client.dead_letters(tenant="broken")).dead_letters)


def _replay(scene: Scene, house: Stack, *which: str, count: int) -> None:
    letters = house.orch("dead-letter", "replay", *which, "--json", show=False).document["letters"]
    made = [one["replayed_as"] for one in letters if one["replayed_as"]]
    scene.equal("replayed", len(made), count)
    for job_id in made:
        _ended_well(house, job_id)
    scene.saw(f"{len(made)} replays are completed")


def _ended_well(house: Stack, job_id: str) -> None:
    state = house.ask(lambda client: client.wait(job_id, timeout_s=20)).state
    if state is not State.COMPLETED:
        raise Failed(f"the replay {job_id} is {state}")
