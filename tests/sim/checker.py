"""Was what the clients saw possible? Per job, the calls must fit one order that a single register allows.

Wing and Gong's search: a call takes effect at one moment between its invocation and its return; one whose
reply was lost, at any moment after its invocation, or never. The register knows which claim is in force,
which was accepted last, and how the job ended.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import orjson

from contracts.events import payload_faults
from contracts.limits import CRASHES_MAX
from contracts.outcomes import Outcome
from contracts.states import State
from orch.core.ledger import TAKEN, parse_ledger
from tests.sim.history import Call, History

NODES_MAX = 100_000


class Register(NamedTuple):
    """One job, as far as claims go."""

    claim: str = ""
    past: str = ""
    over: str = ""


@dataclass(frozen=True, slots=True)
class Op:
    """What one call meant for one job."""

    kind: str
    """grant, end, settle, bury, cancel, expire or fail."""
    invoked: float
    returned: float
    claim: str = ""
    verdict: str = ""
    """What the caller was told; empty when it is not known."""

    @property
    def optional(self) -> bool:
        """It may never have happened."""
        return self.returned == math.inf


class GaveUp(Exception):
    """The search is too long to finish."""


def _after(op: Op, state: Register, holder: Mapping[str, str]) -> Register | None:  # noqa: C901, PLR0911, PLR0912 - a table, read as one
    """The register after the call; None when the verdict does not fit."""
    claim, past, over = state
    in_force = claim == op.claim and not over
    match op.kind:
        case "grant":
            fits = not over and claim in ("", op.claim) and past != op.claim
            return Register(op.claim, past, over) if fits else None
        case "end" | "settle":
            if op.verdict == "same":
                return state if past == op.claim else None
            if op.verdict == "over":
                return None if in_force or past == op.claim else state
            if not in_force:
                return None if op.verdict == "ok" else state
            return Register("", op.claim, "completed" if op.kind == "settle" else over)
        case "bury":
            held = claim and holder.get(claim) == op.claim
            return Register("", past, over) if held else state
        case "cancel":
            if op.verdict == "same":
                return state if over == "canceled" else None
            if op.verdict == "refused":
                return state if over and over != "canceled" else None
            if over:
                return None if op.verdict == "ok" else state
            return Register("", past, "canceled")
        case "expire":
            return state if over else Register("", past, "expired")
        case "fail":
            if over or claim:
                return None if op.verdict == "ok" else state
            return Register("", past, "failed")
        case unknown:
            raise AssertionError(unknown)


def possible(ops: Sequence[Op], holder: Mapping[str, str]) -> bool:
    """Whether some order explains all verdicts.

    Raises:
        GaveUp: after NODES_MAX steps.
    """
    ops = sorted(ops, key=lambda op: op.invoked)
    every = frozenset(range(len(ops)))
    seen: set[tuple[frozenset[int], Register]] = set()
    stack = [(every, Register())]
    while stack:
        left, state = stack.pop()
        if (left, state) in seen:
            continue
        seen.add((left, state))
        if len(seen) > NODES_MAX:
            raise GaveUp
        if all(ops[n].optional for n in left):
            return True
        first_return = min(ops[n].returned for n in left)
        for n in left:
            if ops[n].invoked <= first_return:
                after = _after(ops[n], state, holder)
                # A call of unknown fate that would change nothing here may as well come later or never.
                if after is not None and not (ops[n].optional and after == state):
                    stack.append((left - {n}, after))
    return False


def ops_by_job(
    history: History, deadlines: Iterable[str], replaced: Iterable[str] = ()
) -> dict[str, list[Op]]:
    """Every call, taken apart into what it meant for each job; a deadline, and a newcomer that replaces it,
    end a job at any time."""
    found: dict[str, list[Op]] = defaultdict(list)
    jobs_of: dict[str, set[str]] = defaultdict(set)
    for call in history.calls:
        for job_id, op in _ops_of(call):
            found[job_id].append(op)
        for job_id, _ in call.offers() if call.verb == "cycle" else ():
            jobs_of[call.args[0]].add(job_id)
    for claim, (job_id, runner, known_at) in history.handed.items():
        # When is not known: in some submission before its runner could hear of it.
        found[job_id].append(Op("grant", 0.0, known_at, claim))
        jobs_of[runner].add(job_id)
    for call in history.calls:
        known = call.answered and call.reply[0] != "ok"
        if call.verb == "bury" and not known:
            for job_id in sorted(jobs_of[call.args[0]]):
                found[job_id].append(_op(call, "bury", claim=call.args[0]))
    for job_id in deadlines:
        found[job_id].append(Op("expire", 0.0, math.inf))
    for job_id in replaced:
        found[job_id].append(Op("cancel", 0.0, math.inf))
    return found


def _op(call: Call, kind: str, *, claim: str = "", verdict: str = "") -> Op:
    returned = call.returned_at if call.answered and call.returned_at is not None else math.inf
    return Op(kind, call.invoked_at, returned, claim, verdict)


def _ops_of(call: Call) -> Iterable[tuple[str, Op]]:
    match call.verb:
        case "cycle":
            # Not carried out, as far as the sender knows. A second copy of the message may be, later.
            refused = call.answered and call.reply[0] != "ok"
            for verb, job_id, claim, verdict in call.endings():
                kind = "settle" if verb == "settle" else "end"
                op = _op(call, kind, claim=claim, verdict=verdict)
                yield job_id, replace(op, returned=math.inf) if refused else op
            for job_id, claim in call.offers():
                yield job_id, _op(call, "grant", claim=claim)
        case "cancel" if not call.answered or call.reply[0] != "unknown":
            yield call.args[0], _op(call, "cancel", verdict=call.reply[0] if call.answered else "")
        case "decide":
            for n in range(int(call.args[1])):
                job_id, _, _, verb = call.args[2 + n * 8 :][:4]
                verdict = call.reply[3][n] if call.answered else ""
                if verb == "fail" and verdict != "stale":
                    yield job_id, _op(call, "fail", verdict=verdict)
        case _:
            return


def _is_replaced(fields: Mapping[str, str]) -> bool:
    return any(event.payload.get("reason") == "replaced" for event in parse_ledger(fields))


def check_claims(history: History, jobs: Mapping[str, Mapping[str, str]]) -> None:
    """Every job's calls must be explainable."""
    deadlines = [job_id for job_id, fields in jobs.items() if "deadline" in fields]
    replaced = [job_id for job_id, fields in jobs.items() if _is_replaced(fields)]
    for job_id, ops in ops_by_job(history, deadlines, replaced).items():
        try:
            if not possible(ops, history.holder):
                story = "; ".join(f"{op.kind} {op.claim} {op.verdict}" for op in ops)
                history.violation("double", f"no order explains the calls on {job_id}: {story}")
        except GaveUp:
            history.sometimes["checker gave up"] += 1


