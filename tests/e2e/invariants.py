"""What must be true of a server at any time, whatever happened: read past Orch, from the raw keys."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Final

import redis

from contracts.errors import Corrupt
from contracts.events import payload_faults
from contracts.states import STATE_CODES, TERMINAL, State
from orch.core.ledger import attempts, parse_ledger, replay, state_of
from orch.store.keys import OWNERS, Keys

PREFIX: Final = Keys().prefix


def job_ids(client: redis.Redis) -> list[str]:
    """Every job on the server."""
    start = Keys().job("")
    return [key.removeprefix(start) for key in client.scan_iter(start + "*", count=1_000)]


def ledger_faults(client: redis.Redis) -> list[str]:
    """Jobs whose ledger does not prove their state, or proves more than one end of an attempt."""
    found = ((job_id, stored(client, job_id)) for job_id in job_ids(client))
    return [fault for job_id, fields in found if fields for fault in _ledger(job_id, fields)]


def ledgers(client: redis.Redis) -> list[dict[str, str]]:
    """The raw hash of every job."""
    return [fields for job_id in job_ids(client) if (fields := stored(client, job_id))]


def stored(client: redis.Redis, job_id: str) -> dict[str, str]:
    """The raw hash of a job."""
    return {str(name): str(value) for name, value in client.hgetall(Keys().job(job_id)).items()}


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
    family, _, rest = key.removeprefix(PREFIX).partition(":")
    owner = OWNERS.get(family)
    if not key.startswith(PREFIX) or owner is None:
        return f"{key}: of no known family"
    if client.exists(key) == 0 or _OWNED_BY[owner](client, key, family, rest):
        return None
    return f"{key}: its {owner} does not exist"


def _by_job(client: redis.Redis, key: str, family: str, rest: str) -> bool:
    job_id = client.get(key) if family == "idem" else rest
    return client.exists(Keys().job(str(job_id))) == 1


def _by_pool(client: redis.Redis, key: str, family: str, rest: str) -> bool:
    return bool(client.sismember(Keys().pools, rest.partition(":")[0]))


def _by_instance(client: redis.Redis, key: str, family: str, rest: str) -> bool:
    return bool(client.hexists(Keys().instances, rest))


def _by_tenant(client: redis.Redis, key: str, family: str, rest: str) -> bool:
    return bool(client.sismember(Keys().tenants, rest.partition(":")[0]))


def _by_ttl(client: redis.Redis, key: str, family: str, rest: str) -> bool:
    return client.pttl(key) > 0


def _by_shard(client: redis.Redis, key: str, family: str, rest: str) -> bool:
    return True


_OWNED_BY: Final[dict[str, Callable[[redis.Redis, str, str, str], bool]]] = {
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
