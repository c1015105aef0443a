"""What a sweep mends of ties: who has one, whose session lives. And what it remembers of a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from contracts import limits
from tests.sim.model import ties
from tests.sim.model.call import OVER, QUEUED, READY, RUNNING, Call, Job, quoted


@dataclass
class Page:
    """One page of a sweep."""

    repairs: list[list[str]] = field(default_factory=list)
    gathers: frozenset[str] = frozenset()
    depths: Counter[str] = field(default_factory=Counter)
    gaps: set[str] = field(default_factory=set)
    parked: Counter[str] = field(default_factory=Counter)
    heads: dict[str, tuple[int | None, bool]] = field(default_factory=dict)
    ready: dict[str, set[str]] = field(default_factory=dict)
    looked: int = 0
    waits: list[str] = field(default_factory=list)
    states: Counter[str] = field(default_factory=Counter)


def _may_have(job: Job, tie: str) -> bool:
    """Who stands aside has nothing but, for a key, its session."""
    if job.state != QUEUED:
        return job.state in {READY, RUNNING}
    aside = job.fields.get("aside")
    return tie != "t" and (aside is None or (aside != tie and tie.startswith("s:")))


class TieMender:
    """One page of a sweep."""

    def __init__(self, call: Call, gathers: Sequence[str] = ()) -> None:
        self.call = call
        self.page = Page(gathers=frozenset(gathers))

    def mended(self, job: Job, index: str, was: str) -> None:
        self.page.repairs.append([index, job.job_id])
        if job.seq < limits.EVENTS_PER_JOB_MAX - limits.EVENTS_RESERVED:
            payload = f'{{"index":"{index}","was":{quoted(was)}}}'
            self.call.record(job, "repaired", "reaper", payload)

    def is_known(self, instance: str) -> bool:
        return any(instance in self.call.hash(name) for name in ("beats", "instances"))

    def ties(self, job: Job) -> None:
        call, tenant = self.call, job.fields["tenant"]
        has_all = job.state in {READY, RUNNING}
        if has_all and ties.tenant_limit(call, tenant):
            ties.count_tenant(job)
        for tie in ties.words_of(job):
            members = ties.active(call, tenant, tie)
            stands = job.state == QUEUED and job.fields.get("aside") != tie and tie[0] == "s"
            if job.job_id not in members and (has_all or (stands and not members)):
                members[job.job_id] = None
                self.mended(job, "active", f"without {tie}")

    def session(self, job: Job) -> None:
        session, tenant, key = ties.session_of(job), job.fields["tenant"], ties.key_of(job)
        listed = self.call.space.members(ties.keyed(self.call, tenant, key)) if key else {}
        if key and job.job_id not in listed:
            listed[job.job_id] = None
            self.mended(job, "keyed", f"not among the jobs of {key}")
        if not session:
            return
        live = self.call.space.zset(f"{self.call.shard}session:{tenant}:{session}")
        everybody = self.call.space.zset(f"{self.call.shard}sessions:{tenant}")
        if job.job_id not in live:
            live.put(job.job_id, job.number("arrival"))
            self.mended(job, "session", f"not among the live jobs of {session}")
        if session not in everybody:
            everybody.put(session, list(live)[-1][0])
            self.page.repairs.append(["sessions", session])

    # -- who has a tie, and whose session lives

    def active(self, rest: str) -> None:
        call, (tenant, _, tie) = self.call, rest.partition(":")
        members = ties.active(call, tenant, tie)
        for job_id in list(members):
            job = call.load(job_id)
            has = job is not None and tie in ties.words_of(job)
            if job is None or not has or not _may_have(job, tie):
                del members[job_id]
                ties.loosen(call, tenant, tie)
                self.page.repairs.append(["active", job_id])

    def keyed(self, rest: str) -> None:
        tenant, _, key = rest.partition(":")
        listed = self.call.space.members(ties.keyed(self.call, tenant, key))
        for job_id in list(listed):
            job = self.call.load(job_id)
            if job is None or job.state in OVER or ties.key_of(job) != key:
                del listed[job_id]
                self.page.repairs.append(["keyed", job_id])

    def live(self, rest: str) -> None:
        live = self.call.space.zset(f"{self.call.shard}session:{rest}")
        for _, job_id in list(live):
            job = self.call.load(job_id)
            if job is None or job.state in OVER:
                live.remove(job_id)
                self.page.repairs.append(["session", job_id])

    def sessions(self, tenant: str) -> None:
        everybody = self.call.space.zset(f"{self.call.shard}sessions:{tenant}")
        for _, session in list(everybody)[: limits.BATCH_ITEMS_MAX]:
            if not self.call.space.zset(f"{self.call.shard}session:{tenant}:{session}"):
                everybody.remove(session)
                self.page.repairs.append(["sessions", session])

    def aside(self, rest: str) -> None:
        self.page.waits.append(rest.replace(":", "~", 1))
