"""What must be true of a server at any time, whatever happened: read past Orch, from the raw keys."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import redis

from contracts.errors import Corrupt
from contracts.events import payload_faults
from contracts.states import STATE_CODES, TERMINAL, State
from orch.core.ledger import attempts, parse_ledger, replay, state_of
from orch.store.keys import OWNERS, Keys

_SHARD: Final = re.compile(r"\{orch:(\d+)\}:job:")
_KEY: Final = re.compile(r"\{orch:(\d+)\}:([^:]+):?(.*)", re.DOTALL)


def job_ids(client: redis.Redis, shard: int = 0) -> list[str]:
    """Every job of a shard on the server."""
    start = Keys(shard).job("")
    return [key.removeprefix(start) for key in client.scan_iter(start + "*", count=1_000)]


def ledger_faults(client: redis.Redis) -> list[str]:
    """Jobs whose ledger does not prove their state, or proves more than one end of an attempt."""
    keys = client.scan_iter("{orch:*}:job:*", count=1_000)
    shards = {int(found[1]) for key in keys if (found := _SHARD.match(key)) is not None}
    jobs = (
        (job_id, stored(client, job_id, shard))
        for shard in shards
        for job_id in job_ids(client, shard)
    )
    return [fault for job_id, fields in jobs if fields for fault in _ledger(job_id, fields)]


def ledgers(client: redis.Redis) -> list[dict[str, str]]:
    """The raw hash of every job."""
    return [fields for job_id in job_ids(client) if (fields := stored(client, job_id))]


def stored(client: redis.Redis, job_id: str, shard: int = 0) -> dict[str, str]:
    """The raw hash of a job."""
    fields = client.hgetall(Keys(shard).job(job_id))
    return {str(name): str(value) for name, value in fields.items()}


def _ledger(job_id: str, fields: dict[str, str]) -> Iterator[str]:
    try:
        events = parse_ledger(fields)
        state = replay(events)
    except Corrupt as error:
        yield f"job {job_id}: {error.message}"
        return
    for event in events:
        for fault in payload_faults(event.type, event.payload):
            yield f"job {job_id}: entry {event.seq}: {fault}"
    if state is not state_of(fields["state"]):
        yield f"job {job_id}: its ledger says {state.value}, it is stored as {fields['state']}"
    if state in TERMINAL and any(one.outcome is None for one in attempts(events)):
        yield f"job {job_id}: is {state.value}, but an attempt of it has no end"


def key_faults(client: redis.Redis) -> list[str]:
    """Keys that nobody would ever remove."""
    keys = list(client.scan_iter(count=1_000))
    return [fault for key in keys if (fault := _key(client, key)) is not None]


def _key(client: redis.Redis, key: str) -> str | None:
    parts = _KEY.fullmatch(key)
    owner = None if parts is None else OWNERS.get(parts[2])
    if parts is None or owner is None:
        return f"{key}: of no known family"
    one = Stored(client, key, Keys(int(parts[1])), parts[2], parts[3])
    if client.exists(key) == 0 or _OWNED_BY[owner](one):
        return None
    return f"{key}: its {owner} does not exist"


@dataclass(frozen=True, slots=True)
class Stored:
    """One key: of which family of which shard, and what follows the family's name."""

    client: redis.Redis
    key: str
    keys: Keys
    family: str
    rest: str


def _by_job(one: Stored) -> bool:
    job_id = one.client.get(one.key) if one.family == "idem" else one.rest
    return one.client.exists(one.keys.job(str(job_id))) == 1


def _by_pool(one: Stored) -> bool:
    return bool(one.client.sismember(one.keys.pools, one.rest.partition(":")[0]))


def _by_instance(one: Stored) -> bool:
    return bool(one.client.hexists(one.keys.instances, one.rest))


def _by_tenant(one: Stored) -> bool:
    return bool(one.client.sismember(one.keys.tenants, one.rest.partition(":")[0]))


def _by_ttl(one: Stored) -> bool:
    return one.client.pttl(one.key) > 0


def _by_shard(one: Stored) -> bool:
    return True


_OWNED_BY: Final[dict[str, Callable[[Stored], bool]]] = {
    "job": _by_job,
    "pool": _by_pool,
    "instance": _by_instance,
    "tenant": _by_tenant,
    "ttl": _by_ttl,
    "shard": _by_shard,
}


def settled_once(fields: dict[str, str]) -> bool:
    """Whether a stored job is completed, by exactly one accepted result."""
    causes = [e.payload.get("cause") for e in parse_ledger(fields)]
    return fields["state"] == STATE_CODES[State.COMPLETED] and causes.count("settle") == 1


def result_of(fields: dict[str, str]) -> object:
    """The result as stored."""
    return json.loads(fields["result"])