def check_submissions(
    history: History,
    marks: Mapping[str, list[str]],
    lost: Sequence[tuple[float, float]],
    answers: Mapping[str, str],
) -> None:
    """Every acknowledged submission is exactly one job; `lost` are times whose writes a rollback undid.

    A raw request that stood in its stream became a job too, or its answer, by mark, is a refusal.
    """
    for mark, submission in history.submissions.items():
        found = marks.get(mark, [])
        if len(found) > 1:
            history.violation("double", f"{mark} became {len(found)} jobs: {found}")
        times = [at for at in (submission.acked_at, submission.queued_at) if at is not None]
        undone = any(begin <= at <= end for begin, end in lost for at in times)
        refused = submission.refused or '"code":' in answers.get(mark, "")
        if submission.queued_at is not None and not (found or undone or refused):
            history.violation("lost", f"the raw request {mark} became nothing")
        if submission.acked_job is None or undone:
            continue
        if submission.acked_job not in found:
            history.violation("lost", f"{mark} was accepted as {submission.acked_job}: not there")


_JUDGED = ("after", "last", "failures", "crashes")
"""What a decision says of the outcome that it was about."""


def check_fields(history: History, job_id: str, fields: Mapping[str, str]) -> None:
    """Each entry of a ledger has the fields that the catalogue of events promises, and no others."""
    for event in parse_ledger(fields):
        for fault in payload_faults(event.type, event.payload):
            history.violation("broken", f"{job_id}: entry {event.seq}: {fault}")


def check_job(history: History, job_id: str, fields: Mapping[str, str]) -> None:
    """One ledger: claims grow, attempts are bounded, each decision is about the outcome before it, the
    result is that of the claim in force."""
    claim, last_epoch, lost, failed, outcome = "", 0, 0, 0, ""
    for event in parse_ledger(fields):
        cause = event.payload.get("cause")
        outcome = event.payload.get("outcome", outcome)
        if cause == "block" and outcome != Outcome.HUMAN and not history.faults["rollback"]:
            history.violation("broken", f"{job_id} waits for a human because it was {outcome}")
        if cause in TAKEN:
            claim = event.payload["claim"]
            if event.epoch <= last_epoch:
                history.violation("double", f"{job_id}: claim {claim} is not above the one before")
            last_epoch = event.epoch
        lost += event.payload.get("outcome") == Outcome.LOST and cause in {"bury", "release"}
        failed += cause == "release" and event.payload["outcome"] != Outcome.LOST
        if cause in {"retry", "backoff", "fail"}:
            told = tuple(event.payload.get(name) for name in _JUDGED)
            if told not in {(outcome, None, failed, lost), (None, outcome, failed, lost)}:
                history.violation("broken", f"{job_id} was {outcome}, decided was about {told}")
    if lost > CRASHES_MAX:
        history.violation("double", f"{job_id} lost {lost} runners and was tried again")
    retries = orjson.loads(fields["spec"]).get("retry") or {}
    attempts_max = retries.get("attempts_max", history.attempts_max)
    if failed > attempts_max:
        history.violation("double", f"{job_id} failed {failed} times of at most {attempts_max}")
    if fields["state"] == "C" and orjson.loads(fields["result"])["claim"] != claim:
        history.violation("double", f"{job_id}: its result is not of {claim}, the claim in force")


