"""Drill of ops/runbooks/deploy.md: a server that would lose jobs is noticed and mended, then the house is put to work."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

from ops.drills.children import ROOT, environ_of
from ops.drills.load import Load
from ops.drills.scene import Failed, Scene
from ops.drills.servers import Server, server
from ops.drills.stack import Stack, stack

CONNECTIONS_MAX: Final = 50
"""Of a stack with one runner that has little to do; docs/capacity.md says from where they come."""
_DOCTOR_S: Final = 60.0


def play(scene: Scene) -> None:
    """Show it."""
    data = server(scene, "primary", "--maxmemory-policy", "allkeys-lru", appendfsync="everysec")
    scene.step("is this server fit? It evicts, and it syncs once a second")
    code, said = _doctor(scene, data)
    scene.saw(said)
    scene.equal("the doctor says no", code, 7)
    scene.step("the fixes that it named")
    for name, value in (("maxmemory-policy", "noeviction"), ("appendfsync", "always")):
        scene.typed(["redis-cli", "-u", data.url, "CONFIG", "SET", name, value])
        data.say("CONFIG", "SET", name, value)
    code, said = _doctor(scene, data)
    scene.equal("the doctor says yes", code, 0)
    house = stack(scene, redis_url=data.url)
    house.up()
    house.orch("doctor")
    scene.step("a first job, then some load")
    _first_job(scene, house)
    load = Load(scene, "work")
    load.echoes(house, 100, each_ms=10)
    load.all_done_once(house)
    house.orch("pools")
    connections = int(data.fact("clients", "connected_clients") or 0)
    scene.holds("connections to the server", 0 < connections <= CONNECTIONS_MAX, connections)
    scene.step("are all numbers there that alerts and dashboards ask for?")
    house.orch("lint", "metrics", "--live", "--root", str(ROOT))
    scene.step("and back: down loses nothing, the next start goes on")
    load.echoes(house, 60, each_ms=20)
    house.down()
    house.up()
    load.all_done_once(house)


def _doctor(scene: Scene, data: Server) -> tuple[int, str]:
    """`orch doctor` before anything runs: what is at ORCH_REDIS_URL."""
    home = str(scene.root / "home")
    scene.say(f"  $ ORCH_REDIS_URL={data.url} orch doctor --home {home}")
    done = subprocess.run(
        [sys.executable, "-m", "orch.cli.main", "doctor", "--home", home],
        env={**environ_of(), "ORCH_REDIS_URL": data.url, "PATH": os.environ["PATH"]}, cwd=scene.root,
        capture_output=True, text=True, timeout=_DOCTOR_S, check=False,
    )  # fmt: skip
    if done.returncode not in (0, 7):
        raise Failed(f"orch doctor ended with {done.returncode}: {done.stderr}")
    return done.returncode, done.stdout


def _first_job(scene: Scene, house: Stack) -> None:
    spec = scene.root / "first.yaml"
    spec.write_text("name: first\nadapter:\n  name: command\n  config: {argv: [echo, hello]}\n")
    ended = house.orch("submit", str(spec), "--wait")
    scene.equal("orch submit --wait ended with", ended.code, 0)
