"""What keeps a queued job from a free slot: its ties, its tenant's limit, and what operators wish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from contracts.record import JobRecord
from orch.core.scheduling import TiePolicy
from orch.store.connection import Connection


def _number(text: str | None, default: int) -> int:
    return default if text is None else int(text)


async def obstacles(
    connection: Connection,
    job: JobRecord,
    fields: Mapping[str, str],
    runners: Sequence[str],
    policy: TiePolicy,
) -> dict[str, Any]:
    """The members of `Facts` about them, and who is `drained`; a look, which may be old when it is read."""
    pool, tenant, aside = f"pool:{job.pool}", f"tenant:{job.tenant}", fields.get("aside")
    scopes = ("*", pool, f"queue:{job.pool}:{job.priority}", tenant)
    names = [f"{scope}:dispatch" for scope in scopes]
    names += [f"{pool}:drain", f"{tenant}:running_max", "*:drain"]
    key_limit = f"key:{job.tenant}:{(aside or '')[2:]}:running_max"
    drains = [f"runner:{one}:drain" for one in runners]
    keys = connection.keys
    wishes = await connection.execute("HMGET", keys.desired, *names, key_limit, *drains)
    limit = _number(wishes[5], policy.tenant_running_max)
    counted = await connection.execute("SCARD", keys.active(job.tenant, "t")) if limit else None
    found: dict[str, Any] = {
        "paused": tuple(
            scope for scope, wish in zip(scopes, wishes, strict=False) if wish == "paused"
        ),
        "draining": wishes[4] is not None or wishes[6] is not None,
        "drained": frozenset(
            one for one, wish in zip(runners, wishes[8:], strict=True) if wish is not None
        ),
        "tenant_running": None if counted is None else int(counted),
        "tenant_running_max": limit,
    }
    if aside is not None:
        holders = await connection.execute("SMEMBERS", keys.active(job.tenant, aside))
        most = _number(wishes[7], policy.key_running_max) if aside.startswith("k:") else 1
        found |= {"aside": aside, "aside_for": tuple(sorted(holders)), "aside_running_max": most}
    return found
