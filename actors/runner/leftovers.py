"""What runners that died here left: processes of claims that are over, and scratch folders."""

from __future__ import annotations

import shutil
from pathlib import Path

import structlog

from orch.adapters.sweep import claimed, owner_lives, owner_mark, sweep
from orch.store.claims import Claims

log = structlog.get_logger()


async def sweep_processes(claims: Claims) -> None:
    """Kills agents whose guard and runner both died, once their claim is over. Agents of another stack of
    the same user are let alone: their jobs are not ours."""
    over = set[str]()
    for job_id, claim in claimed():
        if await claims.is_over(job_id, claim):
            over.add(claim)
    killed = sweep(over.__contains__)
    if killed:
        log.warning("leftovers_killed", processes=killed)


def fresh_scratch(root: Path) -> Path:
    """This process's own scratch folder below `root`; folders of dead processes are removed."""
    mine = root / owner_mark()
    mine.mkdir(mode=0o700, parents=True, exist_ok=True)
    for folder in root.iterdir():
        if not owner_lives(folder.name):
            shutil.rmtree(folder, ignore_errors=True)
    return mine
