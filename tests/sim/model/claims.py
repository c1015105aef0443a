"""cycle, note and emit: what a runner says of the jobs it holds, and which jobs it gets."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import orjson

from contracts import limits
from contracts.states import Event
from tests.sim.model import hooks, ties
from tests.sim.model.call import (
    QUEUED,
    READY,
    RECALLED,
    RUNNING,
    SCHEDULED,
    Call,
    Job,
    Reply,
    Verdict,
    with_member,
)
from tests.sim.model.grants import Grants, offer_of
from tests.sim.model.reading import parse_id
from tests.sim.model.turns import Policy, dispatch_lengthened, dispatch_pool, policy_of

ENDING = 6
_ROOM_MAX = limits.EVENTS_PER_JOB_MAX - limits.EVENTS_RESERVED


# -- endings


def _keep_orphan(call: Call, job: Job, claim: str, result: str) -> None:
    """A late result is evidence, once for each claim."""
    kept = job.number("orphans")
    if kept >= limits.ORPHANS_PER_JOB_MAX or f"orphan:{claim}" in job.fields:
        return
    job.fields[f"orphan:{claim}"] = "1"
    job.fields["orphans"] = str(kept + 1)
    data = result.encode()
    if len(data) > 512:
        digest = hashlib.sha1(data).hexdigest()
        result = f'{{"bytes":{len(data)},"sha1":"{digest}"}}'
    call.record(job, "orphaned_result", "runner", f'{{"claim":"{claim}","result":{result}}}')


def _settle(call: Call, job: Job, ending: str, result: str) -> None:
    call.move(job, Event.SETTLE, "runner", ending)
    call.end_claim(job)
    job.fields["result"] = result
    job.fields["outcome"] = "done"
    job.drop("progress")
    call.finish(job)


def _release(call: Call, job: Job, ending: str) -> None:
    call.move(job, Event.RELEASE, "runner", ending)
    call.end_claim(job)
    call.undecide(job, ending)


def _ask(call: Call, job: Job, ending: str, question: str, expires_in: int) -> None:
    asked, expires_at = orjson.loads(question), call.now + expires_in
    full = with_member(question, f'"expires_at_ms":{expires_at}')
    call.record(job, "question_asked", "runner", full)
    call.move(job, Event.ASK, "runner", ending)
    call.end_claim(job)
    job.fields["block_reason"] = asked["block_reason"]
    job.fields["question"] = full
    job.fields["question_id"] = asked["question_id"]
    call.park(job, "question", expires_at)
    hooks.tell(call, job)


def _stop(call: Call, job: Job, ending: str) -> None:
    if job.fields.get("wish") != "pause":
        # Resumed in the meantime: nobody wants it stopped any more.
        _handback(call, job, ending)
        return
    call.move(job, Event.STOP, "runner", ending)
    call.end_claim(job)
    job.drop("wish")


def _handback(call: Call, job: Job, ending: str) -> None:
    call.move(job, Event.HANDBACK, "runner", ending)
    call.end_claim(job)
    call.enqueue(job, at_head=True)


def _keep_loss(call: Call, job: Job | None, verb: str, claim: str) -> None:
    """A runner has learned that its claim was taken from it; a late result says as much by itself."""
    if job is None or job.fields.get("taken") != claim:
        return
    job.drop("taken")
    if verb != "settle" and call.allows(job, Event.CANCEL):
        call.record(job, "lease_lost", "runner", f'{{"claim":"{claim}"}}')


def _end(call: Call, runner: str, argv: Sequence[str]) -> Verdict:
    verb, job_id, claim, ending, data, number = argv
    job = call.load(job_id)
    verdict = call.judge_claim(job, claim)
    if verdict == "over":
        if verb == "settle" and job is not None:
            _keep_orphan(call, job, claim, data)
        _keep_loss(call, job, verb, claim)
        # Canceled or taken over: the slot was held until the runner said that the work had stopped.
        if call.hash(f"held:{runner}").get(job_id) == claim:
            call.free_slot(runner, job_id)
    if verdict != "ok":
        return verdict
    assert job is not None, "a claim in force is a job's"
    match verb:
        case "settle":
            _settle(call, job, ending, data)
        case "release":
            _release(call, job, ending)
        case "ask":
            _ask(call, job, ending, data, int(number))
        case "stop":
            _stop(call, job, ending)
        case _:
            _handback(call, job, ending)
    return verdict


# -- claims


def _offers_again(call: Call, runner: str, job_ids: str) -> list[Reply]:
    """The jobs of a call whose reply was lost, less those that ended before their runner knew of them."""
    offers = []
    for job_id in job_ids.split():
        job = call.load(job_id)
        mine = job is not None and job.state == RUNNING and job.fields.get("runner") == runner
        if job is not None and mine and "claim" in job.fields:
            offers.append(offer_of(job))
        else:
            call.free_slot(runner, job_id)
    return offers


def _offers_now(call: Call, pool: str, grants: Grants, policy: Policy) -> list[Reply]:
    """What was made ready before goes first, then the picker serves this runner straight from the lines."""
    ready, runners = dispatch_pool(call, pool, limits.BATCH_ITEMS_MAX, policy, "runner", grants)
    call.wake(pool, min(ready, runners))
    return grants.offers


def _unheard(call: Call, runner: str, last: dict[str, str], heard: int) -> Reply:
    """What was handed to the runner and it has not heard of: the offer, or its claim when that is over."""
    if not last.get("handed"):
        return []
    epoch, entry_id, job_id, claim = last["handed"].split()
    if int(epoch) <= heard:
        stream = call.space.stream(f"{call.shard}inbox:{runner}")
        if stream is not None:
            stream.delete(parse_id(entry_id))
        return []
    job = call.load(job_id)
    if job is not None and call.judge_claim(job, claim) == "ok":
        return offer_of(job)
    return [job_id, claim, epoch]


def _rest(call: Call, pool: str, runner: str, *, is_ready: bool) -> None:
    """Whether the runner takes what comes next."""
    resting = call.space.zset(f"{call.shard}resting:{pool}")
    if is_ready:
        resting.put(runner, call.now)
    else:
        resting.remove(runner)


def cycle(call: Call, argv: Sequence[str]) -> Reply:
    """cycle: a runner's steady state in one call: endings, then new claims and dispatch (group commit)."""
    runner, pool, number, free, random, policy, heard, count = argv[:8]
    slots = call.hash(f"slots:{pool}").get(runner)
    if slots is None and runner not in call.hash("beats"):
        return ["runner_over"]
    if slots is not None and slots.startswith(RECALLED):
        return ["recalled"]
    rows = [argv[at : at + ENDING] for at in range(8, 8 + int(count) * ENDING, ENDING)]
    verdicts = [_end(call, runner, row) for row in rows]
    call.policy = policy_of(policy)
    ties.pass_on(call)
    last = call.hash(f"lastcall:{runner}")
    handed = _unheard(call, runner, last, int(heard)) if heard else []
    if int(number) <= int(last.get("number", "-1")):
        # A late copy of an older call gets nothing: nobody reads its reply, nobody would run its jobs.
        offers = _offers_again(call, runner, last["jobs"]) if last.get("number") == number else []
    else:
        grants = Grants(call, runner, int(free), random)
        offers = _offers_now(call, pool, grants, call.policy)
        # Other pools have work by what ended here.
        call.lengthened.pop(pool, None)
        dispatch_lengthened(call, policy, "runner")
        last |= {"number": number, "jobs": " ".join(offer[0] for offer in offers)}
        last["handed"] = last.get("handed", "") if handed else ""
        if heard:
            _rest(call, pool, runner, is_ready=int(free) > len(offers) and not handed)
    return call.done(verdicts, offers, handed)


