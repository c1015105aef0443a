"""What does a `steps` job remember durably, and in which order is it written?

One record per step in the job's progress, replaced by the same function call that writes the event:
    {"state": "answered", "key", "answer" | "ruling"}   a person spoke; the step has not started since
    {"state": "started",  "key", "answer"?}             unknown, should the attempt end now
    {"state": "failed",   "key", "answer"?}             it failed by itself, or never ran: may run again
    {"state": "finished", "key", "exit_code", "executed"}   never run again
`answer` is the value given to the step's decision, `ruling` what a person decided about an unknown step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final, Literal

from orch.adapters.environment import step_key
from orch.adapters.protocol import Desk, Question, Run

RULINGS: Final = ("retry", "skip", "fail")
_ABOUT_UNKNOWN: Final = "unknown-"
_ABOUT_DECISION: Final = "decision-"


def question_id(run: Run, step_id: str, *, about: Literal["unknown", "decision"]) -> str:
    """The same question of the same attempt has the same id, so asking it twice is asking it once."""
    digest = hashlib.sha256(f"{run.job_id}\0{run.attempt}\0{step_id}".encode()).hexdigest()
    return f"{about}-{digest[:20]}"


class Journal:
    """The durable progress of one attempt."""

    def __init__(self, run: Run, desk: Desk) -> None:
        self._run = run
        self._desk = desk
        self._progress: dict[str, Any] = dict(run.progress)

    def record(self, step_id: str) -> Mapping[str, Any]:
        """What is known of a step; empty when nothing is."""
        known: Mapping[str, Any] = self._progress.get(step_id, {})
        return known

    def key(self, step_id: str) -> str:
        """The step's idempotency key."""
        return step_key(self._run.job_id, step_id)

    async def take_answer(self, step_id: str) -> None:
        """Moves the pending answer, when it belongs to this step, into the step's record."""
        answer = self._run.answer
        if answer is None or answer.get("step_id") != step_id:
            return
        question = str(answer["question_id"])
        heard = {"ruling" if question.startswith(_ABOUT_UNKNOWN) else "answer": answer.get("value")}
        named = {"question_id": question, "step_id": step_id}
        record = {"state": "answered", **self._kept(step_id), **heard}
        await self._write("answer_consumed", named, step_id, record, consume_answer=True)
        await self._desk.note("job_resumed", named)

    async def started(self, step_id: str) -> None:
        """Before the step runs: from now until its end nobody may know what it did."""
        payload = {"step_id": step_id, "key": self.key(step_id), "executed": True}
        record = {"state": "started", **self._kept(step_id)}
        await self._write("step_started", payload, step_id, record)

    async def unknown(self, step_id: str, rule: str) -> None:
        """An earlier attempt started it and left no end; its rule decides what happens."""
        payload = {"step_id": step_id, "key": self.key(step_id), "rule": rule}
        await self._desk.note("step_unknown", payload)

    async def finished(self, step_id: str, *, duration_ms: int) -> None:
        """It exited 0 and its artifacts are stored."""
        payload = {
            "step_id": step_id,
            "key": self.key(step_id),
            "exit_code": 0,
            "executed": True,
            "duration_ms": duration_ms,
        }
        record = {"state": "finished", "exit_code": 0, "executed": True}
        await self._write("step_finished", payload, step_id, record)

    async def skipped(self, step_id: str) -> None:
        """A person had it skipped: over, but never counted as run (RUN-8)."""
        payload = {"step_id": step_id, "key": self.key(step_id), "executed": False}
        record = {"state": "finished", "exit_code": None, "executed": False}
        await self._write("step_skipped", payload, step_id, record)

    async def failed(
        self, step_id: str, message: str, *, exit_code: int | None, executed: bool, known: bool
    ) -> None:
        """It ended, and not well. Its record changes only when it is `known` how far it came: one that
        was killed stays unknown, one that a person denied stays denied."""
        payload = {
            "step_id": step_id,
            "key": self.key(step_id),
            "exit_code": exit_code,
            "executed": executed,
            "message": message[:200],
        }
        if known:
            record = {"state": "failed", **self._kept(step_id)}
            await self._write("step_failed", payload, step_id, record)
        else:
            await self._desk.note("step_failed", payload)

    def result(self) -> dict[str, Any]:
        """The job's result: per step its exit code and whether it executed."""
        return {
            "steps": {
                step_id: {"exit_code": record["exit_code"], "executed": record["executed"]}
                for step_id, record in self._progress.items()
                if record.get("state") == "finished"
            }
        }

    def _kept(self, step_id: str) -> dict[str, Any]:
        """A decision's answer outlives retries of its step; a ruling is good for one."""
        record = self.record(step_id)
        return {"answer": record["answer"]} if "answer" in record else {}

    async def _write(
        self,
        event: str,
        payload: Mapping[str, Any],
        step_id: str,
        record: Mapping[str, Any],
        *,
        consume_answer: bool = False,
    ) -> None:
        """The event and the record in one call: neither is there without the other."""
        progress = {**self._progress, step_id: {"key": self.key(step_id), **record}}
        await self._desk.note(event, payload, progress=progress, consume_answer=consume_answer)
        self._progress = progress


def unknown_question(run: Run, step_id: str) -> Question:
    """Asked when a step with effects started and nobody knows how it ended (RUN-5)."""
    return Question(
        question_id=question_id(run, step_id, about="unknown"),
        text=f"Step {step_id!r} started in an earlier attempt and nobody knows how it ended. What now?",
        kind="choose",
        options=RULINGS,
        step_id=step_id,
        block_reason="error",
    )
