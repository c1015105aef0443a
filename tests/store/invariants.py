"""What must be true of the data at any moment, checked after every conformance test.

The ledger is the proof of the state (JOB-4), the job hash is the truth of every index (REA-3), and no key
is without an owner or a time to live.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from contracts.events import payload_faults
from contracts.states import TERMINAL, State
from orch.core.ledger import parse_ledger, replay, state_of
from orch.core.views import job_record
from orch.store.keys import OWNERS
from tests.store.world import World

Jobs = Mapping[str, Mapping[str, str]]
WAITS_FOR = {"later": "s", "question": "b", "deadline": "sqyrpb"}
"""The states in which a timer of each kind may stand."""


async def faults_of(world: World, *, half_written: bool) -> list[str]:
    """Every broken promise, in words."""
    contents = await world.contents()
    prefix = world.connection.keys.prefix
    data = {name.removeprefix(prefix): value for name, value in contents.items()}
    jobs = {
        name.removeprefix("job:"): value for name, value in data.items() if name.startswith("job:")
    }
    ttls = {
        name: int(await world.redis("PTTL", prefix + name))
        for name in data
        if OWNERS.get(name.partition(":")[0]) == "ttl"
    }
    faults = [
        f"{name}: not under the shard's prefix" for name in contents if not name.startswith(prefix)
    ]
    faults += [fault for name in data for fault in _owner_faults(name, data, jobs, ttls)]
    sets = _member_sets(data)
    for job_id, fields in jobs.items():
        faults += _ledger_faults(job_id, fields)
        if not half_written:
            faults += _index_faults(job_id, fields, data, sets)
    if half_written:
        return faults
    faults += _count_faults(jobs, data) + _held_faults(jobs, data) + _hook_faults(data)
    return faults + _tie_faults(jobs, data) + _schedule_faults(data)


def _owner_faults(
    name: str, data: Mapping[str, Any], jobs: Jobs, ttls: Mapping[str, int]
) -> list[str]:
    family, _, rest = name.partition(":")
    owner = OWNERS.get(family)
    first = rest.partition(":")[0]
    alive = {
        "job": lambda: (data[name] if family == "idem" else rest) in jobs,
        "pool": lambda: first in data.get("pools", ()),
        "instance": lambda: first in data.get("instances", {}),
        "tenant": lambda: first in data.get("tenants", ()),
        "ttl": lambda: ttls[name] > 0,
        "shard": lambda: family == "retire" or not rest,
    }
    if owner is None:
        return [f"{name}: no family of keys.OWNERS"]
    return [] if alive[owner]() else [f"{name}: its owner, a {owner}, is gone"]


def _ledger_faults(job_id: str, fields: Mapping[str, str]) -> list[str]:
    events = parse_ledger(fields)
    faults = []
    if replay(events) is not state_of(fields["state"]):
        faults.append(f"{job_id}: the ledger proves {replay(events)}, stored is {fields['state']}")
    for event in events:
        told = payload_faults(event.type, event.payload)
        faults += [f"{job_id}: entry {event.seq}: {fault}" for fault in told]
    numbered = [name for name in fields if name.isdigit()]
    if len(numbered) != int(fields["seq"]):
        faults.append(f"{job_id}: {len(numbered)} ledger entries, seq {fields['seq']}")
    view = job_record(job_id, dict(fields))
    if view.pause_wished and view.state in TERMINAL:
        faults.append(f"{job_id}: over, and still wished to pause")
    return faults


def _ties_of(fields: Mapping[str, str]) -> list[str]:
    words = fields.get("ties", "").split()
    return [word for word in words if word == "t" or word[:2] in {"k:", "s:"}]


def _tie_faults(jobs: Jobs, data: Mapping[str, Any]) -> list[str]:
    """Nobody has a tie who is gone; whoever waits for one waits for somebody."""
    faults = []
    for name, members in data.items():
        family, _, rest = name.partition(":")
        if family == "active":
            gone = [one for one in members if one not in jobs]
            faults += [f"{name}: {one} is gone" for one in gone]
        if family == "keyed":
            tie = f"k:{rest.partition(':')[2]}"
            ended = [one for one in members if not _is_live(jobs.get(one), tie)]
            faults += [f"{name}: {one} is no live job of it" for one in ended]
        if family == "aside":
            waits = [entry for entry in members if _waits_here(jobs, entry, rest)]
            if waits and not data.get(f"active:{rest}") and f"{rest}" not in _open_calls(data):
                faults.append(f"{name}: {waits} wait, and nobody has it")
        if family == "sessions":
            faults += [
                f"{name}: {one} has no live job"
                for one, _ in members
                if f"session:{rest}:{one}" not in data
            ]
    return faults


def _is_live(fields: Mapping[str, str] | None, tie: str) -> bool:
    return (
        fields is not None
        and state_of(fields["state"]) not in TERMINAL
        and tie in fields.get("ties", "").split()
    )


def _waits_here(jobs: Jobs, entry: str, rest: str) -> bool:
    job_id, _, ticket = entry.rpartition(":")
    job, tie = jobs.get(job_id, {}), rest.partition(":")[2]
    return (job.get("state"), job.get("ticket"), job.get("aside")) == ("q", ticket, tie)


def _open_calls(data: Mapping[str, Any]) -> set[str]:
    return {name for name, _ in data.get("calling", [])}


def _tie_holds(
    job_id: str,
    fields: Mapping[str, str],
    data: Mapping[str, Any],
    sets: Mapping[str, frozenset[str]],
) -> dict[str, tuple[bool, bool]]:
    """What a job's ties ask for, and whether it is so."""
    state, ticket = state_of(fields["state"]), f"{job_id}:{fields.get('ticket')}"
    tenant, stood, ties = fields["tenant"], fields.get("aside"), _ties_of(fields)
    aside = data.get(f"aside:{tenant}:{stood}", [])
    has = {tie for tie in ties if job_id in data.get(f"active:{tenant}:{tie}", ())}
    session = next((tie[2:] for tie in ties if tie.startswith("s:")), None)
    lives = job_id in sets.get(f"session:{tenant}:{session}", _NOBODY)
    key = next((tie[2:] for tie in ties if tie.startswith("k:")), None)
    counts = job_id in data.get(f"keyed:{tenant}:{key}", ())
    may_have = state in (State.QUEUED, State.READY, State.RUNNING)
    return {
        "stands aside once": (stood is not None, aside.count(ticket) == 1),
        "has all its ties": (state in (State.READY, State.RUNNING), has == set(ties)),
        "has its session": (
            state is State.QUEUED and stood != f"s:{session}" and session is not None,
            f"s:{session}" in has,
        ),
        "is among the live jobs of its session": (
            session is not None,
            lives == (state not in TERMINAL),
        ),
        "counts for its key until it ends": (key is not None, counts == (state not in TERMINAL)),
        "stands aside only while it is queued": (stood is not None, state is State.QUEUED),
        "has its ties only while it waits or runs": (bool(has), may_have),
    }


