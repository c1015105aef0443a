"""Drill of ops/runbooks/failover.md: a primary under Sentinels dies, and later changes places on purpose."""

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
from ops.drills.servers import SERVICE, watched
from ops.drills.stack import stack


def play(scene: Scene) -> None:
    """Three Sentinels promote the replica; the old primary comes back as a replica."""
    trio = watched(scene)
    scene.saw(f"primary {trio.primary.port}, replica {trio.replica.port}, Sentinels at {trio.url}")
    house = stack(scene, redis_url=trio.url, lease_ms=LEASE_MS)
    load = begin(scene, house)
    strike(scene, house, trio.primary, lambda: trio.primary_port() == trio.replica.port)
    end(scene, house, load)
    scene.step("the old primary is started again: the Sentinels make it a replica")
    trio.primary.start()
    scene.until(
        "it is in step with the new one",
        lambda: is_replica(trio.primary),
    )
    scene.step("a planned failover, with nothing handed out meanwhile: back to the first server")
    hand_over(
        scene, house, lambda: trio.sentinels[0].say("SENTINEL", "FAILOVER", SERVICE), trio.replica
    )
    scene.until(
        "it is the primary again", lambda: trio.primary_port() == trio.primary.port, TAKEOVER_S
    )
    go_on(scene, house)
