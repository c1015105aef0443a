"""The store's verbs over plain dictionaries, with the promises that the gateway relies on.

Beside the verbs it has levers for tests: what runners, the scheduler and the reaper would do to a job
(`claim`, `settle`, `fail`, `emit`, …), and what a bad day does to Redis (`away`, `fault`, `cancel_untold`).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import anyio

from contracts.errors import ErrorCode, Refused, Unavailable
from contracts.events import EventType
from contracts.outcomes import Outcome
from contracts.record import (
    Artifact,
    Attempt,
    DeadLetter,
    DeadLetterList,
    Explanation,
    JobList,
    JobRecord,
    LedgerEvent,
    LogLine,
    Question,
    Replayed,
    Submitted,
)
from contracts.spec import JobSpec, parse_spec
from contracts.states import TERMINAL, Event, Refusal, State, step
from orch.core.asks import Ask, JobFilter, LetterFilter
from orch.store.submissions import Submissions
from tests.actors.gateway.fake_job import FakeJob
from tests.actors.gateway.fake_sessions import FakeSessions
from tests.actors.gateway.fake_webhooks import FakeWebhooks
from tests.actors.gateway.modelled import modelled_schedules


class FakeStore:
    """Every family is the same object: no two families share a verb's name."""

    def __init__(self) -> None:
        self.jobs_by_id: dict[str, FakeJob] = {}
        self.keys: dict[str, str] = {}
        self.calls: Counter[str] = Counter()
        self.away = False
        self.fault: Exception | None = None
        self.full: Refused | None = None
        self._now_ms = 1_000
        self._news: list[tuple[str, int]] = []
        self._lost = False
        self._moved = anyio.Event()
        self.admission = self.reading = self.steering = self.questions = self
        self.submissions = Submissions(full_policy="reject")
        self.feed = self.connection = self.dead_letters = self.tokens = self
        self.schedules = modelled_schedules()
        self.control: Any = None
        self.pools: Any = None
        """Those of a real store, where a test wants them."""
        self.letters: list[DeadLetter] = []
        self.sessions = FakeSessions(self._called)
        self.webhooks = FakeWebhooks()

    # ---- the verbs

    async def ping(self) -> None:
        self._called("ping")

    async def admit(self, asks: Sequence[Ask]) -> list[Submitted | Refused]:
        self._called("admit")
        return [self._admit_one(ask) for ask in asks]

    async def page(self, which: LetterFilter, *, limit: int, cursor: str | None) -> DeadLetterList:
        self._called("page")
        fits = [one for one in self.letters if which.fits(one)]
        return DeadLetterList(dead_letters=fits[:limit], next_cursor=None)

    async def replay(self, job_ids: Sequence[str], *, by: str) -> list[Replayed]:
        self._called("replay")
        return [Replayed(job_id=one, replayed_as=f"{one}-again") for one in job_ids]

    async def job(self, job_id: str) -> JobRecord:
        self._called("job")
        return self._job(job_id).record

    async def check_tenant(self, job_id: str, tenant: str) -> None:
        if self._job(job_id).record.tenant != tenant:
            raise Refused(ErrorCode.NOT_FOUND, f"no job {job_id}")

    async def claim_of(self, job_id: str) -> str | None:
        return None

    async def find(self, token_id: str) -> None:
        return None

    async def agent_key(self, fresh: str) -> str:
        return fresh

    async def tagged(self, job_id: str) -> tuple[JobRecord, str]:
        record = await self.job(job_id)
        return record, f"{record.created_at_ms}-{len(self._job(job_id).events)}"

    async def jobs(self, which: JobFilter, *, limit: int, cursor: str | None) -> JobList:
        self._called("jobs")
        fits = [
            job.record
            for job in reversed(self.jobs_by_id.values())
            if which.tenant in {None, job.record.tenant}
            and which.fits(job.record.state, job.record.pool, job.record.created_at_ms)
            and which.fits_spec(job.spec.model_dump())
        ]
        start = int(cursor or 0)
        following = str(start + limit) if start + limit < len(fits) else None
        return JobList(jobs=fits[start : start + limit], next_cursor=following)

    async def ledger(self, job_id: str, *, after: int, limit: int) -> list[LedgerEvent]:
        self._called("ledger")
        await anyio.lowlevel.checkpoint()
        return [event for event in self._job(job_id).events if event.seq > after][:limit]

    async def output(self, job_id: str, *, after: int, limit: int) -> tuple[list[LogLine], int]:
        self._called("output")
        await anyio.lowlevel.checkpoint()
        job = self._job(job_id)
        return [line for line in job.lines if line.i > after][:limit], job.trimmed

    async def artifacts(self, job_id: str) -> list[Artifact]:
        self._called("artifacts")
        return self._job(job_id).artifacts

    async def explain(self, job_id: str) -> Explanation:
        self._called("explain")
        record = self._job(job_id).record
        queued = record.state is State.QUEUED
        return Explanation(
            job_id=job_id,
            state=record.state,
            reason=record.state.value,
            unblocks="a free slot" if queued else "nothing",
            facts={"queue_position": 0, "predicted_start_ms": None} if queued else {},
        )

    async def question(self, job_id: str) -> Question | None:
        return self._job(job_id).record.question

    async def cancel(self, job_id: str, *, by: str, note: str | None = None) -> JobRecord:
        self._called("cancel")
        if self._job(job_id).record.state is State.CANCELED:
            return self._job(job_id).record
        return self._move(job_id, Event.CANCEL, by=by)

    async def pause(self, job_id: str, *, by: str, note: str | None = None) -> JobRecord:
        self._called("pause")
        job = self._job(job_id)
        if job.record.state is State.PAUSED or job.record.pause_wished:
            return job.record
        if job.record.state is State.RUNNING:
            self._change(job, pause_wished=True)
            self.note(job_id, EventType.PAUSE_WISHED, by=by)
            return job.record
        return self._move(job_id, Event.PAUSE, by=by)

    async def resume(self, job_id: str, *, by: str, note: str | None = None) -> JobRecord:
        self._called("resume")
        return self._move(job_id, Event.RESUME, by=by)

    async def answer(
        self, job_id: str, question_id: str, value: Any, *, by: str, reason: str | None
    ) -> JobRecord:
        self._called("answer")
        job = self._job(job_id)
        question = job.record.question
        if question is None or question.question_id != question_id:
            raise Refused(ErrorCode.ALREADY_ANSWERED, "this question is not open")
        if question.options and value not in question.options:
            raise Refused(ErrorCode.INVALID_ANSWER, "not one of the options")
        self.note(
            job_id,
            EventType.QUESTION_ANSWERED,
            question_id=question_id,
            value=value,
            by=by,
            reason=reason,
        )
        self._change(job, question=None, block_reason=None)
        return self._move(job_id, Event.ANSWER)

    async def tail(self) -> str:
        self._called("tail")
        return str(len(self._news))

    async def read(self, after: str, *, block_ms: int) -> tuple[str, dict[str, int], bool]:
        self._called("read")
        position = int(after)
        if position == len(self._news) and not self._lost:
            moved = self._moved
            with anyio.move_on_after(block_ms / 1000):
                await moved.wait()
        self._called("answered")
        lost, self._lost = self._lost, False
        touched: dict[str, int] = {}
        for job_id, seq in self._news[position:]:
            touched[job_id] = max(seq, touched.get(job_id, 0))
        return str(len(self._news)), {} if lost else touched, lost

    # ---- the levers

    def claim(self, job_id: str) -> None:
        if self._job(job_id).record.state is State.QUEUED:
            self._move(job_id, Event.DISPATCH)
        job = self._job(job_id)
        number = job.record.attempt + 1
        begun = Attempt(
            attempt=number,
            epoch=number,
            runner="r1",
            started_at_ms=self._now_ms,
            ended_at_ms=None,
            outcome=None,
            exit_code=None,
            reason=None,
        )
        attempts = [*job.record.attempts, begun]
        self._change(job, attempt=number, epoch=number, attempts=attempts)
        self._move(job_id, Event.CLAIM, runner="r1")

    def settle(self, job_id: str, result: Any = None) -> None:
        self._ended(job_id, Outcome.DONE, "completed")
        self._change(self._job(job_id), result=result)
        self._move(job_id, Event.SETTLE, outcome="done", result=result)

    def fail(self, job_id: str) -> None:
        self._ended(job_id, Outcome.LOGIC, "exit_code")
        self._move(job_id, Event.RELEASE, outcome="logic", reason="exit_code")
        self._move(job_id, Event.FAIL)
        self.note(job_id, EventType.JOB_FAILED, outcome="logic", reason="attempts", failures=1)

    def expire(self, job_id: str) -> None:
        self._move(job_id, Event.EXPIRE)

    def ask(self, job_id: str, question: Question) -> None:
        self.note(job_id, EventType.QUESTION_ASKED, **question.model_dump())
        self._change(self._job(job_id), question=question, block_reason="decision")
        self._move(job_id, Event.ASK, block_reason="decision")

    def emit(self, job_id: str, *texts: str) -> None:
        job = self._job(job_id)
        for text in texts:
            last = job.lines[-1].i if job.lines else job.trimmed
            job.lines.append(LogLine(i=last + 1, stream="stdout", text=text))
        self._tell(job_id)

    def trim(self, job_id: str, *, keep: int) -> None:
        job = self._job(job_id)
        job.trimmed += len(job.lines) - keep
        job.lines = job.lines[len(job.lines) - keep :]

    def leave(self, job_id: str, name: str, content: bytes) -> str:
        sha256 = hashlib.sha256(content).hexdigest()
        artifact = Artifact(name=name, sha256=sha256, bytes=len(content), step_id=None, attempt=1)
        self._job(job_id).artifacts.append(artifact)
        return sha256

    def cancel_untold(self, job_id: str) -> None:
        """The job ends, and the reader of the feed fell too far behind to be told."""
        self._move(job_id, Event.CANCEL)
        self._lost = True

    def wake(self) -> None:
        """Ends a blocked read."""
        self._wake()

    def note(self, job_id: str, kind: EventType, /, **payload: Any) -> None:
        job = self._job(job_id)
        self._now_ms += 1
        job.events.append(
            LedgerEvent(
                seq=len(job.events) + 1,
                at_ms=self._now_ms,
                type=kind,
                actor="fake",
                attempt=job.record.attempt,
                epoch=job.record.epoch,
                payload=payload,
            )
        )
        self._tell(job_id)

    # ---- inside

    def _called(self, verb: str) -> None:
        self.calls[verb] += 1
        if self.away:
            raise Unavailable(ErrorCode.UNAVAILABLE, "Redis cannot be reached")
        if self.fault is not None:
            raise self.fault

    def _job(self, job_id: str) -> FakeJob:
        job = self.jobs_by_id.get(job_id)
        if job is None:
            raise Refused(ErrorCode.NOT_FOUND, f"no job {job_id}")
        return job

    def _admit_one(self, ask: Ask) -> Submitted | Refused:
        try:
            spec = parse_spec(ask.document)
        except Refused as refused:
            return refused
        if self.full is not None:
            return self.full
        digest = hashlib.sha256(json.dumps(ask.document, sort_keys=True).encode()).hexdigest()
        key = ask.idempotency_key or spec.idempotency_key
        known = self.jobs_by_id.get(self.keys.get(key or "", spec.id or ""))
        if known is not None and known.digest != digest:
            details = {"stored": known.digest, "given": digest}
            return Refused(ErrorCode.IDEMPOTENCY_CONFLICT, "other content", details=details)
        if known is None:
            known = self._make(spec, digest)
            if key is not None:
                self.keys[key] = known.record.job_id
            return self._submitted(known, duplicate=False)
        return self._submitted(known, duplicate=True)

    def _make(self, spec: JobSpec, digest: str) -> FakeJob:
        job_id = spec.id or f"job{len(self.jobs_by_id) + 1:04}"
        record = JobRecord(
            job_id=job_id,
            name=spec.name,
            state=State.QUEUED,
            block_reason=None,
            tenant=spec.tenant,
            pool=spec.pool,
            priority=spec.priority or "batch",
            attempt=0,
            epoch=0,
            created_at_ms=self._now_ms,
            started_at_ms=None,
            finished_at_ms=None,
            outcome=None,
            result=None,
            question=None,
            lease=None,
            attempts=[],
            labels=spec.labels,
        )
        job = self.jobs_by_id[job_id] = FakeJob(spec, digest, record)
        payload = {"from": None, "to": "queued", "cause": "admit"}
        self.note(job_id, EventType.STATUS_CHANGED, **payload)
        return job

    def _submitted(self, job: FakeJob, *, duplicate: bool) -> Submitted:
        return Submitted(
            job_id=job.record.job_id,
            state=job.record.state,
            queue_position=0 if job.record.state is State.QUEUED else None,
            predicted_start_ms=None,
            duplicate=duplicate,
        )

    def _change(self, job: FakeJob, **fields: Any) -> None:
        job.record = JobRecord.model_validate({**job.record.model_dump(), **fields})

    def _ended(self, job_id: str, outcome: Outcome, reason: str) -> None:
        job = self._job(job_id)
        last = job.record.attempts[-1].model_copy(
            update={"outcome": outcome, "reason": reason, "ended_at_ms": self._now_ms}
        )
        self._change(job, attempts=[*job.record.attempts[:-1], last], outcome=outcome)

    def _move(self, job_id: str, event: Event, **payload: Any) -> JobRecord:
        job = self._job(job_id)
        before = job.record.state
        after = step(before, event)
        if isinstance(after, Refusal):
            details = {"state": before.value, "refusal": after.value}
            raise Refused(ErrorCode.INVALID_TRANSITION, f"{event} refused", details=details)
        ended = {"finished_at_ms": self._now_ms} if after in TERMINAL else {}
        self._change(job, state=after, **ended)
        change = {"from": before.value, "to": after.value, "cause": event.value}
        self.note(job_id, EventType.STATUS_CHANGED, **change, **payload)
        return job.record

    def _tell(self, job_id: str) -> None:
        self._news.append((job_id, len(self._job(job_id).events)))
        self._wake()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()
