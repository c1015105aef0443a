"""Producers and operators: what the outside asks of Orch, through both doors.

A producer that gave its job an id or a key asks again after an error; one that did not, does not, and so
never makes a double itself. What was acknowledged is written into the history.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import orjson

from contracts.errors import OrchError, Refused
from contracts.record import JobRecord, Submitted
from contracts.states import State
from orch.core.asks import Ask
from orch.store.store import Store
from tests.sim.history import Submission
from tests.sim.loop import Process
from tests.sim.ports import SimClock
from tests.sim.server import Link
from tests.sim.world import Unit, World

TRIES = 6
ANSWER_POLLS = 20


class Clients:
    """All producers of a run."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.submitted = 0
        self.done = 0
        """Producers that finished."""

    def start(self) -> None:
        """Each is a process with its own share of the jobs; it never dies."""
        count = self.world.plan.clients
        for index in range(count):
            name = f"client{index}"
            process = Process(name)
            unit = Unit(name, "gateway", index, process, Link(process), self.world.host(name))
            self.world.units.append(unit)
            jobs = self.world.plan.jobs // count + (index < self.world.plan.jobs % count)
            client = _Client(self, unit, self.world.store(unit, SimClock(unit.host)), jobs)
            _ = self.world.loop.start(process.main, client.run(), name=name)


