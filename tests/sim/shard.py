"""What must be true of everything a server holds: at any moment, and when all work is done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from contracts.errors import Corrupt
from orch.store.keys import OWNERS
from tests.store import invariants

_LEFT = frozenset("held ready requests outcomes undecided control open canceling".split())

Data = Mapping[str, Any]
"""As `Backend.contents` gives it."""


def jobs_of(data: Data) -> dict[str, dict[str, str]]:
    """Job id -> its hash."""
    return {
        name.removeprefix("job:"): value for name, value in data.items() if name.startswith("job:")
    }


def mark_of(fields: Mapping[str, str]) -> str:
    """Which submission a job comes from."""
    return str(orjson.loads(fields["spec"])["inputs"]["sim"]["mark"])


def faults_of(
    data: Data, sound: dict[str, Mapping[str, str]] | None = None, *, indexed: bool = True
) -> list[str]:
    """Every promise of the store's own suite that is broken; without `indexed` only those about the jobs.

    `sound` remembers, from look to look, jobs whose ledgers were whole: one that did not change still is.
    """
    sound = {} if sound is None else sound
    jobs = jobs_of(data)
    ttls = {name: 1 for name in data if OWNERS.get(name.partition(":")[0]) == "ttl"}
    faults = []
    for name in data if indexed else ():
        faults += invariants._owner_faults(name, data, jobs, ttls)
    sets = invariants._member_sets(data) if indexed else {}
    for job_id, fields in jobs.items():
        if sound.get(job_id) != fields:
            found = _ledger_faults(job_id, fields)
            faults += found
            if not found:
                sound[job_id] = fields
        if indexed:
            faults += invariants._index_faults(job_id, fields, data, sets)
    if not indexed:
        return faults
    faults += invariants._count_faults(jobs, data) + invariants._held_faults(jobs, data)
    return faults + invariants._tie_faults(jobs, data) + invariants._schedule_faults(data)


def _ledger_faults(job_id: str, fields: Mapping[str, str]) -> list[str]:
    try:
        return invariants._ledger_faults(job_id, fields)
    except Corrupt as error:
        return [f"{job_id}: {error.message}"]


def leftovers_of(data: Data) -> list[str]:
    """What must not be there any more when every job is over or waits for a human."""
    faults = [
        f"{name} still holds {value}"
        for name, value in data.items()
        if name.partition(":")[0] in _LEFT and value
    ]
    live = [job_id for job_id, job in jobs_of(data).items() if job["state"] not in "CFXEbp"]
    return faults + [f"job {job_id} has not ended" for job_id in live]