def _member_sets(data: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """Who stands in the sorted sets that every job is looked up in, and who is retired: the same for all."""
    sets = {
        name: frozenset(member for member, _ in value)
        for name, value in data.items()
        if name in {"due", "undecided"} or name.startswith(_LOOKED_UP)
    }
    retired = {one for name, ids in data.items() if name.startswith("retire:") for one in ids}
    return {**sets, "retired": frozenset(retired)}


_LOOKED_UP = ("jobs:", "dead:", "turn:", "session:")
_NOBODY: frozenset[str] = frozenset()


def _index_faults(
    job_id: str,
    fields: Mapping[str, str],
    data: Mapping[str, Any],
    sets: Mapping[str, frozenset[str]] | None = None,
) -> list[str]:
    """`sets` is `_member_sets(data)`, from who asks for many jobs."""
    sets = _member_sets(data) if sets is None else sets
    state = state_of(fields["state"])
    pool, ticket = fields["pool"], f"{job_id}:{fields.get('ticket')}"
    ready = [entry["j"] for _, entry in data.get(f"ready:{pool}", [])]
    line = data.get(f"queue:{pool}:{fields['class']}:{fields['tenant']}", [])
    stood = fields.get("aside")
    timers, waiting = sets.get("due", _NOBODY), sets.get("undecided", _NOBODY)
    deadline = f"deadline:{job_id}:0"
    holds = {
        "is in its line once": (state is State.QUEUED and not stood, line.count(ticket) == 1),
        "is in ready once": (state is State.READY, ready.count(ticket) == 1),
        "has its timer": (state is State.SCHEDULED, f"later:{ticket}" in timers),
        "has its question's timer": (
            state is State.BLOCKED and "question" in fields,
            f"question:{ticket}" in timers,
        ),
        "is held": (
            "claim" in fields,
            data.get(f"held:{fields.get('runner')}", {}).get(job_id) == fields.get("claim"),
        ),
        "waits for a decision": (
            state is State.RUNNING and "claim" not in fields,
            f"{job_id}:{fields.get('undecided')}" in waiting,
        ),
        "waits for its retirement": (state in TERMINAL, job_id in sets["retired"]),
        "is listed": (True, job_id in sets.get(f"jobs:{fields['tenant']}", _NOBODY)),
        "is a dead letter": (
            state is State.FAILED and "replayed_as" not in fields,
            job_id in sets.get(f"dead:{fields['tenant']}", _NOBODY),
        ),
        "keeps its idempotency key": (
            "idem" in fields,
            data.get(f"idem:{fields['tenant']}:{fields.get('idem')}") == job_id,
        ),
        "has its turn": (
            state is State.QUEUED and not stood,
            fields["tenant"] in sets.get(f"turn:{pool}:{fields['class']}", _NOBODY)
            or f"{pool}:{fields['class']}" in data.get(f"parked:{fields['tenant']}", ()),
        ),
        **(_tie_holds(job_id, fields, data, sets) if {"ties", "aside"} & fields.keys() else {}),
        "has its deadline": ("deadline" in fields and state not in TERMINAL, deadline in timers),
    }
    faults = [
        f"{job_id} ({state}): not true that it {what}"
        for what, (due, true) in holds.items()
        if due and not true
    ]
    if state in TERMINAL and (deadline in timers or "undecided" in fields or "claim" in fields):
        faults.append(f"{job_id} ({state}): over, and something of its life is left")
    if state is not State.RUNNING and ("claim" in fields or "undecided" in fields):
        faults.append(f"{job_id} ({state}): claimed or undecided without running")
    return faults


def _count_faults(jobs: Jobs, data: Mapping[str, Any]) -> list[str]:
    queued = Counter(
        f"depth:{job['pool']}:{job['class']}" for job in jobs.values() if job["state"] == "q"
    )
    queued.update(f"waits:{job['tenant']}" for job in jobs.values() if job["state"] in "qs")
    counted = {
        name: int(count)
        for name, count in data.get("counters", {}).items()
        if int(count) and name != "moves"
    }
    faults = [] if queued == counted else [f"counters say {counted}, the jobs {dict(queued)}"]
    faults += _victim_faults(data)
    for member, _ in data.get("undecided", []):
        job_id, _, seq = member.partition(":")
        if jobs.get(job_id, {}).get("undecided") != seq:
            faults.append(f"undecided {member}: the job says otherwise")
    for member, _ in data.get("due", []):
        if member.startswith("cron:"):
            continue
        found = re.match(r"^(later|question|deadline):(.+):(\d+)$", member)
        if found is None or found[2] not in jobs:
            faults.append(f"due {member}: no such job")
        elif found[1] != "deadline" and jobs[found[2]].get("ticket") != found[3]:
            faults.append(f"due {member}: not the job's ticket")
        elif jobs[found[2]]["state"] not in WAITS_FOR[found[1]]:
            faults.append(f"due {member}: the job is {jobs[found[2]]['state']}")
    return faults


def _hook_faults(data: Mapping[str, Any]) -> list[str]:
    """What waits for a webhook that is on is looked at when it is due; what is gone has left nothing."""
    unsent, index = dict(data.get("unsent", [])), data.get("webhooks", {})
    faults = [
        f"unsent {place}: no such webhook"
        for place in unsent
        if place.partition(":")[2] not in index
    ]
    for name, value in data.items():
        family, _, place = name.partition(":")
        if family in {"posts", "tries", "tally", "delivered", "undelivered"}:
            tenant, _, hook = place.partition(":")
            if index.get(hook) != tenant or hook not in data.get(f"hooks:{tenant}", {}):
                faults.append(f"{name}: its webhook is gone")
        tally = data.get(f"tally:{place}", {})
        if family == "posts" and "off" not in tally and place not in unsent:
            faults.append(f"{name}: {len(value)} wait, and nobody will look")
        if family == "tries" and not value.keys() <= dict(data.get(f"posts:{place}", [])).keys():
            faults.append(f"{name}: tries of what does not wait")
    return faults


def _schedule_faults(data: Mapping[str, Any]) -> list[str]:
    """A schedule is listed, and has a timer exactly while a time is set."""
    timers = {member for member, _ in data.get("due", []) if member.startswith("cron:")}
    places, listed = set(), set()
    faults = []
    for name, value in data.items():
        family, _, rest = name.partition(":")
        if family == "schedule":
            places.add(rest)
            if ("next" in value) != (f"cron:{rest}:0" in timers):
                faults.append(f"{name}: the time that is set and its timer disagree")
        elif family == "schedules":
            listed |= {f"{rest}:{one}" for one, _ in value}
    if places != listed:
        faults.append(f"schedules {places} are listed as {listed}")
    stray = timers - {f"cron:{place}:0" for place in places}
    return faults + [f"due {member}: no such schedule" for member in stray]


def _victim_faults(data: Mapping[str, Any]) -> list[str]:
    """In a pool that evicts, exactly who waits in a class is looked at for a victim."""
    faults = []
    for name, index in data.items():
        family, _, place = name.partition(":")
        if family in {"oldest", "youngest"}:
            kept = data.get(f"fair:{place.partition(':')[0]}", {}).get("evicts")
            waiting = {tenant for tenant, _ in data.get(f"turn:{place}", [])}
            if kept != family or {tenant for tenant, _ in index} != waiting:
                faults.append(f"{name}: {index} is kept ({kept}), {waiting} wait")
    return faults


def _held_faults(jobs: Jobs, data: Mapping[str, Any]) -> list[str]:
    """A slot is held by a claim in force, or by a job that ended under its runner and still runs."""
    faults = []
    for name, held in data.items():
        if name.startswith("held:"):
            for job_id, claim in held.items():
                job = jobs.get(job_id)
                if job is None or (
                    job.get("claim") != claim and state_of(job["state"]) not in TERMINAL
                ):
                    faults.append(f"{name}: {job_id} is held without a claim")
    return faults
