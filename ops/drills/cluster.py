"""Drill of ops/runbooks/failover.md: a node of a Cluster dies, and later changes places on purpose."""

from __future__ import annotations

from ops.drills.failover import (
    LEASE_MS,
    TAKEOVER_S,
    begin,
    end,
    go_on,
    hand_over,
    is_replica,
    strike,
)
from ops.drills.scene import Scene
from ops.drills.servers import cluster
from ops.drills.stack import stack


def play(scene: Scene) -> None:
    """The replica of the shard's node is promoted; the old node comes back as its replica."""
    nodes = cluster(scene)
    scene.saw(
        f"the shard's node {nodes.serving.port}, its replica {nodes.replica.port}, {nodes.url}"
    )
    house = stack(scene, redis_url=nodes.url, lease_ms=LEASE_MS)
    load = begin(scene, house)
    strike(
        scene, house, nodes.serving, lambda: nodes.replica.fact("replication", "role") == "master"
    )
    end(scene, house, load)
    scene.step("the old node is started again: it becomes a replica")
    nodes.serving.start()
    scene.until(
        "it is in step with the new one",
        lambda: is_replica(nodes.serving),
    )
    scene.step("a planned failover, with nothing handed out meanwhile: back to the first node")
    hand_over(scene, house, lambda: nodes.serving.say("CLUSTER", "FAILOVER"), nodes.replica)
    scene.until(
        "it is the primary again",
        lambda: nodes.serving.fact("replication", "role") == "master",
        TAKEOVER_S,
    )
    go_on(scene, house)
