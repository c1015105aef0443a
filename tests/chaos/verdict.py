"""What must be true when the faults have stopped and everything has come to rest?

LOST: an acknowledged submission without a job, which nobody counted. DOUBLE: one mark, two jobs; two ends; a
result of a claim that was not in force; a body that ran twice under one claim. PAST_LEASE: an agent acted
after the next claim of its job had begun to act. STUCK, ORPHAN, BROKEN, INDEX: what the words say.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, TypeAlias

from contracts.errors import Corrupt
from contracts.events import EventType, payload_faults
from contracts.limits import CRASHES_MAX, FENCE_SHIFT
from contracts.record import LedgerEvent
from contracts.states import TERMINAL, Event, State
from orch.core.ledger import TAKEN, parse_ledger, replay, state_of
from tests.chaos.submit import Ack, Books

TICK_MS: Final = 20
"""The uptime of a trace is that of the last 10 ms, and so is ours."""
KINDS: Final = ("lost", "double", "undetected", "orphan", "past_lease", "stuck", "broken", "index")
Faults: TypeAlias = Iterator[tuple[str, str]]
"""Kinds of violations of one job, each in words."""
Jobs: TypeAlias = Mapping[str, Mapping[str, str]]
Claims: TypeAlias = Set[tuple[str, int]]
"""(job, fence)."""
NONE: Final[Claims] = frozenset()
RESTING: Final = TERMINAL | {State.BLOCKED}


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken promise; `at_ms` is when its job, if it is about one, was acknowledged (monotonic)."""

    kind: str
    what: str
    job_id: str = ""
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Trace:
    """One line that an agent left."""

    job_id: str
    attempt: int
    fence: int
    what: str
    at_ms: int = 0
    """Uptime of the host, read just before it wrote."""
    runner: int = 0
    """Pid of the runner whose guard started it."""


def trace_of(line: str) -> Trace | None:
    """One whole line of the effects file."""
    row = line.split(" ")
    if len(row) != 7:
        return None
    return Trace(row[0], int(row[1]), int(row[2]), row[3], int(float(row[5]) * 1_000), int(row[6]))


def read_traces(path: Path) -> list[Trace]:
    """All lines in the order in which they were written."""
    if not path.exists():
        return []
    rows = map(trace_of, path.read_text().splitlines())
    return [row for row in rows if row is not None]


# -- submissions


def lost_acks(books: Books, jobs: Jobs) -> list[Ack]:
    """Acknowledged submissions without a job."""
    return [ack for job_id, ack in books.acks.items() if job_id not in jobs]


def judge_lost(
    lost: Iterable[Ack], books: Books, *, may_lose: bool, counted_elsewhere: int
) -> Iterator[Violation]:
    """Submissions, and cancels, that were acknowledged and are gone. A loss that somebody counted is no
    violation where the persistence allows it.

    A submitter through the direct door holds the watermark itself. One through the stream does not: its
    acknowledgement was the admission actor's, which counts if it lives.
    """
    for ack in lost:
        what = (
            f"job {ack.job_id} ({ack.kind}), acknowledged to {ack.submitter} ({ack.door}), is gone"
        )
        if not may_lose:
            yield Violation("lost", what, ack.job_id, ack.at_ms)
            continue
        own = any(name == ack.submitter and met >= ack.incarnation for name, met, _ in books.losses)
        if not own and (ack.door == "direct" or not (counted_elsewhere or books.losses)):
            yield Violation("undetected", f"{what}, and nobody counted it", ack.job_id, ack.at_ms)


def forgotten(
    books: Books, jobs: Jobs, traces: Iterable[Trace], *, counted_elsewhere: int
) -> set[tuple[str, int]]:
    """Claims under which agents acted and which no ledger has any more, where somebody counted that loss.

    What the server forgot it gives again, under new claims, and the holders of the old go on until they are
    refused: that, and nothing else, is excused. A submitter's watermark says of which incarnations something
    is gone, an actor's says only that it was so.
    """
    lost = {n for _, first, after in books.losses for n in range(first, after)}
    known: dict[str, set[int]] = defaultdict(set)
    for job_id, fields in jobs.items():
        with suppress(Corrupt):
            known[job_id] = {event.epoch for event in _claim_events(parse_ledger(fields))}
    return {
        (trace.job_id, trace.fence)
        for trace in traces
        if trace.fence not in known[trace.job_id]
        and (counted_elsewhere or trace.fence >> FENCE_SHIFT in lost)
    }


