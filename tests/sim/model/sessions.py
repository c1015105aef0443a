"""What a newcomer does to the live jobs of its session: reject, enqueue, interrupt or replace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from contracts.errors import ErrorCode
from contracts.limits import EVENTS_PER_JOB_MAX, EVENTS_RESERVED, SESSION_JOBS_MAX
from contracts.states import Event
from tests.sim.model import ties
from tests.sim.model.steering import pause_one

if TYPE_CHECKING:
    from tests.sim.model.call import Call, Job, Reply


_ROOM_MAX = EVENTS_PER_JOB_MAX - EVENTS_RESERVED


def word_of(text: str, letter: str) -> str:
    """A word of an item's ties, without its letter."""
    found = (word[2:] for word in text.split() if word.startswith(f"{letter}:"))
    return next(found, "")


class Sessions:
    """What earlier items of a call have made of each session."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._live: dict[str, int] = {}
        self._first: dict[str, str] = {}
        self._victims = 0

    def policy(self, text: str) -> str:
        """How an item with these ties meets the others."""
        assert self._call.policy is not None, "who makes jobs was told the policy"
        return word_of(text, "p") or self._call.policy.session_policy

    def _name(self, tenant: str, text: str) -> str:
        session = word_of(text, "s")
        return f"{self._call.shard}session:{tenant}:{session}" if session else ""

    def _count(self, name: str) -> int:
        return self._live.setdefault(name, len(self._call.space.zset(name)))

    def judge(self, tenant: str, text: str) -> Reply:
        """A refusal, or nothing."""
        name = self._name(tenant, text)
        live = self._count(name) if name else 0
        if not live:
            return []
        policy, session = self.policy(text), word_of(text, "s")
        if policy == "reject":
            return self._busy(name, session, policy, f"session {session} has a live job")
        if policy == "replace":
            self._victims += live
            if self._victims > max(SESSION_JOBS_MAX, live):
                return self._busy(name, session, policy, "this call replaces too many jobs already")
        elif live >= SESSION_JOBS_MAX:
            return self._busy(name, session, policy, f"session {session} has {live} live jobs")
        return []

    def _busy(self, name: str, session: str, policy: str, text: str) -> Reply:
        stored = self._call.space.zset(name).first()
        job_id = self._first.get(name) or (stored[1] if stored else None)
        details = {"session": session, "session_policy": policy, "live_jobs": self._live[name]}
        told = orjson.dumps({**details, "job_id": job_id}).decode()
        return ["refused", ErrorCode.SESSION_BUSY.value, text, told]

    def count(self, tenant: str, text: str, job_id: str) -> None:
        """For the items after this one the session is live."""
        name = self._name(tenant, text)
        if name and (self.policy(text) == "replace" or not self._count(name)):
            self._first[name], self._live[name] = job_id, 1
        elif name:
            self._live[name] += 1

    def bind(self, job: Job, text: str, arrival: int, actor: str, *, waits: bool) -> bool:
        """The new job gets its ties, and the others make room; whether it is the next of its session."""
        job.fields["ties"] = " ".join(word for word in text.split() if not word.startswith("p:"))
        tenant, session = job.fields["tenant"], ties.session_of(job)
        if key := ties.key_of(job):
            self._call.space.members(ties.keyed(self._call, tenant, key))[job.job_id] = None
        if not session:
            return False
        live, policy = self._call.space.zset(self._name(tenant, text)), self.policy(text)
        if policy == "interrupt" and not waits:
            self._interrupt(job, f"s:{session}", actor)
        elif policy == "replace":
            self._replace(job, [one for _, one in live], actor)
        live.put(job.job_id, arrival)
        self._call.space.zset(f"{self._call.shard}sessions:{tenant}").put(session, arrival)
        return policy == "interrupt" and not waits

    def _interrupt(self, job: Job, tie: str, actor: str) -> None:
        call, tenant = self._call, job.fields["tenant"]
        members = ties.active(call, tenant, tie)
        for other_id in sorted(members):
            other = call.load(other_id)
            if other is not None and other.state == "q" and other.seq < _ROOM_MAX:
                told = f'{{"by":"job {job.job_id}","session":"{tie[2:]}"}}'
                call.record(other, "set_aside", actor, told)
                other.take_ticket()
                ties.stand_aside(call, other, tie)
                ties.aside(call, tenant, tie).appendleft(other.entry)
            elif other is not None and other.state != "q":
                pause_one(call, other, f'{{"by":"job {job.job_id}"}}', actor)

    def _replace(self, job: Job, live: list[str], actor: str) -> None:
        for other_id in live:
            other = self._call.load(other_id)
            if other is not None and self._call.allows(other, Event.CANCEL):
                payload = f'{{"by":"job {job.job_id}","reason":"replaced"'
                self._call.end_early(other, Event.CANCEL, actor, payload, "canceled")