# -- after the server came back

WAITING = (SCHEDULED, QUEUED, READY)
CLAIM = 6


def _reclaim(call: Call, runner: str, row: Sequence[str], *, asked: bool) -> str:
    job_id, claim, epoch, attempt, notes, progress = row
    job = call.load(job_id)
    if job is None:
        return "over"
    if job.state != RUNNING or job.fields.get("claim") != claim:
        before = job.state in WAITING and job.number("attempt") == int(attempt) - 1
        before = before and job.number("epoch") < int(epoch)
        if not (asked and before and ties.may_have_session(call, job)):
            return "over"
        call.leave_line(job)
        job.fields |= {
            "attempt": attempt,
            "epoch": epoch,
            "claim": claim,
            "runner": runner,
            "notes": "0",
            "claimed_at": str(call.now),
        }
        call.move(job, Event.RECLAIM, "runner", f'{{"runner":"{runner}","claim":"{claim}"}}')
    if int(notes) > job.number("notes"):
        job.fields["notes"] = notes
        if progress:
            job.fields["progress"] = progress
    call.hash(f"held:{runner}")[job_id] = claim
    return "ok"


def reclaim(call: Call, argv: Sequence[str]) -> Reply:
    """reclaim: a runner tells a server that came back which claims it works under; what was undone is done
    again."""
    runner, pool, more, count = argv[:4]
    if runner not in call.hash("beats"):
        return ["runner_over"]
    rows = [argv[at : at + CLAIM] for at in range(4, 4 + int(count) * CLAIM, CLAIM)]
    slots = call.hash(f"slots:{pool}")
    asked = slots.get(runner, "").startswith(RECALLED)
    verdicts = [_reclaim(call, runner, row, asked=asked) for row in rows]
    if more == "0" and asked:
        slots[runner] = slots[runner].removeprefix(RECALLED)
    return call.done(verdicts)


