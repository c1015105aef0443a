"""Run a list of commands in order, never a finished one again, asking first where told to (RUN-5, RUN-8)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from contracts.adapters import Decision, Step, StepsConfig
from contracts.outcomes import Outcome, ReasonCode
from orch.adapters.artifacts import Refusal, artifact_folder, declared, dropped, record
from orch.adapters.environment import StepContext, agent_environment, job_variables
from orch.adapters.execute import Order, execute, failure
from orch.adapters.journal import Journal, question_id, unknown_question
from orch.adapters.output import Output
from orch.adapters.protocol import Desk, Ending, Question, Run
from orch.adapters.workshop import Workshop

APPROVAL: Final = "approve"
"""The answer to an `approve` question that lets the step run; every other one denies it."""


class StepsAdapter:
    """One attempt walks the steps from the first unfinished one."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop

    async def run(self, run: Run, desk: Desk) -> Ending:
        """Runs what is left to run; canceled, the running step's tree gets TERM, the grace, KILL."""
        output = Output(desk, self._workshop.clock, self._workshop.scratch)
        try:
            walk = _Walk(self._workshop, run, desk, output)
            ending = await walk.all()
            stored = await output.store(self._workshop.blobs)
        finally:
            output.close()
        if ending is not None:
            return ending
        result = walk.journal.result()
        if stored is not None:
            result["output"] = stored
        return Ending(Outcome.DONE, ReasonCode.COMPLETED, result=result)


class _Walk:
    """One attempt's way through the steps. Each method answers with an Ending, or None: go on."""

    def __init__(self, workshop: Workshop, run: Run, desk: Desk, output: Output) -> None:
        self._workshop = workshop
        self._run = run
        self._desk = desk
        self._output = output
        self._config = StepsConfig.model_validate(run.spec.adapter.config)
        self._wall_at_ms: int | None = None
        if self._config.wall_ms is not None:
            self._wall_at_ms = workshop.clock.monotonic_ms() + self._config.wall_ms
        self.journal = Journal(run, desk)

    async def all(self) -> Ending | None:
        for step in self._config.steps:
            if self.journal.record(step.id).get("state") == "finished":
                continue
            if self._desk.pause_wished():
                return Ending(Outcome.HUMAN, ReasonCode.PAUSED, f"stopped before step {step.id!r}")
            ending = await self._step(step)
            if ending is not None:
                return ending
        return None

    async def _step(self, step: Step) -> Ending | None:
        await self.journal.take_answer(step.id)
        ending = await self._settle_unknown(step)
        if ending is not None or self.journal.record(step.id).get("state") == "finished":
            return ending
        if step.decision is not None:
            ending = await self._decide(step, step.decision)
            if ending is not None:
                return ending
        return await self._execute(step)

    async def _settle_unknown(self, step: Step) -> Ending | None:
        """What becomes of a step that started and has no end: its rule, or a person's ruling, says."""
        known = self.journal.record(step.id)
        ruling = known.get("ruling")
        if known.get("state") == "started":
            ruling = step.unknown_rule
            await self.journal.unknown(step.id, ruling)
        if ruling is None or ruling == "retry":
            return None
        if ruling == "ask":
            question = unknown_question(self._run, step.id)
            return Ending(Outcome.HUMAN, ReasonCode.QUESTION, question.text, question=question)
        if ruling == "skip":
            await self.journal.skipped(step.id)
            return None
        message = f"step {step.id!r} started in an earlier attempt and has no known end"
        await self.journal.failed(step.id, message, exit_code=None, executed=False, known=False)
        return Ending(Outcome.LOGIC, ReasonCode.UNKNOWN_STEP, message)

    async def _decide(self, step: Step, decision: Decision) -> Ending | None:
        """Asks before the step runs; a denial fails it unrun."""
        known = self.journal.record(step.id)
        if "answer" not in known:
            return Ending(
                Outcome.HUMAN,
                ReasonCode.QUESTION,
                decision.text,
                question=self._question(step, decision),
            )
        if decision.kind != "approve" or known["answer"] == APPROVAL:
            return None
        message = f"step {step.id!r} was denied by the answer to its question"
        await self.journal.failed(step.id, message, exit_code=None, executed=False, known=False)
        return Ending(Outcome.LOGIC, ReasonCode.DENIED, message)

    def _question(self, step: Step, decision: Decision) -> Question:
        return Question(
            question_id=question_id(self._run, step.id, about="decision"),
            text=decision.text,
            kind=decision.kind,
            options=None if decision.options is None else tuple(decision.options),
            step_id=step.id,
            block_reason="approval" if decision.kind == "approve" else "decision",
        )

    async def _execute(self, step: Step) -> Ending | None:
        await self.journal.started(step.id)
        began_ms = self._workshop.clock.monotonic_ms()
        with artifact_folder(self._workshop.scratch) as folder:
            order = self._order(step, folder)
            finished = await execute(order, self._output, self._workshop)
            ending = failure(finished, order)
            ending = await self._keep(step, folder, ending)
        if ending is None:
            duration_ms = self._workshop.clock.monotonic_ms() - began_ms
            await self.journal.finished(step.id, duration_ms=duration_ms)
            return None
        return await self._failed(step, ending, executed=finished.exit.error is None)

    async def _failed(self, step: Step, ending: Ending, *, executed: bool) -> Ending:
        """Killed, by a limit or otherwise, it stays unknown: what it had done by then nobody can say."""
        message = f"step {step.id!r}: {ending.message}"
        if ending.reason not in (ReasonCode.GUARD_LOST, ReasonCode.LEASE_OVER):
            known = ending.reason not in (
                ReasonCode.SIGNAL,
                ReasonCode.WALL_LIMIT,
                ReasonCode.IDLE_LIMIT,
            )
            await self.journal.failed(
                step.id, message, exit_code=ending.exit_code, executed=executed, known=known
            )
        return Ending(ending.outcome, ending.reason, message, ending.exit_code)

    async def _keep(self, step: Step, folder: Path, ending: Ending | None) -> Ending | None:
        """Stores artifacts; a failed step keeps what it dropped, and its own failure says more."""
        try:
            files = dropped(folder)
            if ending is None:
                files += declared(step.artifacts, Path(self._config.cwd or "."))
            await record(files, self._desk, step_id=step.id)
        except Refusal as refusal:
            return ending or refusal.ending
        return ending

    def _order(self, step: Step, folder: Path) -> Order:
        known = self.journal.record(step.id)
        context = StepContext(
            step.id,
            self.journal.key(step.id),
            answer=known.get("answer"),
            answered="answer" in known,
        )
        variables = job_variables(self._run, self._workshop, artifacts=folder, step=context)
        return Order(
            argv=step.argv,
            cwd=self._config.cwd,
            env=agent_environment(self._config.env, variables),
            wall_at_ms=self._wall_at_ms,
            idle_ms=self._config.idle_ms,
        )
