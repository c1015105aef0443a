"""Drill of ops/runbooks/upgrade.md: the next version starts beside this one, takes over, and this one leaves.

The next version is a copy of this checkout with another version number and another text of the function
library, so that both libraries stand on the server at once.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any, Final

from ops.drills.children import ROOT
from ops.drills.drain import runners
from ops.drills.load import Load
from ops.drills.scene import Scene
from ops.drills.servers import Server, server
from ops.drills.stack import Stack, stack
from orch import __version__

NEXT: Final = "999.0.0"
PACKAGES: Final = ("contracts", "orch", "actors")


def play(scene: Scene) -> None:
    """Show it."""
    data = server(scene)
    old = stack(scene, "old", redis_url=data.url, lease_ms=6_000)
    new = stack(scene, "new", code=_next_version(scene), redis_url=data.url, lease_ms=6_000)
    old.up()
    load = Load(scene, "work")
    load.echoes(old, 400, each_ms=40)
    load.some_done(old, 10)
    leaving = runners(old)
    scene.step("the next version starts beside this one, on the same server")
    new.up()
    scene.equal("function libraries on the server", len(_libraries(data)), 2)
    scene.equal("versions of runners", _versions(new), {__version__, NEXT})
    load.echoes(new, 300, each_ms=40)
    load.some_done(new, 150)
    scene.step("back again: as long as the old one runs, drains are lifted and the new one ends")
    _drain(new, leaving)
    for name in leaving:
        new.orch("control", "undrain", f"runner:{name}", "--wait", show=False)
    scene.until("the old runners take work again", lambda: not old.largest("orch_runner_draining"))
    scene.step("forward: the old runners are drained, then the old version ends")
    _drain(new, leaving)
    old.down()
    scene.until(f"all runners are of version {NEXT}", lambda: _versions(new) == {NEXT})
    load.echoes(new, 40, each_ms=10)
    load.all_done_once(new)
    scene.holds("both versions have worked", len(workers := load.workers(new)) > 1, sorted(workers))
    _look_at_library(scene, data, new)


def _next_version(scene: Scene) -> Path:
    code = scene.root / "next"
    for name in PACKAGES:
        shutil.copytree(ROOT / name, code / name, ignore=shutil.ignore_patterns("__pycache__"))
    home = code / "orch" / "__init__.py"
    home.write_text(re.sub(r'__version__ = "[^"]+"', f'__version__ = "{NEXT}"', home.read_text()))
    verb = code / "orch" / "store" / "functions" / "claim.lua"
    verb.write_text(verb.read_text() + "-- the next version says this\n")
    return code


def _drain(house: Stack, names: list[str]) -> None:
    for name in names:
        house.orch("control", "drain", f"runner:{name}", "--deadline-ms", "10000", "--wait")


def _versions(house: Stack) -> set[str]:
    return {one.version for one in house.ask(lambda client: client.replica_sets()).replicasets}


def _libraries(data: Server) -> list[str]:
    found: list[Any] = data.say("FUNCTION", "LIST", "LIBRARYNAME", "orch_*")
    return sorted(dict(zip(one[::2], one[1::2], strict=True))["library_name"] for one in found)


def _look_at_library(scene: Scene, data: Server, house: Stack) -> None:
    """Deleting a library that is in use would cost a reload, not a job: shown with the one that is in use."""
    for name in _libraries(data):
        data.say("FUNCTION", "DELETE", name)
    after = Load(scene, "after")
    after.echoes(house, 10, each_ms=1)
    after.all_done_once(house)
    scene.equal("libraries on the server, loaded again by who needs them", len(_libraries(data)), 1)
