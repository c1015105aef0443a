"""One part of the demo while it is on: what it submits, follows, claims and measures.

A stage says nothing of its own: what happened comes from ledgers (`follow`), what is so from checks.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from contracts.errors import Corrupt
from contracts.events import Frame
from contracts.outcomes import Outcome
from contracts.record import JobRecord, LedgerEvent
from orch.client import Orch
from orch.core.ledger import replay
from orch.demo.check import Check
from orch.demo.house import House
from orch.demo.narrate import sentence
from orch.demo.voice import Voice


@dataclass(slots=True)
class Stage:
    """What has been found so far; `told` is it for the end."""

    name: str
    title: str
    house: House
    client: Orch
    voice: Voice
    checks: list[Check] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    """Numbers worth keeping, units in their names."""
    job: str | None = None
    """Its id, or which ones."""
    state: str | None = None
    attempts: int | None = None
    duration_ms: int | None = None

    @property
    def ok(self) -> bool:
        """Whether every claim held, and there was one."""
        return bool(self.checks) and all(check.ok for check in self.checks)

    def equal(self, claim: str, found: object, expected: object) -> bool:
        """Claim that something is exactly so."""
        return self.holds(claim, found == expected, expected=expected, found=found)

    def holds(self, claim: str, fact: bool, *, expected: object, found: object) -> bool:
        """Claim what `fact` decides; the other two are for whoever wants to know why not."""
        check = Check(claim, str(expected), str(found), fact)
        self.checks.append(check)
        self.voice.check(check)
        return fact

    def say(self, text: str) -> None:
        """What the demo itself does."""
        self.voice.say(text)

    async def submit(self, spec: Mapping[str, Any]) -> str:
        """Submit a job over HTTP; its id."""
        submitted = await self.client.submit(spec)
        self.job = submitted.job_id
        return submitted.job_id

    async def follow(self, job_id: str) -> AsyncGenerator[LedgerEvent]:
        """What happens to the job, told as it comes over its event stream, to the end."""
        async with aclosing(self.client.events(job_id)) as frames:
            async for frame in frames:
                if frame.event is Frame.LOG:
                    self.voice.output(str(frame.data.get("text", "")))
                elif frame.event is Frame.STATUS:
                    event = LedgerEvent.model_validate(frame.data)
                    words = sentence(event)
                    if words is not None:
                        self.voice.event(words)
                    yield event

    async def conclude(self, job_id: str) -> tuple[JobRecord, list[LedgerEvent]]:
        """How it ended: the record and the whole ledger, which must agree."""
        record = await self.client.job(job_id)
        ledger = await self.ledger(job_id)
        self.equal("the job is completed", record.state.value, "completed")
        self.equal(
            "its ledger, replayed from the first entry, gives that state",
            replayed(ledger),
            "completed",
        )
        self.state, self.attempts = record.state.value, len(record.attempts)
        if record.finished_at_ms is not None:
            self.duration_ms = record.finished_at_ms - record.created_at_ms
        return record, ledger

    async def ledger(self, job_id: str) -> list[LedgerEvent]:
        """All entries, oldest first."""
        events: list[LedgerEvent] = []
        cursor: str | None = None
        while True:
            page = await self.client.ledger(job_id, after=cursor)
            events += page.events
            cursor = page.next_cursor
            if cursor is None:
                return events

    def document(self) -> dict[str, Any]:
        """The stage as JSON."""
        return {
            "name": self.name,
            "title": self.title,
            "ok": self.ok,
            "job_id": self.job,
            "state": self.state,
            "attempts": self.attempts,
            "duration_ms": self.duration_ms,
            "facts": self.facts,
            "checks": [
                {"claim": c.claim, "expected": c.expected, "found": c.found, "ok": c.ok}
                for c in self.checks
            ],
        }


def decisive(record: JobRecord) -> list[str]:
    """How its attempts ended, those left out whose runner died: these are nobody's judgement."""
    ends = (attempt.outcome for attempt in record.attempts)
    return [end.value for end in ends if end is not None and end is not Outcome.LOST]


def replayed(ledger: list[LedgerEvent]) -> str:
    """The state that the ledger proves, or what is wrong with it."""
    try:
        return replay(ledger).value
    except Corrupt as error:
        return error.message
