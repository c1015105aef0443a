"""What became of the jobs that were acknowledged? Looked at until each has come to rest, before retention
removes it: state, ledger, claims, result, and what its agents did."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

import redis

from contracts.states import STATE_CODES, TERMINAL, State
from orch.core.ledger import state_of
from orch.store.keys import Keys
from orch.system import monotonic_ms
from tests.chaos.submit import Ack
from tests.chaos.verdict import (
    ENDS,
    Trace,
    Violation,
    acts_past_lease,
    judge_end,
    judge_fields,
    judge_job,
    trace_of,
)
from tests.e2e.invariants import stored

STUCK_MS: Final = 240_000
"""No job of the load runs for ten seconds, or waits for more than some others; the rest is a slow machine."""
BLIND_MS: Final = 40_000
"""Below the shortest retention. After a longer pause of ours a job may have ended and gone unseen."""
_LATENCIES: Final = 400
"""Of the latest jobs."""
_KEEPS: Final = {"asks": frozenset({State.COMPLETED}), "leaves": frozenset({State.COMPLETED})}
_OVER: Final = {STATE_CODES[state] for state in TERMINAL}


@dataclass
class Books:
    """What all parts of a soak know together."""

    open: dict[str, Ack] = field(default_factory=dict)
    """Acknowledged jobs that were not seen at rest yet."""
    plain: set[str] = field(default_factory=set)
    """Those of them that only wait for a slot."""
    judged: Counter[str] = field(default_factory=Counter)
    """By kind."""
    ends: Counter[str] = field(default_factory=Counter)
    """By state."""
    unseen: int = 0
    """Ended and removed while we did not look."""
    counts: Counter[str] = field(default_factory=Counter)
    """What else was done."""
    violations: list[Violation] = field(default_factory=list)
    latencies: dict[str, deque[float]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=_LATENCIES))
    )

    def violate(self, kind: str, what: str, job_id: str = "") -> None:
        """A broken promise."""
        self.violations.append(Violation(kind, what, job_id, monotonic_ms()))

    def figures(self) -> dict[str, float]:
        """Measures of the load itself."""
        found: dict[str, float] = {"open": len(self.open)}
        for name, values in self.latencies.items():
            if values:
                found[f"latency_ms:{name}"] = median(values)
        return found


class Traces:
    """The lines that agents leave, read as they come."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""
        self._by_job: dict[str, list[Trace]] = defaultdict(list)

    def take(self, job_id: str) -> list[Trace]:
        """Of one job, once."""
        self._read()
        return self._by_job.pop(job_id, [])

    def forget_but(self, open_jobs: Mapping[str, Ack]) -> None:
        """An agent that is being stopped may tell of itself after its job was judged."""
        for job_id in [one for one in self._by_job if one not in open_jobs]:
            del self._by_job[job_id]

    def _read(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            trace = trace_of(line.decode())
            if trace is not None:
                self._by_job[trace.job_id].append(trace)


class Follower:
    """Looks at the open jobs."""

    def __init__(self, client: redis.Redis, books: Books, effects: Path) -> None:
        self._client = client
        self._books = books
        self._traces = Traces(effects)
        self._looked_at_ms = monotonic_ms()

    def look(self) -> list[tuple[str, str]]:
        """Judges what has come to rest. Returns (job id, kind) of blocked jobs, which somebody must help."""
        now_ms = monotonic_ms()
        was_blind = now_ms - self._looked_at_ms > BLIND_MS
        self._looked_at_ms = now_ms
        watched = dict(self._books.open)
        pipe = self._client.pipeline(transaction=False)
        for job_id in watched:
            pipe.hget(Keys().job(job_id), "state")
        blocked: list[tuple[str, str]] = []
        for ack, state in zip(watched.values(), pipe.execute(), strict=True):
            if state is None:
                self._gone(ack, was_blind=was_blind)
            elif state in _OVER:
                self._judge(ack, stored(self._client, ack.job_id))
            elif state == STATE_CODES[State.BLOCKED]:
                blocked.append((ack.job_id, ack.kind))
            elif now_ms - ack.at_ms > STUCK_MS:
                what = f"job {ack.job_id} ({ack.kind}) is {state_of(state)} after {STUCK_MS} ms"
                self._books.violate("stuck", what, ack.job_id)
                del self._books.open[ack.job_id]
        self._traces.forget_but(self._books.open)
        return blocked

    def _gone(self, ack: Ack, *, was_blind: bool) -> None:
        del self._books.open[ack.job_id]
        if was_blind:
            self._books.unseen += 1
        else:
            self._books.violate("lost", f"job {ack.job_id} ({ack.kind}) is gone", ack.job_id)

    def _judge(self, ack: Ack, fields: dict[str, str]) -> None:
        books = self._books
        del books.open[ack.job_id]
        traces = self._traces.take(ack.job_id)
        books.violations += judge_job(ack.job_id, fields, traces)
        books.violations += judge_fields(ack.job_id, fields)
        books.violations += judge_end(ack, fields)
        books.violations += acts_past_lease(traces)
        state = state_of(fields["state"])
        if ack.kind not in ENDS and state not in _KEEPS[ack.kind]:
            books.violate("broken", f"job {ack.job_id} ({ack.kind}) ended {state}", ack.job_id)
        books.judged[ack.kind] += 1
        books.ends[state.value] += 1
        if ack.job_id in books.plain:
            books.plain.discard(ack.job_id)
            if ack.kind == "python":
                waited_ms = int(fields["finished_at"]) - int(fields["made_at"])
                books.latencies["python job"].append(waited_ms)