# -- while it runs


def note(call: Call, argv: Sequence[str]) -> Reply:
    """note: appends evidence of a running attempt to its ledger, fenced by the claim."""
    job_id, claim, number, progress, consume, kind, payload = argv
    job = call.load(job_id)
    if job is None or call.judge_claim(job, claim) != "ok":
        return ["over"]
    if int(number) <= job.number("notes"):
        return ["noted", job.fields.get("wish", "")]
    if job.seq >= _ROOM_MAX:
        return ["ledger_full"]
    call.record(job, kind, "runner", payload)
    job.fields["notes"] = str(int(number))
    if progress:
        job.fields["progress"] = progress
    if consume == "1":
        job.drop("answer")
    return call.done(job.fields.get("wish", ""))


def _emit(call: Call, job_id: str, claim: str, first: int, pieces: Sequence[str]) -> str:
    job = call.load(job_id)
    if job is None or call.judge_claim(job, claim) != "ok":
        return "over"
    have = job.number("outs")
    numbered = enumerate(zip(pieces[::2], pieces[1::2], strict=True), first)
    for i, (stream, text) in numbered:
        if i > have:
            have = i
            call.space.append(
                f"{call.shard}out:{job_id}",
                {stream: text},
                most=limits.LOG_ENTRIES_PER_JOB_MAX,
                entry_id=(i, 1),
            )
    job.fields["outs"] = str(have)
    call.touched.setdefault(job_id, job.seq)
    return "ok"


def emit(call: Call, argv: Sequence[str]) -> Reply:
    """emit: appends output of running attempts, in order and bounded; the oldest pieces give way."""
    verdicts, at = [], 1
    for _ in range(int(argv[0])):
        job_id, claim, first, count = argv[at : at + 4]
        at += 4
        pieces = argv[at : at + 2 * int(count)]
        at += len(pieces)
        verdicts.append(_emit(call, job_id, claim, int(first), pieces))
    return call.done(verdicts)
