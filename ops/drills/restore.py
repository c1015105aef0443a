"""Drill of ops/runbooks/restore.md: a backup under load, the loss of everything, the way back."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import redis

from contracts.states import State
from ops.drills.load import Load
from ops.drills.scene import Scene
from ops.drills.stack import Stack, stack

KEPT: Final = b"kept\n"
_PERCENTAGE: Final = "auto-aof-rewrite-percentage"


def play(scene: Scene) -> None:
    """Show it."""
    house = stack(scene)
    house.up()
    load, files = Load(scene, "work"), Load(scene, "files")
    files.submit(house, [_artifact_job(scene.root)])
    load.echoes(house, 80, each_ms=20)
    files.all_done_once(house)
    load.some_done(house, 10)
    scene.step("a backup while it works: first the data, then the blobs that they name")
    backup = _backup(scene, house)
    scene.step("work goes on after it")
    load.echoes(house, 40, each_ms=10)
    load.some_done(house, 60)
    scene.step("everything is killed, data and blobs are gone")
    house.kill()
    for folder in ("data/appendonlydir", "blobs"):
        shutil.rmtree(house.home / folder)
    scene.step("the backup is put where the data were, and the stack started")
    for folder in ("data/appendonlydir", "blobs"):
        shutil.copytree(backup / folder, house.home / folder)
    house.up()
    scene.holds(
        "jobs of the time after the backup are unknown",
        len(load.records(house)) < len(load.specs),
        f"{len(load.records(house))} of {len(load.specs)} are there",
    )
    lost = house.largest("orch_acked_writes_lost_total")
    scene.equal(
        "nobody who knew better is left to count: orch_acked_writes_lost_total", int(lost), 0
    )
    scene.step("producers repeat what they sent, with the same keys")
    load.repeat(house)
    load.all_done_once(house)
    _artifact_is_there(scene, house)


def _artifact_job(folder: Path) -> dict[str, object]:
    step = {
        "id": "write",
        "argv": ["sh", "-c", "printf 'kept\\n' > kept.txt"],
        "artifacts": ["kept.txt"],
    }
    adapter = {"name": "steps", "config": {"steps": [step], "cwd": str(folder)}}
    return {
        "id": "file",
        "idempotency_key": "file",
        "name": "file",
        "tenant": "files",
        "adapter": adapter,
    }


def _backup(scene: Scene, house: Stack) -> Path:
    """As the page says: no rewrite in between, data before blobs."""
    backup = scene.root / "backup"
    with redis.Redis.from_url(house.endpoint()["redis_url"], decode_responses=True) as server:
        before = server.config_get(_PERCENTAGE)[_PERCENTAGE]
        server.config_set(_PERCENTAGE, "0")
        scene.until(
            "no rewrite is under way",
            lambda: server.info("persistence")["aof_rewrite_in_progress"] == 0,
        )
        shutil.copytree(house.home / "data" / "appendonlydir", backup / "data" / "appendonlydir")
        server.config_set(_PERCENTAGE, before)
    shutil.copytree(house.home / "blobs", backup / "blobs")
    size = sum(path.stat().st_size for path in backup.rglob("*") if path.is_file())
    scene.saw(f"{size:,} bytes in {backup}")
    return backup


def _artifact_is_there(scene: Scene, house: Stack) -> None:
    (one,) = house.ask(lambda client: client.artifacts("file")).artifacts
    scene.equal(
        "the artifact of before", house.ask(lambda c: c.artifact_bytes("file", one.sha256)), KEPT
    )
    record = house.ask(lambda client: client.job("file"))
    scene.equal("and its job, which ran once, is", record.state, State.COMPLETED)