class _Client:
    def __init__(self, all_clients: Clients, unit: Unit, store: Store, jobs: int) -> None:
        self._all = all_clients
        self._world = all_clients.world
        self._unit = unit
        self._store = store
        self._jobs = jobs
        self._rng = Random(f"{self._world.plan.seed}/{unit.name}")
        self._tie_rng = Random(f"{self._world.plan.seed}/{unit.name}/ties")
        self._known: list[str] = []
        self._made = 0

    async def run(self) -> None:
        """Submits its share over the safety phase, and steers some of it."""
        pause_s = self._world.plan.safety_ms / 1000 / (2 * self._jobs + 1)
        while self._made < self._jobs:
            await asyncio.sleep(self._rng.expovariate(1 / pause_s))
            if self._rng.random() < 0.6:
                await self._submit_direct()
            else:
                await self._submit_raw()
            if self._known and self._rng.random() < 0.3:
                await self._steer(self._rng.choice(self._known))
        self._all.done += 1

    def _document(self) -> tuple[dict[str, Any], Submission]:
        self._made += 1
        mark = f"{self._unit.name}-{self._made}"
        plan, roll = self._world.plan, self._rng.random()
        poison = "poison" in plan.faults and self._rng.random() < 0.15
        document: dict[str, Any] = {
            "name": mark,
            "adapter": {"name": "command", "config": {"argv": ["agent"]}},
            "tenant": self._rng.choice(("acme", "default")),
            "priority": self._rng.choice(("interactive", "batch")),
            "inputs": {"sim": {"mark": mark, "work_ms": plan.work_ms, "poison": poison}},
        }
        if self._rng.random() < 0.1:
            document["retry"] = {"on": ["logic", "transient", "throttled"], "backoff_ms": 100}
        now_ms = self._world.server.wall_ms()
        if self._rng.random() < 0.1:
            document["not_before_ms"] = now_ms + self._rng.randrange(200, 5_000)
        elif self._rng.random() < 0.05:
            document["deadline_ms"] = now_ms + self._rng.randrange(1_000, 20_000)
        document |= self._ties()
        if roll < 0.4:
            document["id"] = f"job-{mark}"
        elif roll < 0.8:
            document["idempotency_key"] = f"key-{mark}"
        submission = Submission(mark, "direct")
        self._world.history.submissions[mark] = submission
        return document, submission

    def _ties(self) -> dict[str, Any]:
        """A key or a session that others have too; drawn apart, so that all else is drawn as without."""
        rng, tied = self._tie_rng, self._world.plan.tied
        found: dict[str, Any] = {}
        if rng.random() < tied:
            found["concurrency_key"] = rng.choice(("repo", "site"))
        if rng.random() < tied:
            found["session"] = rng.choice(("chat", "mail"))
            how = rng.choice((None, "enqueue", "enqueue", "reject", "interrupt", "replace"))
            found |= {"session_policy": how} if how else {}
        return found

    async def _submit_direct(self) -> None:
        batch = [
            self._document() for _ in range(min(self._world.plan.batch, self._jobs - self._made))
        ]
        for _ in range(TRIES):
            asks = [Ask(document) for document, _ in batch]
            try:
                answers = await self._store.admission.admit(asks)
            except OrchError:
                # Without an id or a key nobody may ask again.
                batch = [pair for pair in batch if {"id", "idempotency_key"} & pair[0].keys()]
                if not batch:
                    return
                await asyncio.sleep(self._rng.uniform(0.1, 1.0))
                continue
            for (_, submission), answer in zip(batch, answers, strict=True):
                self._acknowledged(submission, answer)
            return

    def _acknowledged(self, submission: Submission, answer: Submitted | Refused) -> None:
        if isinstance(answer, Refused):
            submission.refused = True
            self._world.history.trace(f"{submission.mark} refused {answer.code}")
        else:
            self._accept(submission, answer.job_id)

    def _accept(self, submission: Submission, job_id: str) -> None:
        history = self._world.history
        submission.acked_at = history.now()
        if submission.acked_job not in (None, job_id):
            history.violation("double", f"{submission.mark} is {submission.acked_job} and {job_id}")
        submission.acked_job = job_id
        self._known.append(job_id)
        history.sometimes[f"acknowledged {submission.door}"] += 1

    async def _submit_raw(self) -> None:
        document, submission = self._document()
        submission.door = "raw"
        request_id = f"req-{submission.mark}"
        connection = self._store.connection
        safe = bool({"id", "idempotency_key"} & document.keys())
        for _ in range(TRIES if safe else 1):
            try:
                # One message, not `execute`: that would send it again after an error.
                await connection._commands.execute_command(
                    "XADD", connection.keys.requests, "*", "v", "1", "request_id", request_id,
                    "spec", orjson.dumps(document).decode(),
                )  # fmt: skip
            except Exception:  # noqa: BLE001 - any error of the wire: unknown
                await asyncio.sleep(self._rng.uniform(0.1, 1.0))
                continue
            submission.queued_at = self._world.loop.time()
            await self._read_answer(submission, request_id)
            return

    async def _read_answer(self, submission: Submission, request_id: str) -> None:
        key = self._store.connection.keys.answer(request_id)
        for _ in range(ANSWER_POLLS):
            await asyncio.sleep(0.2)
            try:
                text = await self._store.connection.execute("GET", key)
            except OrchError:
                continue
            if text is not None:
                answer = orjson.loads(text)
                if "job_id" in answer:
                    self._accept(submission, answer["job_id"])
                else:
                    submission.refused = True
                return

    async def _steer(self, job_id: str) -> None:
        """Once in a while somebody cancels, pauses, resumes or answers."""
        verb = self._rng.choice(("cancel", "pause", "pause", "resume", "answer", "answer"))
        steering = self._store.steering
        try:
            match verb:
                case "cancel":
                    await steering.cancel(job_id, by="sim")
                case "pause":
                    await steering.pause(job_id, by="sim")
                case "resume":
                    await steering.resume(job_id, by="sim")
                case _:
                    await answer(self._store, job_id)
            self._world.history.sometimes[verb] += 1
        except Refused as refused:
            self._world.history.sometimes[f"{verb} refused {refused.code}"] += 1
        except OrchError:
            return


async def answer(store: Store, job_id: str) -> JobRecord | None:
    """Answers the job's open question, if it has one."""
    question = await store.reading.question(job_id)
    if question is None:
        return None
    return await store.questions.answer(job_id, question.question_id, True, by="sim")


async def settle_operators(store: Store, jobs: list[tuple[str, State]]) -> None:
    """After the storm: whatever was paused goes on; what asked something may wait for ever."""
    for job_id, state in jobs:
        if state is State.PAUSED:
            try:
                await store.steering.resume(job_id, by="sim")
            except OrchError:
                continue
