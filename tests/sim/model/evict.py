"""Who gives way to a newcomer where a bound is reached, and the end of that job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from contracts.limits import BATCH_ITEMS_MAX, EVICTION_LOOKS_MAX
from contracts.states import Event
from tests.sim.model.call import MARKS, QUEUED, Call, Job
from tests.sim.model.values import ZSet

Scope = Literal["key", "tenant", "queue", "pool"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One policy that displaces."""

    name: str
    """The index that it needs."""
    end: int
    """Which end of a line: 0 the head, -1 the tail."""
    reach: int
    """0: the newcomer's own class and lower ones give way; 1: only lower ones."""


KINDS: Mapping[str, Kind] = MappingProxyType(
    {"drop-lru": Kind("oldest", 0, 0), "shed-low-priority": Kind("youngest", -1, 1)}
)


def _age(job: Job) -> float:
    return float(
        (int(job.fields["queued_at"]) - 1_600_000_000_000) * 4_096 + job.number("arrival") % 4_096
    )


def _end_of_line(call: Call, place: str, tenant: str, kind: Kind) -> Job | Literal[False] | None:
    """The job at that end; None for an empty line, False when too many old tickets stand there."""
    line = call.space.line(f"{call.shard}queue:{place}:{tenant}")
    while call.dropped < BATCH_ITEMS_MAX:
        if not line:
            return None
        job_id, _, ticket = line[kind.end].rpartition(":")
        job = call.load(job_id)
        if (
            job is not None
            and call.holds_ticket(job, QUEUED, ticket, place.partition(":")[0])
            and (job.place, job.fields["tenant"]) == (place, tenant)
        ):
            return job
        (line.pop if kind.end else line.popleft)()
        call.dropped += 1
    return False


def _leave_turn(call: Call, place: str, tenant: str) -> None:
    waiting = call.space.zset(f"{call.shard}turn:{place}")
    tag = waiting.score(tenant)
    call.unmark(place, tenant)
    if tag is not None:
        waiting.remove(tenant)
        call.space.zset(f"{call.shard}rested:{place}").put(tenant, tag)


def rest(call: Call, pool: str) -> None:
    """The pool evicts no more: its index goes."""
    for class_name, _ in call.policy.classes:
        for kind in MARKS:
            call.space.delete(f"{call.shard}{kind}:{pool}:{class_name}")
    call.hash(f"fair:{pool}").pop("evicts", None)


def _index(call: Call, place: str, kind: Kind) -> ZSet:
    pool = place.partition(":")[0]
    if call.hash(f"fair:{pool}").get("evicts") != kind.name:
        rest(call, pool)
        call.hash(f"fair:{pool}")["evicts"] = kind.name
    waiting = call.space.zset(f"{call.shard}turn:{place}")
    if len(call.victims(kind.name, place)) != len(waiting):
        call.space.delete(f"{call.shard}{kind.name}:{place}")
        for _, tenant in waiting:
            call.victims(kind.name, place).put(tenant, MARKS[kind.name])
    return call.victims(kind.name, place)


def _of_class(call: Call, place: str, kind: Kind) -> Job | None:
    index = _index(call, place, kind)
    best: Job | None = None
    for _ in range(EVICTION_LOOKS_MAX):
        ordered = list(index)
        if not ordered:
            return best
        score, tenant = ordered[kind.end]
        job = _end_of_line(call, place, tenant, kind)
        if job is False:
            return best
        if job is None:
            _leave_turn(call, place, tenant)
            continue
        age = _age(job)
        if score == age:
            return job
        index.put(tenant, age)
        sign = -1 if kind.end else 1
        if best is None or sign * age < sign * _age(best):
            best = job
    return best


def _victim(
    call: Call, pool: str, class_name: str, tenant: str, kind: Kind, scope: Scope
) -> Job | None:
    names = [name for name, _ in call.policy.classes]
    rank = names.index(class_name) if class_name in names else len(names)
    for name in reversed(names[rank + kind.reach :]):
        place = f"{pool}:{name}"
        job: Job | Literal[False] | None = None
        if scope == "tenant":
            job = _end_of_line(call, place, tenant, kind)
        elif (scope == "pool" or name == class_name) and call.counter(f"depth:{place}") > 0:
            job = _of_class(call, place, kind)
        if job:
            return job
    return None


def victims(
    call: Call, place: tuple[str, str, str], reached: Sequence[Scope], policy: str
) -> list[Job] | None:
    """One for each bound that is reached, unless one gives way at several; None when it cannot be."""
    kind = KINDS.get(policy)
    pool, class_name, tenant = place
    if kind is None or "key" in reached or (kind.reach and "queue" in reached):
        return None
    found: list[Job] = []
    for scope in reached:
        is_met = scope == "queue" and any(job.fields["class"] == class_name for job in found)
        if is_met or (scope == "pool" and found):
            continue
        job = _victim(call, pool, class_name, tenant, kind, scope)
        if job is None:
            return None
        found.append(job)
    return found


def evict(call: Call, job: Job, newcomer: str, policy: str, actor: str) -> None:
    """Its place is another's: it ends here."""
    line = call.space.line(f"{call.shard}queue:{job.place}:{job.fields['tenant']}")
    (line.pop if KINDS[policy].end else line.popleft)()
    call.leave_line(job)
    payload = f'{{"reason":"evicted","newcomer":"{newcomer}","policy":"{policy}"}}'
    call.move(job, Event.EVICT, actor, payload)
    job.fields["outcome"] = "canceled"
    call.finish(job)
