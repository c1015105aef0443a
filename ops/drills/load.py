"""The work of a drill: small jobs with a result of their own each, and whether each of them ended once.

Each job has an id and an idempotency key, so that all may be submitted again at any time: that is what
producers are asked to do after a loss, and what the runbooks rely on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from contracts.limits import PAGE_ITEMS_MAX
from contracts.outcomes import Outcome
from contracts.record import JobRecord, Submitted
from contracts.states import Event, State
from ops.drills import agents
from ops.drills.scene import WITHIN_S, Failed, Scene, waited
from ops.drills.stack import Stack
from orch.client import OrchSync

AGENTS: Final = str(Path(agents.__file__).parent)
BATCH: Final = 100


def call(function: str, *args: Any, name: str, tenant: str, **more: Any) -> dict[str, Any]:
    """The spec of a job that calls a function of agents/work.py; its id is its idempotency key too."""
    config = {"callable": f"work:{function}", "args": list(args), "path": AGENTS}
    return {
        "id": name,
        "idempotency_key": name,
        "name": function,
        "tenant": tenant,
        "adapter": {"name": "python", "config": config},
        **more,
    }


def until_there(flag: Path, *, name: str, tenant: str) -> dict[str, Any]:
    """The spec of a command that works until the file is there."""
    script = f"echo at work; while [ ! -e {flag} ]; do sleep 0.1; done"
    adapter = {"name": "command", "config": {"argv": ["sh", "-c", script]}}
    return {
        "id": name,
        "idempotency_key": name,
        "name": "long",
        "tenant": tenant,
        "adapter": adapter,
    }


@dataclass(slots=True)
class Load:
    """Jobs of one tenant."""

    scene: Scene
    tenant: str
    specs: list[dict[str, Any]] = field(default_factory=list)
    results: dict[str, object] = field(default_factory=dict)
    """What each must bring; a job that is not here may bring anything."""

    def echoes(self, stack: Stack, count: int, *, each_ms: int) -> None:
        """Submits so many more jobs that take that long."""
        first = len(self.specs)
        names = {f"{self.tenant}-{n:04d}": n for n in range(first, first + count)}
        self.results |= names
        self.submit(
            stack,
            [call("echo", n, each_ms, name=name, tenant=self.tenant) for name, n in names.items()],
        )

    def submit(self, stack: Stack, specs: Sequence[dict[str, Any]]) -> None:
        """Submits these. Raises Failed when one is refused."""
        self.specs += specs
        answers = _submitted(stack, specs)
        self.scene.saw(f"{len(answers)} jobs of tenant {self.tenant} accepted")

    def repeat(self, stack: Stack) -> int:
        """Submits all again under their keys; how many the stack did not have any more."""
        answers = _submitted(stack, self.specs)
        new = sum(not answer.duplicate for answer in answers)
        self.scene.saw(
            f"{len(answers)} submissions repeated: {len(answers) - new} known, {new} new"
        )
        return new

    def records(self, stack: Stack) -> list[JobRecord]:
        """What the stack has of it, all pages."""

        def pages(client: OrchSync) -> list[JobRecord]:
            found: list[JobRecord] = []
            cursor: str | None = None
            while True:
                page = client.jobs(tenant=self.tenant, limit=PAGE_ITEMS_MAX, cursor=cursor)
                found += page.jobs
                cursor = page.next_cursor
                if cursor is None:
                    return found

        return stack.ask(pages)

    def workers(self, stack: Stack) -> set[str]:
        """The runners that brought results."""
        attempts = (attempt for record in self.records(stack) for attempt in record.attempts)
        return {attempt.runner for attempt in attempts if attempt.outcome is Outcome.DONE}

    def completed(self, stack: Stack) -> int:
        """How many are completed."""
        return sum(record.state is State.COMPLETED for record in self.records(stack))

    def some_done(self, stack: Stack, at_least: int) -> None:
        """Waits until the load is under way."""
        self.scene.until(
            f"at least {at_least} of {len(self.specs)} jobs are completed",
            lambda: self.completed(stack) >= at_least,
        )

    def all_done_once(self, stack: Stack, within_s: float = 2 * WITHIN_S) -> None:
        """Claims that each was completed by one attempt, with its own result, and that its ledger says so."""
        want = len(self.specs)
        self.scene.until(
            f"all {want} jobs of {self.tenant} are completed",
            lambda: self.completed(stack) == want,
            within_s,
        )
        records = self.records(stack)
        odd = [fault for record in records for fault in self._faults(record)]
        odd += stack.ask(lambda client: _settled_otherwise(client, records))
        self.scene.equal(f"each of the {want} ended once, with its own result; faults", odd[:5], [])
        tries = Counter(len(record.attempts) for record in records)
        self.scene.saw(
            f"attempts of a job, and how many had so many: {dict(sorted(tries.items()))}"
        )

    def _faults(self, record: JobRecord) -> list[str]:
        done = sum(attempt.outcome is Outcome.DONE for attempt in record.attempts)
        faults = [] if done == 1 else [f"{record.job_id}: {done} attempts brought a result"]
        if record.job_id in self.results and record.result != self.results[record.job_id]:
            faults.append(f"{record.job_id}: {record.result!r} is another's result")
        return faults


def _submitted(stack: Stack, specs: Sequence[Mapping[str, Any]]) -> list[Submitted]:
    parts = (specs[first : first + BATCH] for first in range(0, len(specs), BATCH))
    return [answer for part in parts for answer in _batch(stack, part)]


def _batch(stack: Stack, specs: Sequence[Mapping[str, Any]]) -> list[Submitted]:
    """Submits until each is accepted: a server that is away says so item by item."""

    def all_in() -> list[Submitted] | None:
        items = stack.ask(lambda client: client.submit_batch(specs)).items
        for item in items:
            if item.error is not None and not item.error.retriable:
                raise Failed(f"a submission was refused: {item.error.message}")
        accepted = [item.job for item in items if item.job is not None]
        return accepted if len(accepted) == len(specs) else None

    answers = waited(all_in)
    if answers is None:
        raise Failed(f"{len(specs)} submissions were not accepted within {WITHIN_S:g} s")
    return answers


def _settled_otherwise(client: OrchSync, records: Sequence[JobRecord]) -> list[str]:
    """Jobs whose ledger does not hold exactly one settlement."""
    odd = []
    for record in records:
        events = client.ledger(record.job_id, limit=PAGE_ITEMS_MAX).events
        settled = sum(event.payload.get("cause") == Event.SETTLE.value for event in events)
        if settled != 1:
            odd.append(f"{record.job_id}: its ledger holds {settled} settlements")
    return odd
