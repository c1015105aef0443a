"""Claims given in one call: their numbers, what they change in the job, and the offers that a runner gets."""

from __future__ import annotations

from contracts import limits
from contracts.states import Event
from tests.sim.model.call import READY, Call, Job, Reply


def offer_of(job: Job) -> Reply:
    """A job under its claim, as its runner is told of it."""
    fields = job.fields
    texts = [fields.get(name, "") for name in ("progress", "answer", "wish")]
    attempt, outs = job.number("attempt"), job.number("outs")
    offer = [job.job_id, fields["claim"], attempt, fields["spec"], *texts, outs, fields["epoch"]]
    is_known = {"claimed_at", "queued_at"} <= fields.keys()
    waited = max(0, job.number("claimed_at") - job.number("queued_at")) if is_known else 0
    return [*offer, waited, fields["class"]]


HANDED = "job claim attempt spec progress answer wish outs epoch waited class".split()
"""The fields of an inbox entry that hands a job over: an offer, in its order."""


def begin_handing(random: str, call: Call, pool: str) -> Grants | None:
    """Who is handed the next job of the pool."""
    known = call.space.zset(f"{call.shard}resting:{pool}")
    names = known.above(call.now - limits.REST_MS_MAX, limits.RESTING_LOOKS)
    runner = next((name for name in names if call.room(pool, name)), None)
    return None if runner is None else Grants(call, runner, 1, random)


class Grants:
    """What one runner claims in one call, at most `most` jobs."""

    def __init__(self, call: Call, runner: str, most: int, random: str) -> None:
        self._call = call
        self._runner = runner
        self._most = most
        self._random = random
        self._number = 0
        self.offers: list[Reply] = []
        self.straight = 0
        """How many came straight from the lines."""

    @property
    def room(self) -> int:
        """How many more it would take."""
        return self._most - len(self.offers)

    def obey_drain(self, pool: str) -> None:
        """A drained runner claims nothing."""
        if self._call.drains(pool, self._runner):
            self._most = 0

    def obey_slots(self, pool: str) -> None:
        """Nor one more than it has room for by the books of the server."""
        room = self._call.room(pool, self._runner)
        self._most = self._most if room is None else min(self._most, room)

    def hand_over(self, pool: str) -> None:
        """Tells the runner, which rested, of the job that was claimed for it."""
        if not self.offers:
            return
        call, runner, (offer,) = self._call, self._runner, self.offers
        words = {"what": "offer"} | dict(zip(HANDED, map(str, offer), strict=True))
        entry_id = call.append(f"inbox:{runner}", limits.INBOX_ENTRIES_MAX, **words)
        told = f"{offer[8]} {entry_id} {offer[0]} {offer[1]}"
        call.hash(f"lastcall:{runner}")["handed"] = told
        call.space.zset(f"{call.shard}resting:{pool}").remove(runner)

    def reserve(self, count: int) -> None:
        """Numbers for the next claims; what is not used is never given again."""
        if count:
            self._number = self._call.count("claims", count) - count

    def claim(self, job: Job) -> None:
        """The job goes to the runner under the next number."""
        call, runner = self._call, self._runner
        self._number += 1
        incarnation = int(call.meta["incarnation"])
        claim = f"{incarnation}.{self._number}.{self._random}"
        if "attempt" in job.fields:
            job.fields["notes"] = "0"
        job.fields |= {
            "attempt": str(job.number("attempt") + 1),
            "epoch": str((incarnation << limits.FENCE_SHIFT) + self._number),
            "claim": claim,
            "runner": runner,
            "claimed_at": str(call.now),
        }
        call.move(job, Event.CLAIM, "runner", f'{{"runner":"{runner}","claim":"{claim}"}}')
        call.hash(f"held:{runner}")[job.job_id] = claim
        self.offers.append(offer_of(job))

    def claim_ready(self, pool: str) -> int:
        """Takes the oldest entries of the pool, each for exactly one runner; returns how many were stale."""
        ready = self._call.space.stream(f"{self._call.shard}ready:{pool}")
        if not self._most or ready is None or not len(ready):
            return 0
        entries = _taken(self._call, pool, self._runner, self._most)
        jobs: dict[str, Job] = {}
        for entry in entries:
            job_id, _, ticket = entry.rpartition(":")
            job = self._call.load(job_id)
            if job is not None and self._call.holds_ticket(job, READY, ticket, pool):
                jobs.setdefault(job_id, job)
        self.reserve(len(jobs))
        for job in jobs.values():
            self.claim(job)
        return len(entries) - len(jobs)


def _taken(call: Call, pool: str, runner: str, most: int) -> list[str]:
    name = f"{call.shard}ready:{pool}"
    call.space.ensure_group(name, "runners")
    stream = call.space.stream(name)
    assert stream is not None, "its group was just made"
    group = stream.groups["runners"]
    group.consumers[runner] = None
    entries = []
    for entry_id in stream.after(group.last, most):
        entries.append((stream.get(entry_id) or {}).get("j", ""))
        group.last = entry_id
        stream.delete(entry_id)
    return entries
