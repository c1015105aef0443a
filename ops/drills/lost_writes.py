"""Drill of ops/runbooks/writes-lost.md: a server that syncs once a second comes back with what it had."""

from __future__ import annotations

from pathlib import Path

from ops.drills.load import Load
from ops.drills.scene import Scene
from ops.drills.servers import Server, server
from ops.drills.stack import Stack, stack


def play(scene: Scene) -> None:
    """Show it."""
    data = server(scene, appendfsync="everysec")
    house = stack(scene, redis_url=data.url)
    house.up()
    load = Load(scene, "work")
    load.echoes(house, 60, each_ms=20)
    load.some_done(house, 10)
    copy = data.keep()
    scene.step(
        "more is accepted and done; then the server dies, and comes back as it was before that"
    )
    load.echoes(house, 60, each_ms=20)
    load.some_done(house, 70)
    _lose(scene, house, data, copy)
    house.orch("doctor", codes=(0, 7))
    scene.step("producers repeat what they sent, with the same keys")
    lost = load.repeat(house)
    scene.holds("submissions had been lost, and are there again", lost > 0, lost)
    load.all_done_once(house)
    scene.step("the cause is mended for the next time")
    data.say("CONFIG", "SET", "appendfsync", "always")
    scene.saw(f"appendfsync is now {data.say('CONFIG', 'GET', 'appendfsync')}")


def _lose(scene: Scene, house: Stack, data: Server, copy: Path) -> None:
    restarts = house.largest("orch_server_restarts_total")
    data.kill()
    data.go_back(copy)
    data.start()
    scene.until(
        "every part has met the new incarnation (orch_server_restarts_total)",
        lambda: house.largest("orch_server_restarts_total") > restarts,
    )
    lost = scene.until(
        "acknowledged writes are known to be lost",
        lambda: house.largest("orch_acked_writes_lost_total"),
    )
    scene.saw(f"orch_acked_writes_lost_total, the largest of all parts: {lost:.0f}")
