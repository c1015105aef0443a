"""cancel, pause, resume and answer: what people do to a job."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from contracts.states import Event
from tests.sim.model.call import BLOCKED, CANCELED, OVER, PAUSED, RUNNING, Call, Job, Reply, quoted
from tests.sim.model.turns import dispatch_lengthened


def cancel(call: Call, argv: Sequence[str]) -> Reply:
    """cancel: ends a job at once, wherever it is; a running agent is told, and its result is refused."""
    job_id, who, actor, policy = argv
    job = call.load(job_id)
    if job is None:
        return ["unknown"]
    if job.state == CANCELED:
        return ["same"]
    if not call.allows(job, Event.CANCEL):
        return ["refused", job.state]
    payload = f'{{{who},"reason":"canceled"'
    call.end_early(job, Event.CANCEL, actor, payload, "canceled")
    dispatch_lengthened(call, policy, actor)
    return call.done()


def pause(call: Call, argv: Sequence[str]) -> Reply:
    """pause: stops a waiting job now, and a running one at its next step."""
    job_id, who, actor, policy = argv
    job = call.load(job_id)
    if job is None:
        return ["unknown"]
    verdict = pause_one(call, job, f"{{{who}}}", actor)
    if verdict != "ok":
        return [verdict] if verdict == "same" else [verdict, job.state]
    dispatch_lengthened(call, policy, actor)
    return call.done()


def pause_one(call: Call, job: Job, payload: str, actor: str) -> str:
    """ok, same, or refused."""
    wished = job.fields.get("wish") == "pause"
    if job.state == PAUSED or (job.state == RUNNING and wished):
        return "same"
    if job.state == RUNNING:
        call.record(job, "pause_wished", actor, payload)
        job.fields["wish"] = "pause"
        if "claim" in job.fields:
            call.tell_runner(job, "pause")
    elif call.allows(job, Event.PAUSE):
        call.leave_line(job)
        call.move(job, Event.PAUSE, actor, payload)
        job.drop("wish")
    else:
        return "refused"
    return "ok"


def resume(call: Call, argv: Sequence[str]) -> Reply:
    """resume: lets a paused job go on from its last durable progress."""
    job_id, who, actor, policy = argv
    job = call.load(job_id)
    if job is None:
        return ["unknown"]
    payload = f"{{{who}}}"
    if job.fields.get("wish") == "pause":
        call.record(job, "pause_withdrawn", actor, payload)
        job.drop("wish")
        if "claim" in job.fields:
            call.tell_runner(job, "resume")
    elif job.state == PAUSED:
        _go_on(call, job, actor, payload)
    elif job.state in OVER or job.state == BLOCKED:
        return ["refused", job.state]
    else:
        return ["same"]
    dispatch_lengthened(call, policy, actor)
    return call.done()


def _go_on(call: Call, job: Job, actor: str, payload: str) -> None:
    not_before = job.number("not_before")
    if not_before > call.now:
        call.move(job, Event.RESUME_LATER, actor, payload)
        call.park(job, "later", not_before)
    else:
        call.move(job, Event.RESUME, actor, payload)
        call.enqueue(job)


def answer(call: Call, argv: Sequence[str]) -> Reply:
    """answer: gives a blocked job its answer and queues it again, at the head of its line."""
    job_id, question_id, value, by, reason, actor, policy, nonce = argv
    job = call.load(job_id)
    if job is None:
        return ["unknown"]
    answered = job.fields.get(f"answered:{question_id}")
    if answered is not None:
        return ["same"] if answered == nonce else ["answered"]
    if not call.allows(job, Event.ANSWER):
        return ["refused", job.state]
    if job.fields.get("question_id") != question_id:
        return ["answered"]
    step_id = orjson.loads(job.fields["question"]).get("step_id")
    step = "null" if step_id is None else quoted(step_id)
    given = f'{{"question_id":"{question_id}","value":{value},"by":{by},"reason":{reason}}}'
    call.record(job, "question_answered", actor, given)
    call.leave_line(job)
    call.move(job, Event.ANSWER, actor, f'{{"by":{by}}}')
    job.drop("question", "question_id", "block_reason")
    job.fields[f"answered:{question_id}"] = nonce
    job.fields["answer"] = f'{{"question_id":"{question_id}","step_id":{step},"value":{value}}}'
    call.enqueue(job, at_head=True)
    dispatch_lengthened(call, policy, actor)
    return call.done()
