"""Part 3: a job that asks a human, gives its slot away meanwhile, and uses the answer."""

from __future__ import annotations

from contextlib import aclosing
from typing import Final

from contracts.events import EventType
from contracts.record import JobRecord, LedgerEvent
from orch.demo.ending import orch_words
from orch.demo.project import coder_step, make_project, steps_job
from orch.demo.stage import Stage, decisive

TITLE: Final = "A question blocks a job; the answer reaches its next step"
JOB_ID: Final = "demo-question"
OPTIONS: Final = ("staging", "production")
ANSWER: Final = "staging"


async def question(stage: Stage) -> None:
    """Show it."""
    folder = stage.house.folder("question")
    await make_project(folder / "repository", has_bug=False)
    plans, released = folder / "plan.runs", folder / "released.txt"
    decision = {"text": "Where shall this be released?", "kind": "choose", "options": [*OPTIONS]}
    steps = [coder_step("plan", plans), coder_step("release", released, decision=decision)]
    spec = steps_job(JOB_ID, "release the bill", folder / "repository", steps)
    with stage.voice.waiting("the agent works, until it needs a human"):
        job_id = await stage.submit(spec)
        async with aclosing(stage.follow(job_id)) as events:
            async for event in events:
                if event.payload.get("to") == "blocked":
                    await _judge_block_and_answer(stage, job_id)
    record, ledger = await stage.conclude(job_id)
    _judge_answer(stage, record, ledger)
    stage.equal("the step before the question ran once", plans.read_text(), "attempt 1\n")
    found = released.read_text() if released.exists() else "(no file)"
    stage.equal("the step after it did what was answered", found, f"released to {ANSWER}\n")


async def _judge_block_and_answer(stage: Stage, job_id: str) -> None:
    """While it waits: who holds what; then the answer, as `orch answer` would send it."""
    record = await stage.client.job(job_id)
    why = await stage.client.explain(job_id)
    stage.equal("the job is blocked", record.state.value, "blocked")
    stage.equal("it holds no lease", record.lease, None)
    slots = why.facts.get("slots", 0)
    stage.holds(
        f"its slot is free for other jobs: {why.facts.get('held')} of {slots} are taken",
        why.facts.get("held") == 0 and slots > 0,
        expected="0 held",
        found=why.facts,
    )
    stage.say(f"explain: {why.reason}; what unblocks it: {why.unblocks}")
    if record.question is None:
        stage.equal("its question can be read", None, "a question")
        return
    stage.say("the demo answers over HTTP, as this command would:")
    asked = record.question.question_id
    stage.voice.command(orch_words(stage.house.home, "answer", job_id, ANSWER, "--question", asked))
    await stage.client.answer(job_id, asked, ANSWER, "the demo says so")


def _judge_answer(stage: Stage, record: JobRecord, ledger: list[LedgerEvent]) -> None:
    kinds = [event.type for event in ledger]
    order = [EventType.QUESTION_ASKED, EventType.QUESTION_ANSWERED, EventType.ANSWER_CONSUMED]
    stage.equal(
        "asked, answered and used, each once, in the ledger",
        [kind.value for kind in kinds if kind in order],
        [kind.value for kind in order],
    )
    given = [event.payload.get("value") for event in ledger if event.type is order[1]]
    stage.equal("the ledger holds the answer", given, [ANSWER])
    ends = decisive(record)
    stage.equal("one attempt asked, a later one finished", ends, ["human", "done"])
