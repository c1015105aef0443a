"""The spans of decisions; and that of an attempt whose runner did not live to tell of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from contracts.outcomes import ReasonCode
from contracts.states import State
from orch.core.handover import Undecided, Verdict
from orch.core.tracing import context_of
from orch.telemetry import spans
from orch.telemetry.traces import Traces

Decided = tuple[Undecided, Verdict]
_MS: Final = 1_000_000


def record_decisions(traces: Traces, decided: Iterable[Decided], began_ns: int) -> None:
    """Of those that were carried out; `began_ns` is when the first of them was looked at."""
    for found, verdict in decided:
        context = context_of(found.carried.traceparent) if found.carried is not None else None
        if context is not None and context.sampled:
            _record(traces, spans.Trail(found.job_id, context), found, verdict, began_ns)


def _record(
    traces: Traces, trail: spans.Trail, found: Undecided, verdict: Verdict, began_ns: int
) -> None:
    ending = json.loads(found.ending)
    now_ns = traces.now_ns()
    if ending.get("reason") == ReasonCode.RUNNER_DEAD:
        lost = spans.Worked(
            number=found.attempt,
            fence=None,
            runner=found.runner,
            started_ns=found.claimed_at_ms * _MS,
            ended_ns=began_ns,
            ending=ending,
        )
        traces.record(spans.attempt(trail, lost, spans.nature_of(found.spec)))
    decision = spans.decide(
        trail, found.attempt, (began_ns, now_ns),
        outcome=ending["outcome"], verb=verdict.verb, delay_ms=verdict.delay_ms,
    )  # fmt: skip
    traces.record(decision)
    if verdict.verb == "fail":
        end = spans.end(trail, now_ns, state=State.FAILED.value, outcome=ending["outcome"])
        traces.record(end)
