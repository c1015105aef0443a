"""What both drills of a failover do: load, the blow, what is owed afterwards, and a hand-over on purpose.

Under Sentinels and in a Cluster the same is asked: the house goes on by itself, counts what it can prove to
be lost, and has everything once producers have repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ops.drills.load import Load
from ops.drills.scene import Scene
from ops.drills.servers import Server
from ops.drills.stack import Stack

TAKEOVER_S: Final = 60.0
LEASE_MS: Final = 6_000


def begin(scene: Scene, house: Stack) -> Load:
    """A house under load."""
    house.up()
    load = Load(scene, "work")
    load.echoes(house, 150, each_ms=30)
    load.some_done(house, 10)
    return load


def strike(scene: Scene, house: Stack, primary: Server, is_over: Callable[[], bool]) -> None:
    """The primary dies; another server takes over, and the house finds it."""
    restarts = house.largest("orch_server_restarts_total")
    scene.step(f"the primary dies (SIGKILL, port {primary.port})")
    primary.kill()
    scene.until("another server is primary", is_over, TAKEOVER_S)
    scene.until(
        "the house has found it (orch_server_restarts_total)",
        lambda: house.largest("orch_server_restarts_total") > restarts,
        TAKEOVER_S,
    )


def end(scene: Scene, house: Stack, load: Load) -> None:
    """Producers repeat, and then each job has ended once."""
    lost = house.largest("orch_acked_writes_lost_total")
    scene.saw(f"orch_acked_writes_lost_total, the largest of all parts: {lost:.0f}")
    scene.step("producers repeat what they sent, with the same keys")
    load.repeat(house)
    load.all_done_once(house, TAKEOVER_S)


def hand_over(scene: Scene, house: Stack, give: Callable[[], object], old: Server) -> None:
    """The gates are closed, the servers change places; returns when nobody works with the old one."""
    restarts = house.largest("orch_server_restarts_total")
    house.orch("control", "pause", "*", "--wait", show=False)
    scene.saw(f"the server said {give()}")
    # Sentinels name the new primary first. Till the old one is told, connections stay there, and are
    # acknowledged what the new one will never have.
    scene.until("the old primary is a replica", lambda: is_replica(old), TAKEOVER_S)
    scene.until(
        "the house has moved (orch_server_restarts_total)",
        lambda: house.largest("orch_server_restarts_total") > restarts,
        TAKEOVER_S,
    )


def is_replica(server: Server) -> bool:
    """Whether it says so itself, and is in step with its primary."""
    return (
        server.fact("replication", "role") == "slave"
        and server.fact("replication", "master_link_status") == "up"
    )


def go_on(scene: Scene, house: Stack) -> None:
    """The gates are opened again, and work is done."""
    scene.until(
        "the gateway is ready", lambda: bool(house.ask(lambda client: client.ready())), TAKEOVER_S
    )
    house.orch("control", "resume", "*", "--wait", show=False)
    after = Load(scene, "after")
    after.echoes(house, 20, each_ms=10)
    after.all_done_once(house, TAKEOVER_S)
