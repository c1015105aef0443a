"""Drill of ops/runbooks/deploy.md: an unfit server is noticed and mended, then the house is put to work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType
from typing import Final

from ops.drills.children import ROOT, environ_of
from ops.drills.load import Load
from ops.drills.scene import Failed, Scene
from ops.drills.servers import Server, server
from ops.drills.stack import Stack, stack

CONNECTIONS: Final = MappingProxyType(
    {
        "admission": 3, "fallback": 3, "gateway": 4, "notifier": 4, "reaper": 8, "runner": 5, "scheduler": 6,
        "supervisor": 2,
    }
)  # fmt: skip
"""Of one process to the server, as it is with little to do; docs/capacity.md has the same table."""
MORE_MAX: Final = 4
"""So many more may be open while calls overlap."""
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
    found = _connections(house, data.port)
    odd = {role: n for role, n in found.items() if not 0 < n <= CONNECTIONS[role] + MORE_MAX}
    scene.saw(f"connections to the server, by role: {found}")
    scene.equal("none has many more than docs/capacity.md says", odd, {})
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


def _connections(house: Stack, port: int) -> dict[str, int]:
    """Established connections to that port of loopback, of one process of each role."""
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    to_server = {
        f"socket:[{row[9]}]" for row in rows if row[2] == f"0100007F:{port:04X}" and row[3] == "01"
    }
    pids = {role: processes[0].pid for role, processes in house.parts().items()} | {
        "supervisor": house.pid
    }
    found = {}
    for role, pid in sorted(pids.items()):
        links = (
            os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()
        )
        found[role] = sum(link in to_server for link in links)
    return found


def _first_job(scene: Scene, house: Stack) -> None:
    spec = scene.root / "first.yaml"
    spec.write_text("name: first\nadapter:\n  name: command\n  config: {argv: [echo, hello]}\n")
    ended = house.orch("submit", str(spec), "--wait")
    scene.equal("orch submit --wait ended with", ended.code, 0)
