"""Burials at once, by who knows that a process is dead: nobody needs to wait for a lease."""

from __future__ import annotations

import socket
from pathlib import Path

import structlog

from contracts.limits import BATCH_ITEMS_MAX
from orch.store.store import Store

log = structlog.get_logger()


async def bury_processes(store: Store, pids: set[int]) -> None:
    """Buries the instances of processes of this host that are known to be dead."""
    beats = await store.leases.beats()
    for instance_id, about in (await store.leases.instances()).items():
        if about.get("host") == socket.gethostname() and about.get("pid") in pids:
            await _bury(store, instance_id, beats.get(instance_id, 0))


async def _bury(store: Store, instance_id: str, counter: int) -> None:
    while True:
        burial = await store.leases.bury(instance_id, counter, age_ms=0, most=BATCH_ITEMS_MAX)
        log.info("buried_at_once", instance=instance_id, freed=burial.freed)
        if not burial.left:
            return


async def bury_predecessors(store: Store) -> None:
    """With a private server only our own processes ever connect; those of an earlier start are dead once
    no process with their id is an actor."""
    pids = {int(about["pid"]) for about in (await store.leases.instances()).values()}
    await bury_processes(store, {pid for pid in pids if not is_actor(pid)})


def is_actor(pid: int) -> bool:
    """Whether a process of this id is an actor of ours."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"actors" in words
