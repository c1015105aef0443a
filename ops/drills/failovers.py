"""Drills of ops/runbooks/failover.md: the primary dies under load, and another server takes its place.

Under Sentinels and in a Cluster the same is asked: the house goes on by itself, counts what it can prove to be
lost, and has everything once producers have repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ops.drills.load import Load
from ops.drills.scene import Scene
from ops.drills.servers import Server, cluster, watched
from ops.drills.stack import Stack, stack

TAKEOVER_S: Final = 60.0
_LEASE_MS: Final = 6_000


def under_sentinels(scene: Scene) -> None:
    """Three Sentinels promote the replica; the old primary comes back as a replica."""
    trio = watched(scene)
    scene.saw(f"primary {trio.primary.port}, replica {trio.replica.port}, Sentinels at {trio.url}")
    house = stack(scene, redis_url=trio.url, lease_ms=_LEASE_MS)
    load = _begin(scene, house)
    _strike(scene, house, trio.primary, lambda: trio.primary_port() == trio.replica.port)
    _end(scene, house, load)
    scene.step("the old primary is started again: the Sentinels make it a replica")
    trio.primary.start()
    scene.until(
        "it is in step with the new one",
        lambda: (
            trio.primary.fact("replication", "role") == "slave"
            and trio.primary.fact("replication", "master_link_status") == "up"
        ),
    )
    scene.step("a planned failover, with nothing handed out meanwhile: back to the first server")
    _hand_over(scene, house, lambda: trio.sentinels[0].say("SENTINEL", "FAILOVER", "orch"))
    scene.until(
        "it is the primary again", lambda: trio.primary_port() == trio.primary.port, TAKEOVER_S
    )
    _go_on(scene, house)


def in_a_cluster(scene: Scene) -> None:
    """The replica of the node that serves the shard's slot is promoted; the old node comes back as its replica."""
    nodes = cluster(scene)
    scene.saw(
        f"the shard's node {nodes.serving.port}, its replica {nodes.replica.port}, {nodes.url}"
    )
    house = stack(scene, redis_url=nodes.url, lease_ms=_LEASE_MS)
    load = _begin(scene, house)
    _strike(
        scene, house, nodes.serving, lambda: nodes.replica.fact("replication", "role") == "master"
    )
    _end(scene, house, load)
    scene.step("the old node is started again: it becomes a replica")
    nodes.serving.start()
    scene.until(
        "it is in step with the new one",
        lambda: (
            nodes.serving.fact("replication", "role") == "slave"
            and nodes.serving.fact("replication", "master_link_status") == "up"
        ),
    )
    scene.step("a planned failover, with nothing handed out meanwhile: back to the first node")
    _hand_over(scene, house, lambda: nodes.serving.say("CLUSTER", "FAILOVER"))
    scene.until(
        "it is the primary again",
        lambda: nodes.serving.fact("replication", "role") == "master",
        TAKEOVER_S,
    )
    _go_on(scene, house)


def _begin(scene: Scene, house: Stack) -> Load:
    house.up()
    load = Load(scene, "work")
    load.echoes(house, 150, each_ms=30)
    load.some_done(house, 10)
    return load


def _strike(scene: Scene, house: Stack, primary: Server, is_over: Callable[[], bool]) -> None:
    restarts = house.largest("orch_server_restarts_total")
    scene.step(f"the primary dies (SIGKILL, port {primary.port})")
    primary.kill()
    scene.until("another server is primary", is_over, TAKEOVER_S)
    scene.until(
        "the house has found it (orch_server_restarts_total)",
        lambda: house.largest("orch_server_restarts_total") > restarts,
        TAKEOVER_S,
    )


def _end(scene: Scene, house: Stack, load: Load) -> None:
    lost = house.largest("orch_acked_writes_lost_total")
    scene.saw(f"orch_acked_writes_lost_total, the largest of all parts: {lost:.0f}")
    scene.step("producers repeat what they sent, with the same keys")
    load.repeat(house)
    load.all_done_once(house, TAKEOVER_S)


def _hand_over(scene: Scene, house: Stack, give: Callable[[], object]) -> None:
    house.orch("control", "pause", "*", "--wait", show=False)
    scene.saw(f"the server said {give()}")


def _go_on(scene: Scene, house: Stack) -> None:
    scene.until(
        "the gateway is ready", lambda: bool(house.ask(lambda client: client.ready())), TAKEOVER_S
    )
    house.orch("control", "resume", "*", "--wait", show=False)
    after = Load(scene, "after")
    after.echoes(house, 20, each_ms=10)
    after.all_done_once(house, TAKEOVER_S)
