"""One function call: the job it works on, the ledger, the lines, and what it says at its end.

`Call` is what a mutant replaces: `ModelServer(…, call=MyCall)` with one method that forgets its duty.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from redis.exceptions import ResponseError

from contracts import limits
from contracts.states import FIRST, STATE_CODES, TERMINAL, TRANSITIONS, Event, State
from tests.sim.model import hooks, ties, turns
from tests.sim.model.keyspace import Keyspace
from tests.sim.model.values import ZSet

Verdict = Literal["ok", "same", "over"]
Reply = list[Any]

_MOVES: Mapping[tuple[str | None, Event], str] = MappingProxyType(
    {(STATE_CODES[state], event): STATE_CODES[to] for (state, event), to in TRANSITIONS.items()}
    | {(None, event): STATE_CODES[to] for event, to in FIRST.items()}
)
SCHEDULED, QUEUED, READY, RUNNING, PAUSED, BLOCKED, CANCELED = (
    STATE_CODES[state]
    for state in (
        State.SCHEDULED,
        State.QUEUED,
        State.READY,
        State.RUNNING,
        State.PAUSED,
        State.BLOCKED,
        State.CANCELED,
    )
)
MARKS: Mapping[str, float] = MappingProxyType({"oldest": -math.inf, "youngest": math.inf})
"""The score of a tenant whose line is to be looked at again."""
RECALLED = "?"
"""Stands before the slots of a runner that has not said what it runs since the server came back."""
OVER = frozenset(STATE_CODES[state] for state in TERMINAL)


def quoted(text: str) -> str:
    """A JSON string."""
    return json.dumps(text, ensure_ascii=False)


def with_member(text: str, member: str) -> str:
    """A JSON object with one more member at its end."""
    return f"{text[:-1]}{'' if text == '{}' else ','}{member}}}"


@dataclass(slots=True)
class Job:
    """A job hash, written where it stands."""

    job_id: str
    fields: dict[str, str]

    @property
    def state(self) -> str:
        """The letter of its state."""
        return self.fields["state"]

    @property
    def seq(self) -> int:
        """The number of its last ledger entry."""
        return int(self.fields["seq"])

    @property
    def entry(self) -> str:
        """Its id and ticket, as they stand in lines."""
        return f"{self.job_id}:{self.fields['ticket']}"

    @property
    def place(self) -> str:
        """Its pool and class."""
        return f"{self.fields['pool']}:{self.fields['class']}"

    def number(self, name: str) -> int:
        """A field that counts; 0 where it is not."""
        return int(self.fields.get(name, "0"))

    def drop(self, *names: str) -> None:
        """Removes fields, where they are."""
        for name in names:
            self.fields.pop(name, None)

    def take_ticket(self) -> None:
        """From now on only the place it gets next is its own."""
        self.fields["ticket"] = self.fields["seq"]


class Call:
    """A call of one function on one shard, at one moment."""

    def __init__(self, space: Keyspace, shard: str, run_id: str) -> None:
        self.space = space
        self._values = space.values
        self.shard = shard
        self.run_id = run_id
        self.now = space.clock()
        self.touched: dict[str, int] = {}
        """Job id -> its last ledger seq, for the feed."""
        self.policy: turns.Policy = turns.NO_POLICY
        """What a submission is judged by."""
        self.dropped = 0
        """Old tickets that were dropped from lines in search of a victim."""
        self.lengthened: dict[str, None] = {}
        """Pools whose line this call made longer: they are dispatched before it ends."""
        self.loose: dict[tuple[str, str], None] = {}
        """Tenants and ties that may have room: who waits is called in before anything is dispatched."""
        self.steps = 0
        self.posts: dict[str, list[str]] = {}
        """Deliveries by webhook `tenant:id`, posted before it ends."""
        self.noticed = False
        self.retired: list[str] = []
        """Jobs that ended in it."""
        self._timer: int | None = None
        self._moved: dict[str, int] = {}

    # -- keys

    def hash(self, name: str) -> dict[str, str]:
        """A hash of the shard."""
        value: Any = self._values.get(self.shard + name)
        return value if type(value) is dict else self.space.hash(self.shard + name)

    @property
    def meta(self) -> dict[str, str]:
        """run_id, incarnation, seq, claims, arrivals, retired."""
        return self.hash("meta")

    def append(self, name: str, most: int | None = None, **fields: str) -> str:
        """An entry for a stream that is trimmed now and then; its id."""
        return self.space.append(self.shard + name, fields, most=most)

    def count(self, name: str, by: int) -> int:
        """A number of meta, after it grew."""
        total = int(self.meta.get(name, "0")) + by
        self.meta[name] = str(total)
        return total

    # -- the job and its ledger

    def load(self, job_id: str) -> Job | None:
        """The job, if there is one."""
        name = f"{self.shard}job:{job_id}"
        fields = self.space.hash(name) if name in self.space.values else None
        return Job(job_id, fields) if fields and "state" in fields else None

    def record(self, job: Job, kind: str, actor: str, payload: str) -> None:
        """One more ledger entry."""
        fields = job.fields
        seq = int(fields.get("seq", "0")) + 1
        fields["seq"] = str(seq)
        fields[str(seq)] = (
            f"{self.now} {kind} {actor} {fields.get('attempt', '0')} {fields.get('epoch', '0')} {payload}"
        )
        self.touched[job.job_id] = seq

    def allows(self, job: Job, event: Event) -> bool:
        """Whether the state table lets it happen."""
        return (job.state, event) in _MOVES

    def move(self, job: Job, event: Event, actor: str, payload: str = "{}") -> None:
        """The transition and its ledger entry; the only place where a state is assigned."""
        origin = job.fields.get("state")
        target = _MOVES.get((origin, event))
        if target is None:
            raise ResponseError(f"ORCH no transition {origin} {event}")
        self.record(job, f"{event}:{origin or '-'}>{target}", actor, payload)
        job.fields["state"] = target
        if "ties" in job.fields:
            ties.moved(self, job, origin, target)

    def judge_claim(self, job: Job | None, claim: str) -> Verdict:
        """Whether a claim may still write."""
        if job is None:
            return "over"
        if job.state == RUNNING and job.fields.get("claim") == claim:
            return "ok"
        return "same" if job.fields.get("past") == claim else "over"

    def holds_ticket(self, job: Job | None, state: str, ticket: str, pool: str = "") -> bool:
        """Whether an entry (of a line of `pool`) is still the job's place; all others are stale."""
        if job is None or job.state != state or job.fields.get("ticket") != ticket:
            return False
        return not pool or job.fields["pool"] == pool

    # -- where a job waits

    def enqueue(self, job: Job, *, at_head: bool = False, is_next: bool = False) -> None:
        """Puts a queued job into its line, or aside while another of its session is on its way."""
        fields = job.fields
        job.take_ticket()
        fields["queued_at"] = str(self.now)
        if "ties" in fields and ties.session_waits(self, job, is_next=is_next):
            waiting = ties.aside(self, fields["tenant"], fields["aside"])
            is_first = at_head or is_next or "attempt" in fields
            (waiting.appendleft if is_first else waiting.append)(job.entry)
            self.deepen(job, 1)
            self.count_waiting(fields["tenant"], 1)
            return
        line = self.space.line(f"{self.shard}queue:{job.place}:{fields['tenant']}")
        (line.appendleft if at_head else line.append)(job.entry)
        turns.wake_tenant(self, fields["pool"], fields["class"], fields["tenant"])
        self.deepen(job, 1)
        self.count_waiting(fields["tenant"], 1)
        self.mark("youngest", job.place, fields["tenant"])
        self.lengthened[fields["pool"]] = None

    def deepen(self, job: Job, by: int) -> None:
        """Counts how many wait in its pool and class."""
        self._bump(f"depth:{job.place}", by)

    def count_waiting(self, tenant: str, by: int) -> None:
        """Counts how many of a tenant's jobs wait, scheduled ones too."""
        self._bump(f"waits:{tenant}", by)

    def _bump(self, name: str, by: int) -> None:
        self._moved[name] = self._moved.get(name, 0) + by

    def counter(self, name: str) -> int:
        """A counter as this call will leave it."""
        return int(self.hash("counters").get(name, "0")) + self._moved.get(name, 0)

    # -- who gives way, in pools that evict

    def _keeps(self, kind: str, place: str) -> bool:
        return self.hash(f"fair:{place.partition(':')[0]}").get("evicts") == kind

    def victims(self, kind: str, place: str) -> ZSet:
        """Tenants of a pool and class by the age of one end of their lines."""
        return self.space.zset(f"{self.shard}{kind}:{place}")

    def mark(self, kind: str, place: str, tenant: str) -> None:
        """That end of the tenant's line may be another now."""
        if self._keeps(kind, place):
            self.victims(kind, place).put(tenant, MARKS[kind])

    def unmark(self, place: str, tenant: str) -> None:
        """The tenant has nothing in that line any more."""
        for kind in MARKS:
            if self._keeps(kind, place):
                self.victims(kind, place).remove(tenant)

    def park(self, job: Job, kind: str, due_at: int) -> None:
        """Sets the timer that the job waits for."""
        job.take_ticket()
        job.fields["due_at"] = str(due_at)
        self.set_timer(f"{kind}:{job.entry}", due_at)
        if kind == "later":
            self.count_waiting(job.fields["tenant"], 1)

    def set_timer(self, member: str, due_at: int) -> None:
        """Adds a timer; should it be the first one due, the scheduler is told at the end."""
        self.space.zset(f"{self.shard}due").put(member, due_at)
        self._timer = due_at if self._timer is None else min(self._timer, due_at)

    def leave_line(self, job: Job) -> None:
        """Before it is moved away: what waits with it is told; entries in lists die of old tickets."""
        due = self.space.zset(f"{self.shard}due")
        if job.state in {QUEUED, SCHEDULED}:
            self.count_waiting(job.fields["tenant"], -1)
        if job.state == QUEUED:
            self.deepen(job, -1)
            tenant = job.fields["tenant"]
            has_turn = tenant in self.space.zset(f"{self.shard}turn:{job.place}")
            for kind in MARKS if has_turn else ():
                self.mark(kind, job.place, tenant)
        elif job.state == SCHEDULED:
            due.remove(f"later:{job.entry}")
        elif job.state == BLOCKED:
            due.remove(f"question:{job.entry}")
        undecided = job.fields.pop("undecided", None)
        if undecided is not None:
            self.space.zset(f"{self.shard}undecided").remove(f"{job.job_id}:{undecided}")

    # -- who runs it

    def tell_runner(self, job: Job, what: str) -> None:
        """A hint for the runner that holds it, if that runner still has an inbox."""
        name = f"inbox:{job.fields['runner']}"
        if self.space.stream(self.shard + name) is not None:
            claim = job.fields["claim"]
            self.append(name, limits.INBOX_ENTRIES_MAX, what=what, job=job.job_id, claim=claim)

    def free_slot(self, runner: str, job_id: str) -> None:
        """The runner no longer holds the job."""
        self.hash(f"held:{runner}").pop(job_id, None)

    def end_claim(self, job: Job) -> None:
        """The claim in force ends, accepted: the same claim again will be answered `same`."""
        self.free_slot(job.fields["runner"], job.job_id)
        job.fields["past"] = job.fields.pop("claim")

    def undecide(self, job: Job, outcome: str) -> None:
        """An outcome that waits for fallback's decision."""
        job.fields["ending"] = outcome
        job.fields["undecided"] = job.fields["seq"]
        member = f"{job.job_id}:{job.seq}"
        self.space.zset(f"{self.shard}undecided").put(member, self.now)
        self.append("outcomes", j=member)

    def end_early(self, job: Job, event: Event, actor: str, payload: str, outcome: str) -> None:
        """Canceled or expired, wherever it stands; a running agent is told.

        The slot stays held until its runner says that the work has stopped.
        """
        if job.state == RUNNING and "claim" in job.fields:
            payload += f',"outcome":"{outcome}"'
            self.tell_runner(job, "cancel")
        self.leave_line(job)
        self.move(job, event, actor, payload + "}")
        job.drop("claim", "question", "question_id", "block_reason")
        job.fields["outcome"] = outcome
        self.finish(job)

    def finish(self, job: Job) -> None:
        """What every terminal transition does beside its own fields."""
        job.fields["finished_at"] = str(self.now)
        job.drop("wish")
        if "deadline" in job.fields:
            self.space.zset(f"{self.shard}due").remove(f"deadline:{job.job_id}:0")
        hour = self.now // limits.HOUR_MS
        self.space.members(f"{self.shard}retire:{hour}")[job.job_id] = None
        self.retired.append(job.job_id)
        hooks.tell(self, job)

    # -- slots

    def drains(self, pool: str, runner: str = "") -> bool:
        """Whether operators drain the pool, or this runner of it."""
        desired = self.hash("desired")
        scopes = ("*", f"pool:{pool}", f"runner:{runner}") if desired else ()
        return any(f"{scope}:drain" in desired for scope in scopes)

    def allowance(self, pool: str) -> tuple[int, int, bool]:
        """Free slots of a pool less what is dispatched and unclaimed, how many runners serve it, and whether
        one of them must first say what it runs."""
        slots = self.hash(f"slots:{pool}")
        told = {name: n for name, n in slots.items() if not n.startswith(RECALLED)}
        if len(told) < len(slots) and self._recalls():
            return 0, len(slots), True
        if self.drains(pool):
            told = {}
        serving = {name: n for name, n in told.items() if not self.drains(pool, name)}
        free = sum(max(0, int(n) - len(self.hash(f"held:{name}"))) for name, n in serving.items())
        return free - self.unclaimed(pool), len(slots), False

    def unclaimed(self, pool: str) -> int:
        """Jobs of the pool that are ready for whoever comes."""
        ready = self.space.stream(f"{self.shard}ready:{pool}")
        return 0 if ready is None else len(ready)

    def room(self, pool: str, runner: str) -> int | None:
        """What one runner has free; None for one that gets nothing, or that the pool does not know."""
        slots = self.hash(f"slots:{pool}").get(runner)
        if slots is None or slots.startswith(RECALLED) or self.drains(pool, runner):
            return None
        return max(0, int(slots) - len(self.hash(f"held:{runner}")))

    def _recalls(self) -> bool:
        return abs(self.now - int(self.meta.get("recalled_at", "0"))) < limits.RECALL_MS_MAX

    def wake(self, pool: str, tokens: int) -> None:
        """One token wakes one idle runner."""
        for _ in range(tokens):
            self.append(f"wake:{pool}", limits.WAKE_TOKENS_MAX, pool=pool)

    # -- the end

    def done(self, *words: Any) -> Reply:
        """Tells the scheduler and the watchers; the reply: the watermark, then what the verb says."""
        hooks.post_all(self)
        counters = self.hash("counters")
        moved = {name: by for name, by in self._moved.items() if by}
        for name, by in {**moved, "moves": 1}.items() if moved else ():
            counters[name] = str(int(counters.get(name, "0")) + by)
            if name.startswith("waits:") and counters[name] == "0":
                del counters[name]
        first = self.space.zset(f"{self.shard}due").first()
        if self._timer is not None and first is not None and self._timer <= first[0]:
            fields = {"at": str(self._timer)}
            self.space.append(f"{self.shard}alarm", fields, most=16, exactly=True)
        for tenant, tie in self.loose:
            self.space.zset(f"{self.shard}calling").put(f"{tenant}:{tie}", 0)
        if self.touched:
            said = [f"{job_id}:{seq}" for job_id, seq in self.touched.items()]
            self.append("feed", limits.FEED_ENTRIES_MAX, j=",".join(said))
        seq = self.count("seq", 1)
        return ["ok", int(self.meta.get("incarnation", "0")), seq, *words]