def doubled_marks(jobs: Jobs) -> Iterator[Violation]:
    """One mark, two jobs."""
    seen: dict[str, str] = {}
    for job_id, fields in jobs.items():
        mark = json.loads(fields["spec"]).get("labels", {}).get("mark", "")
        if mark in seen:
            yield Violation("double", f"mark {mark} is job {seen[mark]} and job {job_id}")
        seen[mark] = job_id


# -- one job


def judge_job(
    job_id: str, fields: Mapping[str, str], traces: list[Trace], gone: Claims = NONE
) -> Iterator[Violation]:
    """Its ledger against its state, its claims, its result and what its agents did. `gone` are claims that
    the server has forgotten: agents of them may have acted."""
    excused = {fence for name, fence in gone if name == job_id}
    for kind, what in _judged(fields, [trace for trace in traces if trace.fence not in excused]):
        yield Violation(kind, f"job {job_id}: {what}", job_id)


def judge_fields(job_id: str, fields: Mapping[str, str]) -> Iterator[Violation]:
    """Whether each entry has the fields that the catalogue promises, and no others."""
    with suppress(Corrupt):  # told by `judge_job`
        for event in parse_ledger(fields):
            for fault in payload_faults(event.type, event.payload):
                yield Violation("broken", f"job {job_id}: entry {event.seq}: {fault}", job_id)


def _judged(fields: Mapping[str, str], traces: list[Trace]) -> Faults:
    try:
        events = parse_ledger(fields)
        state = replay(events)
    except Corrupt as error:
        yield "double", error.message
        return
    if state is not state_of(fields["state"]):
        yield "double", f"the ledger proves {state}, stored is {fields['state']}"
    if state not in RESTING:
        yield "stuck", f"it is {state}; its last events: {_story(events)}"
    yield from _claims(events)
    yield from _bodies(events, traces)
    if state is State.COMPLETED:
        yield from _result(fields, events, traces)


def _story(events: list[LedgerEvent]) -> str:
    return " ".join(str(event.payload.get("cause") or event.type.value) for event in events[-8:])


def _claim_events(events: list[LedgerEvent]) -> list[LedgerEvent]:
    return [event for event in events if event.payload.get("cause") in TAKEN]


def _claims(events: list[LedgerEvent]) -> Faults:
    fences = [event.epoch for event in _claim_events(events)]
    if any(later <= earlier for earlier, later in pairwise(fences)):
        yield "double", f"fences do not grow: {fences}"
    ends = [e for e in events if e.payload.get("to") in {state.value for state in TERMINAL}]
    if len(ends) > 1:
        yield "double", f"{len(ends)} terminal records"


def _bodies(events: list[LedgerEvent], traces: list[Trace]) -> Faults:
    fences = {event.epoch for event in _claim_events(events)}
    strangers = {trace.fence for trace in traces} - fences
    if strangers:
        yield (
            "double",
            f"agents of fences {sorted(strangers)} acted, the ledger has {sorted(fences)}",
        )
    begun = Counter((trace.fence, trace.what) for trace in traces if trace.what.startswith("begin"))
    for (fence, what), times in begun.items():
        if times > 1:
            yield "double", f"{what} ran {times} times under fence {fence}"


def _result(fields: Mapping[str, str], events: list[LedgerEvent], traces: list[Trace]) -> Faults:
    claims = _claim_events(events)
    if not claims:
        yield "double", "completed without ever having been claimed"
        return
    last = claims[-1].epoch
    settled = [event for event in events if event.payload.get("cause") == Event.SETTLE.value]
    if len(settled) != 1 or settled[0].epoch != last:
        yield "double", f"{len(settled)} results, the claim in force was {last}"
    result = json.loads(fields.get("result") or "null")
    if isinstance(result, dict) and result.get("fence", last) != last:
        yield "double", f"the result is of fence {result['fence']}, not {last}"
    # The steps of a `steps` job may have ended under an earlier claim: finished steps are not run again.
    ends = {trace.fence for trace in traces if trace.what.startswith("end")}
    if not (ends if _adapter(fields) == "steps" else ends & {last}):
        yield "double", f"completed under fence {last}, whose agent never ended"


