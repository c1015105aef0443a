"""Drill of ops/runbooks/drain-node.md: of two nodes one is emptied under load, taken away, and comes back."""

from __future__ import annotations

from typing import Final

from contracts.outcomes import Outcome
from ops.drills.load import Load, until_there
from ops.drills.scene import Scene
from ops.drills.servers import server
from ops.drills.stack import Stack, stack

DEADLINE_MS: Final = "1500"
LONG: Final = "long-job"


def play(scene: Scene) -> None:
    """Show it."""
    data = server(scene)
    first = stack(scene, "node-a", redis_url=data.url, slots=4, lease_ms=6_000)
    second = stack(scene, "node-b", redis_url=data.url, slots=4, lease_ms=6_000)
    first.up()
    mine = runners(first)
    go = scene.root / "go"
    long = Load(scene, "long")
    long.submit(first, [until_there(go, name=LONG, tenant="long")])
    scene.until("a long job runs on the first node", lambda: _runner_of(first) in mine)
    second.up()
    others = [name for name in runners(second) if name not in mine]
    load = Load(scene, "work")
    load.echoes(second, 300, each_ms=40)
    load.some_done(second, 10)
    scene.step("the runners of the first node are drained, with a deadline")
    for name in mine:
        words = ("control", "drain", f"runner:{name}", "--deadline-ms", DEADLINE_MS, "--wait")
        second.orch(*words)
    scene.equal("orch_runner_draining on the node", int(first.largest("orch_runner_draining")), 1)
    second.orch("pools")
    scene.until(
        "the long job goes on at the other node", lambda: _runner_of(second) not in {*mine, ""}
    )
    scene.step("the node is taken away; the other one works on")
    first.down()
    load.some_done(second, 60)
    scene.step("the node comes back: its runners have new names and take work")
    first.up()
    back = [name for name in runners(first) if name not in {*mine, *others}]
    scene.holds("new runners are there", bool(back), len(back))
    go.touch()
    load.echoes(second, 60, each_ms=40)
    load.all_done_once(second)
    long.all_done_once(second)
    ends = [one.outcome for one in second.ask(lambda client: client.job(LONG)).attempts]
    scene.equal("the long job was handed over, which is no failure", ends[-1], Outcome.DONE)


def runners(house: Stack) -> list[str]:
    """The instances of the pool's runners, as `GET /v1/pools/default/health` lists them."""
    return [one.runner for one in house.ask(lambda client: client.pool_health("default")).runners]


def _runner_of(house: Stack) -> str:
    """Who runs the long job now; empty while nobody does."""
    lease = house.ask(lambda client: client.job(LONG)).lease
    return "" if lease is None else lease.worker_id
