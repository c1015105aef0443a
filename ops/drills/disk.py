"""Drill of ops/runbooks/full-disk.md: the disk of the private server is really full, and gets room again."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from contracts.errors import OrchError
from contracts.limits import KIB, MIB
from ops.drills.load import Load, call
from ops.drills.room import Room, room
from ops.drills.scene import Failed, Scene, waited
from ops.drills.stack import Stack, stack

DISK_BYTES: Final = 12 * MIB
LEFT_BYTES: Final = 64 * KIB
_FULL_S: Final = 30.0


def play(scene: Scene) -> None:
    """Show it."""
    disk = room(scene, scene.root / "home" / "data", DISK_BYTES)
    house = stack(scene, before=disk.enter)
    house.up()
    load = Load(scene, "work")
    load.echoes(house, 60, each_ms=20)
    load.some_done(house, 10)
    scene.step(f"the disk of the data is filled: {LEFT_BYTES:,} of {DISK_BYTES:,} bytes are left")
    filler = disk.fill(LEFT_BYTES)
    accepted = _submit_until_it_hurts(scene, house, load)
    _look(scene, house, disk)
    scene.step("room is made, and the stack started if it has ended")
    filler.unlink()
    scene.saw(f"{disk.free_bytes:,} bytes are free")
    waited(lambda: house.has_ended() or _answers(house), _FULL_S)
    if house.has_ended():
        scene.saw("the stack had ended")
        house.up()
    scene.equal(
        "submissions of the bad time that were acknowledged and are gone",
        _gone(load, house, accepted),
        [],
    )
    load.repeat(house)
    load.all_done_once(house)


def _submit_until_it_hurts(scene: Scene, house: Stack, load: Load) -> list[str]:
    """One job after the other until one is not accepted; those that were."""
    accepted: list[str] = []
    for n in range(2_000):
        name = f"late-{n:04d}"
        spec = call("echo", n, 1, name=name, tenant=load.tenant, inputs={"ballast": "x" * 1_000})
        load.results[name] = n
        load.specs.append(spec)  # whatever the answer: it is repeated later
        try:
            _submit(house, spec)
        except (Failed, OrchError) as error:
            scene.saw(f"after {n} more, a submission is not accepted: {error}")
            return accepted
        accepted.append(name)
    raise Failed("the disk does not get full")


def _submit(house: Stack, spec: Mapping[str, object]) -> None:
    """Once, without patience."""
    house.ask(lambda client: client.submit(spec), within_s=0)


def _look(scene: Scene, house: Stack, disk: Room) -> None:
    lines: list[str] = []

    def told() -> bool:
        with suppress(OSError):
            text = (house.home / "valkey.log").read_text(errors="replace")
            lines[:] = [line for line in text.splitlines() if "AOF write error" in line]
        return bool(lines)

    scene.until("valkey.log tells of an AOF write error", told, _FULL_S)
    scene.saw(lines[-1][:140])
    scene.saw(
        f"free: {disk.free_bytes:,} bytes; server_died in the log: {len(house.said('server_died'))}"
    )
    waited(house.has_ended, 10)
    if house.has_ended():
        scene.saw(f"the stack has ended: {house.last_words()[-400:]}")


def _answers(house: Stack) -> bool:
    with suppress(Failed, OrchError):
        house.ask(lambda client: client.ready(), within_s=0)
        return True
    return False


def _gone(load: Load, house: Stack, accepted: list[str]) -> list[str]:
    there = {record.job_id for record in load.records(house)}
    return sorted(set(accepted) - there)[:5]