def check_accepted(history: History, jobs: Mapping[str, Mapping[str, str]]) -> None:
    """Who was told that its result counts finds it recorded."""
    for call in history.calls:
        if call.verb != "cycle" or not call.answered or call.reply[0] != "ok":
            continue
        for verb, job_id, claim, verdict in call.endings():
            if verb == "settle" and verdict in {"ok", "same"}:
                fields = jobs.get(job_id, {})
                if orjson.loads(fields.get("result") or "{}").get("claim") != claim:
                    history.violation("lost", f"{job_id}: the accepted result of {claim} is gone")


class Stay(NamedTuple):
    """A job's time in its line."""

    job_id: str
    cause: str
    entered_ms: int
    left_ms: float
    dispatched: bool


BEHIND_ALL = {"admit", "due", "resume"}
"""Causes that put a job at the end of its line; the others put it at the head."""


def _stays(job_id: str, fields: Mapping[str, str]) -> Iterable[Stay]:
    entered: tuple[str, int] | None = None
    for event in parse_ledger(fields):
        moved = event.payload if "cause" in event.payload else {"from": "", "to": ""}
        if entered is not None and moved["from"] == State.QUEUED:
            yield Stay(job_id, *entered, event.at_ms, moved["cause"] == "dispatch")
            entered = None
        if moved["to"] == State.QUEUED:
            entered = moved["cause"], event.at_ms
    if entered is not None:
        yield Stay(job_id, *entered, math.inf, dispatched=False)


def check_turns(history: History, jobs: Mapping[str, Mapping[str, str]]) -> None:
    """First in, first out: nobody is dispatched while one that stood in the line before him still waits.

    Times are the server's: where its clock jumped or its data went back they prove nothing.
    """
    lines: dict[str, list[Stay]] = defaultdict(list)
    for job_id, fields in jobs.items():
        if _ties_of(fields):
            continue  # whoever stands aside is overtaken
        line = f"{fields['pool']}:{fields['class']}:{fields['tenant']}"
        lines[line] += _stays(job_id, fields)
    for stays in lines.values():
        for stay in stays:
            if not stay.dispatched or stay.cause not in BEHIND_ALL:
                continue
            passed = [
                a for a in stays if a.entered_ms < stay.entered_ms and a.left_ms > stay.left_ms
            ]
            if passed:
                history.violation("broken", f"{stay} went before {passed[0]}, out of turn")


def _ties_of(fields: Mapping[str, str]) -> list[str]:
    return [word for word in fields.get("ties", "").split() if word[:2] in {"k:", "s:"}]


def _active(fields: Mapping[str, str]) -> Iterable[tuple[int, float]]:
    """From when to when the job was ready or running."""
    since: int | None = None
    for event in parse_ledger(fields):
        if "cause" not in event.payload:
            continue
        is_active = event.payload["to"] in {State.READY, State.RUNNING}
        if is_active and since is None:
            since = event.at_ms
        elif not is_active and since is not None:
            yield since, event.at_ms
            since = None
    if since is not None:
        yield since, math.inf


def check_ties(history: History, jobs: Mapping[str, Mapping[str, str]]) -> None:
    """Jobs of one key and of one session are ready or run one after the other; a moment shared is none."""
    taken: dict[str, list[tuple[int, float, str]]] = defaultdict(list)
    for job_id, fields in jobs.items():
        for tie in _ties_of(fields):
            name = f"{fields['tenant']} {tie}"
            taken[name] += [(*span, job_id) for span in _active(fields) if span[0] < span[1]]
    for tie, spans in taken.items():
        spans.sort()
        for (_, until, first), (since, _, second) in pairwise(spans):
            history.sometimes["one after another"] += 1
            if since < until:
                history.violation("double", f"{first} and {second} had {tie} at once, at {since}")


class Terminals:
    """An ended job never changes again."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._seen: dict[str, tuple[str | None, ...]] = {}

    def look(self, jobs: Mapping[str, Mapping[str, str]]) -> None:
        """Compares with what was seen before."""
        for job_id, fields in jobs.items():
            if fields["state"] not in "CFXE":
                continue
            record = tuple(
                fields.get(name) for name in ("state", "outcome", "result", "finished_at")
            )
            if self._seen.setdefault(job_id, record) != record:
                self._history.violation(
                    "double", f"{job_id} ended as {self._seen[job_id]}, now {record}"
                )
        gone = [job_id for job_id in self._seen if job_id not in jobs]
        for job_id in gone:
            self._history.violation("lost", f"{job_id} ended and is gone")
            del self._seen[job_id]

    def forget(self) -> None:
        """A rollback undid some endings."""
        self._seen.clear()
