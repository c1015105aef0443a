"""Drill of ops/runbooks/aof-damage.md: the end of the append-only file is torn off, then it is garbage."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

import redis

from ops.drills.load import Load
from ops.drills.scene import Failed, Scene
from ops.drills.servers import the_engine
from ops.drills.stack import Stack, stack

TORN_BYTES: Final = 9
GARBAGE: Final = b"\x00\xffno command at all\r\n" * 8
_CHECK_S: Final = 60.0


def play(scene: Scene) -> None:
    """Show it."""
    house = stack(scene)
    house.up()
    load = Load(scene, "work")
    load.echoes(house, 120, each_ms=20)
    load.some_done(house, 10)
    scene.step("everything is killed at once, and the last command of the file is torn")
    house.kill()
    _newest(house).open("r+b").truncate(_newest(house).stat().st_size - TORN_BYTES)
    scene.step("a torn end needs nobody: the server reads up to it")
    house.up()
    _told(scene, house, "loading the AOF file")
    load.repeat(house)
    scene.step("the file is written anew: some servers leave half a transaction in it")
    _rewrite(scene, house)
    load.some_done(house, 20)
    scene.step("killed again; now the file ends in something that is no command")
    house.kill()
    with _newest(house).open("ab") as file:
        file.write(GARBAGE)
    scene.holds(
        "the stack refuses to come up", not house.comes_up(), house.last_words().splitlines()[0]
    )
    _told(scene, house, "Bad file format")
    scene.step("a copy is put aside, then the checker cuts the file where it stops making sense")
    aside = scene.root / "aside"
    aside.write_bytes(_newest(house).read_bytes())
    _mend(scene, _newest(house))
    cut = aside.stat().st_size - _newest(house).stat().st_size
    scene.equal("bytes cut off: the garbage and nothing else", cut, len(GARBAGE))
    house.up()
    load.repeat(house)
    load.all_done_once(house)


def _rewrite(scene: Scene, house: Stack) -> None:
    with redis.Redis.from_url(house.endpoint()["redis_url"], decode_responses=True) as server:
        scene.typed(["redis-cli", "-s", "data/valkey.sock", "BGREWRITEAOF"])
        server.execute_command("BGREWRITEAOF")
        scene.until(
            "the rewrite is done",
            lambda: server.info("persistence")["aof_rewrite_in_progress"] == 0,
        )


def _newest(house: Stack) -> Path:
    """The part of the append-only file that grows."""
    found = sorted(
        (house.home / "data" / "appendonlydir").glob("*.incr.aof"),
        key=lambda path: int(path.name.split(".")[-3]),
    )
    return found[-1]


def _told(scene: Scene, house: Stack, words: str) -> None:
    lines = (house.home / "valkey.log").read_text(errors="replace").splitlines()
    found = [line for line in lines if words in line]
    scene.holds(f"valkey.log says: {words}", bool(found), found[-1][:110] if found else "nothing")


def _mend(scene: Scene, file: Path) -> None:
    """`valkey-check-aof --fix`: the server program itself, called by that name."""
    engine = the_engine()
    name = f"{engine.name}-check-aof"
    scene.typed([name, "--fix", str(file)])
    done = subprocess.run(
        [name, "--fix", str(file)], executable=engine.path, input="y\n",
        capture_output=True, text=True, timeout=_CHECK_S, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise Failed(f"{name} ended with {done.returncode}: {(done.stdout + done.stderr)[-500:]}")
    scene.saw("\n".join(done.stdout.splitlines()[-3:]))