# -- ends

ENDS: Final[Mapping[str, frozenset[State]]] = {
    **dict.fromkeys(("quick", "python", "long", "litters", "again"), frozenset({State.COMPLETED})),
    "steps": frozenset({State.COMPLETED, State.FAILED, State.BLOCKED}),
    "fails": frozenset({State.FAILED}),
    "endless": frozenset({State.CANCELED}),
    "poison": frozenset({State.FAILED}),
}
"""How a job of each kind of the load may end."""


def judge_end(
    ack: Ack, fields: Mapping[str, str], *, cancel_is_gone: bool = False
) -> Iterator[Violation]:
    """Whether a job ended as one of its kind does. Whoever lost three runners is taken for poison: a storm
    does that to an innocent job now and then, and the ledger must say so. A job whose cancel the server
    forgot is one that its runner gave up for no reason, as far as the ledger knows: a human must look."""
    state = state_of(fields["state"])
    if ack.kind not in ENDS or state in ENDS[ack.kind] or state not in RESTING:
        return
    try:
        events = parse_ledger(fields)
    except Corrupt:  # told by `judge_job`
        return
    outcomes = {event.payload.get("outcome") for event in events}
    if cancel_is_gone and state is State.BLOCKED and "canceled" in outcomes:
        return
    last = next((e.payload for e in events if e.type is EventType.JOB_FAILED), {})
    if state is State.FAILED and last.get("reason") == "poison" and last["crashes"] >= CRASHES_MAX:
        return
    yield Violation(
        "broken", f"job {ack.job_id} ({ack.kind}) ended {state}: {last}", ack.job_id, ack.at_ms
    )


def _adapter(fields: Mapping[str, str]) -> str:
    return str(json.loads(fields["spec"])["adapter"]["name"])


# -- agents


def acts_past_lease(traces: Iterable[Trace], gone: Claims = NONE) -> Iterator[Violation]:
    """Lines of an older claim below a line of a newer claim of the same job.

    Where the server has forgotten one of the two claims, the other's holder could not know of it.
    """
    newest: dict[str, int] = {}
    told: set[tuple[str, int]] = set()
    for trace in traces:
        best = newest.get(trace.job_id, 0)
        pair = {(trace.job_id, trace.fence), (trace.job_id, best)}
        if trace.fence < best and (trace.job_id, trace.fence) not in told and not pair & gone:
            told.add((trace.job_id, trace.fence))
            yield Violation(
                "past_lease",
                f"job {trace.job_id}: {trace.what} of fence {trace.fence} after fence {best} had acted",
                trace.job_id,
            )
        newest[trace.job_id] = max(best, trace.fence)


@dataclass(frozen=True, slots=True)
class Silence:
    """A time in which a runner, or all of them (0), cannot have had a beat acknowledged."""

    runner: int
    why: str
    from_ms: int
    to_ms: int
    """Uptime of the host."""


def acts_without_lease(
    traces: Iterable[Trace], silences: Iterable[Silence], lease_ms: int
) -> Iterator[Violation]:
    """Lines of agents whose runner had been dead, frozen or without a server for longer than its lease. No
    loss of the server excuses that: it needs no ledger to know."""
    by_runner: dict[int, list[Silence]] = defaultdict(list)
    for silence in silences:
        if silence.to_ms - silence.from_ms > lease_ms:
            by_runner[silence.runner].append(silence)
    told: set[tuple[str, int]] = set()
    for trace in traces:
        for silence in (*by_runner[trace.runner], *by_runner[0]):
            late_ms = trace.at_ms - silence.from_ms
            if late_ms <= lease_ms + TICK_MS or trace.at_ms >= silence.to_ms - TICK_MS:
                continue
            if (trace.job_id, trace.fence) not in told:
                told.add((trace.job_id, trace.fence))
                yield Violation(
                    "past_lease",
                    f"job {trace.job_id}: {trace.what} of fence {trace.fence} {late_ms} ms after "
                    f"{silence.why} of runner {trace.runner}",
                    trace.job_id,
                )


def by_job(traces: Iterable[Trace]) -> dict[str, list[Trace]]:
    """Each job's own lines, in order."""
    found: dict[str, list[Trace]] = defaultdict(list)
    for trace in traces:
        found[trace.job_id].append(trace)
    return found
