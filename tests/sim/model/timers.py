"""due, unready and retire: what happens by time and by room."""

from __future__ import annotations

import re
from collections.abc import Sequence

from contracts.limits import HOUR_MS
from contracts.states import Event
from tests.sim.model import ties
from tests.sim.model.call import BLOCKED, READY, SCHEDULED, Call, Job, Reply
from tests.sim.model.schedules import hand_out
from tests.sim.model.turns import dispatch_lengthened

_TIMER = re.compile(r"([a-z]+):(.+):(\d+)")


def due(call: Call, argv: Sequence[str]) -> Reply:
    """due: does what its time has come for: delayed jobs, retries, deadlines, questions nobody answered."""
    most, policy = int(argv[0]), argv[1]
    timers = call.space.zset(f"{call.shard}due")
    members = timers.up_to(call.now, most)
    handed = []
    for member in members:
        parts = _TIMER.fullmatch(member)
        assert parts, member
        if parts[1] == "cron":
            handed += [parts[2]] if hand_out(call, member, parts[2]) else []
            continue
        timers.remove(member)
        job = call.load(parts[2])
        if job is not None:
            _fire(call, job, parts[1], parts[3])
    if members:
        dispatch_lengthened(call, policy, "scheduler")
    first = timers.first()
    next_in = -1 if first is None else max(0, int(first[0]) - call.now)
    if not members:
        return ["none", next_in]
    return call.done(len(members), next_in, handed, list(call.retired))


def _fire(call: Call, job: Job, kind: str, ticket: str) -> None:
    fields = job.fields
    if kind == "deadline":
        if call.allows(job, Event.EXPIRE):
            limit = fields.get("deadline", "0")
            payload = f'{{"limit":"deadline_ms","value_ms":{limit}}}'
            call.record(job, "job_timeout", "scheduler", payload)
            call.end_early(job, Event.EXPIRE, "scheduler", '{"reason":"deadline"', "expired")
    elif kind == "later" and call.holds_ticket(job, SCHEDULED, ticket):
        call.move(job, Event.DUE, "scheduler")
        job.drop("due_at")
        call.count_waiting(fields["tenant"], -1)
        call.enqueue(job)
    elif kind == "question" and call.holds_ticket(job, BLOCKED, ticket):
        payload = f'{{"question_id":"{fields["question_id"]}"}}'
        call.record(job, "question_expired", "scheduler", payload)
        call.end_early(job, Event.EXPIRE, "scheduler", '{"reason":"question"', "expired")


def unready(call: Call, argv: Sequence[str]) -> Reply:
    """unready: takes back dispatched jobs whose slot is gone, to the head of their line."""
    pool, most = argv[0], int(argv[1])
    excess = min(most, -call.allowance(pool)[0])
    if excess <= 0:
        return ["none"]
    stream = call.space.stream(f"{call.shard}ready:{pool}")
    assert stream is not None, "an excess of ready jobs stands in it"
    moved = 0
    for entry_id in stream.youngest(excess):
        fields = stream.get(entry_id) or {}
        stream.delete(entry_id)
        job_id, _, ticket = fields.get("j", "").rpartition(":")
        job = call.load(job_id)
        if job is not None and call.holds_ticket(job, READY, ticket, pool):
            call.move(job, Event.UNREADY, "scheduler")
            call.enqueue(job, at_head=True)
            moved += 1
    ties.pass_on(call)
    return call.done(moved)


def retire(call: Call, argv: Sequence[str]) -> Reply:
    """retire: removes finished jobs whose retention is over, with everything they own."""
    retention_ms, most, hours = (int(word) for word in argv)
    newest = (call.now - retention_ms) // HOUR_MS - 1
    first = min(newest, int(call.meta.get("retired", newest - hours)))
    removed = 0
    for hour in range(first, min(newest, first + hours) + 1):
        finished = call.space.members(f"{call.shard}retire:{hour}")
        while finished and removed < most:
            _remove(call, finished.popitem()[0])
            removed += 1
        if removed == most:
            break
        call.meta["retired"] = str(hour)
    return call.done(removed)


def _remove(call: Call, job_id: str) -> None:
    job = call.load(job_id)
    if job is None:
        return
    tenant = job.fields["tenant"]
    for index in ("jobs", "dead"):
        call.space.zset(f"{call.shard}{index}:{tenant}").remove(job_id)
    if "idem" in job.fields:
        call.space.delete(f"{call.shard}idem:{tenant}:{job.fields['idem']}")
    call.space.delete(f"{call.shard}job:{job_id}")
    call.space.delete(f"{call.shard}out:{job_id}")
