"""decide and announce: what becomes of attempts that ended without a result."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from contracts.states import Event
from tests.sim.model import hooks
from tests.sim.model.call import Call, Job, Reply, with_member
from tests.sim.model.reading import parse_id
from tests.sim.model.turns import dispatch_lengthened

DECISION = 8


def decide(call: Call, argv: Sequence[str]) -> Reply:
    """decide: carries out what fallback decided about an outcome, once."""
    policy, count = argv[0], int(argv[1])
    rows = [argv[at : at + DECISION] for at in range(2, 2 + count * DECISION, DECISION)]
    verdicts = [_decide(call, row) for row in rows]
    dispatch_lengthened(call, policy, "fallback")
    return call.done(verdicts)


def _decide(call: Call, row: Sequence[str]) -> str:
    job_id, seq, entry_id, verb, delay_ms, payload, failures, crashes = row
    job = call.load(job_id)
    fresh = job is not None and is_undecided(job, seq)
    if job is not None and fresh:
        call.space.zset(f"{call.shard}undecided").remove(f"{job_id}:{seq}")
        job.drop("undecided", "ending")
        job.fields |= {"failures": failures, "crashes": crashes}
        _carry_out(call, job, verb, int(delay_ms), payload)
    else:
        call.space.zset(f"{call.shard}undecided").remove(f"{job_id}:{seq}")
    if entry_id:
        call.space.settle_entry(f"{call.shard}outcomes", "fallback", parse_id(entry_id))
    return "ok" if fresh else "stale"


def is_undecided(job: Job, seq: str) -> bool:
    """Whether the outcome that was judged still waits for its decision."""
    return job.fields.get("undecided") == seq


def _carry_out(call: Call, job: Job, verb: str, delay_ms: int, payload: str) -> None:
    match verb:
        case "retry":
            call.move(job, Event.RETRY, "fallback", payload)
            call.enqueue(job, at_head=True)
        case "backoff":
            due_at = call.now + delay_ms
            full = with_member(payload, f'"due_at_ms":{due_at}')
            call.move(job, Event.BACKOFF, "fallback", full)
            call.park(job, "later", due_at)
        case "block":
            call.move(job, Event.BLOCK, "fallback", payload)
            job.fields["block_reason"] = orjson.loads(payload)["block_reason"]
            hooks.tell(call, job)
        case _:
            _fail(call, job, payload)


def _fail(call: Call, job: Job, payload: str) -> None:
    """No attempt is left: the job is a dead letter."""
    call.record(job, "job_failed", "fallback", payload)
    call.move(job, Event.FAIL, "fallback", payload)
    why = orjson.loads(payload)
    job.fields |= {"outcome": why["last"], "why": why["reason"]}
    call.space.zset(f"{call.shard}dead:{job.fields['tenant']}").put(
        job.job_id, call.count("deaths", 1)
    )
    call.finish(job)


def announce(call: Call, argv: Sequence[str]) -> Reply:
    """announce: repeats the hint for outcomes that nobody decided about."""
    older_ms, again_ms, most = (int(word) for word in argv)
    undecided = call.space.zset(f"{call.shard}undecided")
    members = undecided.up_to(call.now - older_ms, most)
    if not members:
        return ["none"]
    for member in members:
        call.append("outcomes", j=member)
        undecided.put(member, call.now - older_ms + again_ms)
    return call.done(len(members))
