"""What must be true of every job when versions have changed under it?

The rules for one job are those of the chaos runs (`tests.chaos.verdict`): a dense ledger that proves the
state, one end, growing fences, one result, of the claim in force. Here nobody died and no server failed, so
there is less to excuse: each job must have come to the end of its kind, and none was ever lost.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from contracts.errors import Corrupt
from contracts.record import LedgerEvent
from contracts.states import State
from orch.core.ledger import TAKEN, parse_ledger, state_of
from tests.chaos.verdict import Jobs, Trace, acts_past_lease, by_job, judge_fields, judge_job
from tests.upgrade.load import FIRED, KINDS

LOST = "lost"


def faults_of(
    accepted: Mapping[str, str], jobs: Jobs, traces: Sequence[Trace], marks: Iterable[str]
) -> Iterator[str]:
    """All that is wrong, in words; `accepted` has the kind of each job, `marks` are of inline ones."""
    left, own = Counter(marks), by_job(traces)
    for job_id, kind in accepted.items():
        fields = jobs.get(job_id)
        if fields is None:
            yield f"job {job_id}: was accepted, and is gone"
            continue
        seen = own.get(job_id, [])
        yield from _job(job_id, kind, fields, seen, left[job_id])
    for job_id in jobs.keys() - accepted.keys():
        if "schedule_id" not in json.loads(jobs[job_id]["1"].split(" ", 5)[5]):
            yield f"job {job_id}: nobody submitted it"
    yield from (one.what for one in acts_past_lease(traces))
    yield from _sessions(accepted, jobs, traces)


def _job(
    job_id: str, kind: str, fields: Mapping[str, str], traces: list[Trace], marks: int
) -> Iterator[str]:
    events = ledger_of(fields)
    if kind == "inline":
        traces = _of_marks(job_id, events, marks)
    yield from (one.what for one in judge_job(job_id, fields, traces))
    yield from (one.what for one in judge_fields(job_id, fields))
    state, end = state_of(fields["state"]), State.COMPLETED if kind == FIRED else KINDS[kind].end
    if state is not end:
        yield f"job {job_id} ({kind}): is {state.value}, and not {end.value}"
    if any(event.payload.get("outcome") == LOST for event in events):
        yield f"job {job_id} ({kind}): an attempt of it was lost, though nobody died"


def ledger_of(fields: Mapping[str, str]) -> list[LedgerEvent]:
    """The entries; none when they cannot be read, which `judge_job` tells."""
    try:
        return parse_ledger(fields)
    except Corrupt:
        return []


def claims_of(events: Iterable[LedgerEvent]) -> list[LedgerEvent]:
    """The entries with which attempts began."""
    return [event for event in events if event.payload.get("cause") in TAKEN]


def _of_marks(job_id: str, events: Sequence[LedgerEvent], marks: int) -> list[Trace]:
    """A mark has no fence: it is taken for one of the last claim, the only one that an inline job needs."""
    fences = [event.epoch for event in claims_of(events)][-1:]
    whole = [(fence, what) for fence in fences for what in ("begin", "end")]
    return [Trace(job_id, 1, fence, what) for fence, what in whole * marks]


# -- sessions


def _sessions(accepted: Mapping[str, str], jobs: Jobs, traces: Sequence[Trace]) -> Iterator[str]:
    """One after the other, in the order in which they came."""
    lines: dict[str, list[str]] = defaultdict(list)
    for job_id, kind in accepted.items():
        if kind == "session" and job_id in jobs:
            lines[str(json.loads(jobs[job_id]["spec"])["session"])].append(job_id)
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for at, trace in enumerate(traces):
        first.setdefault(trace.job_id, at)
        last[trace.job_id] = at
    for session, members in lines.items():
        ran = [job_id for job_id in members if job_id in first]
        for before, after in pairwise(ran):
            if first[after] < last[before]:
                yield f"session {session}: {after} began before {before} had ended"


# -- who did it


def begun_by(
    jobs: Jobs, version_of: Mapping[str, str], *, from_ms: int, to_ms: int
) -> Counter[str]:
    """How many attempts the runners of each version began in that time; `version_of` is by instance."""
    return Counter(
        version_of.get(event.payload["runner"], "unknown")
        for fields in jobs.values()
        for event in claims_of(ledger_of(fields))
        if from_ms <= event.at_ms <= to_ms
    )


def causes(jobs: Jobs) -> Counter[str]:
    """How often each transition happened."""
    return Counter(
        str(event.payload["cause"])
        for fields in jobs.values()
        for event in ledger_of(fields)
        if "cause" in event.payload
    )
