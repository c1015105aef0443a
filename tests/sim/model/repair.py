"""repair and recount: every index is compared with the job hashes, the truth, and mended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import orjson

from contracts import limits
from contracts.states import Event
from tests.sim.model import hooks, ties
from tests.sim.model.call import (
    BLOCKED,
    OVER,
    QUEUED,
    READY,
    RUNNING,
    SCHEDULED,
    Call,
    Job,
    Reply,
)
from tests.sim.model.instances import MAILBOXES
from tests.sim.model.schedules import mend, mend_list
from tests.sim.model.tie_repair import TieMender
from tests.sim.model.turns import dispatch_lengthened, policy_of, wake_tenant
from tests.sim.model.values import Stream

FAILED = "F"


def _list_of(call: Call, job: Job) -> tuple[str, str]:
    """The list that a queued job stands in, and its name in a sweep."""
    tenant, tie = job.fields["tenant"], job.fields.get("aside")
    if tie is not None:
        return f"{call.shard}aside:{tenant}:{tie}", f"{tenant}~{tie}"
    return f"{call.shard}queue:{job.place}:{tenant}", f"{job.place}:{tenant}"


class _Mender(TieMender):
    """One page of a sweep."""

    # -- a job's places

    def job(self, job_id: str) -> None:
        job = self.call.load(job_id)
        if job is None:
            return
        self._names(job)
        self._place(job)
        self.ties(job)
        if job.state not in OVER:
            self.session(job)
        if job.state in OVER:
            self._over(job)
        elif "deadline" in job.fields:
            self._timer(job, "deadline", "0", job.fields["deadline"])
        self.page.states[job.state] += 1

    def _names(self, job: Job) -> None:
        call, tenant = self.call, job.fields["tenant"]
        listed = call.space.zset(f"{call.shard}jobs:{tenant}")
        if job.job_id not in listed:
            listed.put(job.job_id, job.number("arrival"))
            call.space.members(f"{call.shard}tenants")[tenant] = None
            self.mended(job, "jobs", "not listed")
        key = f"{call.shard}idem:{tenant}:{job.fields.get('idem')}"
        if "idem" in job.fields and call.space.get(key) is None:
            call.space.set_text(key, job.job_id)
            self.mended(job, "idem", "its key was free")

    def _place(self, job: Job) -> None:
        fields = job.fields
        if "claim" in fields and (job.state != RUNNING or "undecided" in fields):
            self.call.free_slot(fields["runner"], job.job_id)
            self.mended(job, "claim", "left behind")
            job.drop("claim")
        if job.state == QUEUED:
            self._queued(job)
        elif job.state == READY:
            self._ready(job)
        elif job.state == SCHEDULED:
            self.page.parked[fields["tenant"]] += 1
            self._timer(job, "later", fields["ticket"], fields.get("due_at"))
        elif job.state == BLOCKED and "question_id" in fields:
            self._timer(job, "question", fields["ticket"], fields.get("due_at"))
        elif job.state == RUNNING and "claim" in fields:
            self._claimed(job)
        elif job.state == RUNNING and "undecided" in fields:
            self._undecided(job)

    def _queued(self, job: Job) -> None:
        call, page = self.call, self.page
        line, name = _list_of(call, job)
        page.depths[f"{job.place}:{name}" if "aside" in job.fields else name] += 1
        if "aside" not in job.fields:
            self._turn(job)
        if name in page.gathers:
            call.space.zset(f"{call.shard}astray").put(job.entry, job.number("queued_at"))
        elif self._is_missing(job, line, known=name in page.gaps):
            page.gaps.add(name)

    def _turn(self, job: Job) -> None:
        call, fields = self.call, job.fields
        pool, tenant = fields["pool"], fields["tenant"]
        if tenant in call.space.zset(f"{call.shard}turn:{job.place}"):
            return
        parked = call.space.members(f"{call.shard}parked:{tenant}")
        if job.place in parked:
            if ties.tenant_room(call, tenant) == 0:
                return
            del parked[job.place]
        wake_tenant(call, pool, fields["class"], tenant)
        call.lengthened[pool] = None
        self.page.repairs.append(["turn", job.job_id])

    def _is_missing(self, job: Job, name: str, *, known: bool) -> bool:
        page, line = self.page, self.call.space.line(name)
        if name not in page.heads:
            page.heads[name] = self._live_head(name)
        head, is_empty = page.heads[name]
        if is_empty or known:
            return True
        if (
            head is None
            or head <= job.number("queued_at")
            or page.looked >= limits.REPAIR_LOOKS_MAX
        ):
            return False
        page.looked += len(line)
        return job.entry not in line

    def _live_head(self, name: str) -> tuple[int | None, bool]:
        line = self.call.space.line(name)
        for _ in range(limits.BATCH_ITEMS_MAX):
            if not line:
                return None, True
            job_id, _, ticket = line[0].rpartition(":")
            job = self.call.load(job_id)
            stands = job is not None and self.call.holds_ticket(job, QUEUED, ticket)
            if job is not None and stands and _list_of(self.call, job)[0] == name:
                return job.number("queued_at"), False
            line.popleft()
        return None, False

    def realign(self, entry: str) -> None:
        call, (job_id, _, ticket) = self.call, entry.rpartition(":")
        job = call.load(job_id)
        if job is None or not call.holds_ticket(job, QUEUED, ticket):
            return
        line = call.space.line(_list_of(call, job)[0])
        stood = False
        if self.page.looked + len(line) <= limits.REPAIR_LOOKS_MAX:
            self.page.looked += len(line)
            stood = entry in line
        if stood:
            line.remove(entry)
        line.appendleft(entry)
        tenant, tie = job.fields["tenant"], job.fields.get("aside")
        if tie is not None:
            ties.loosen(call, tenant, tie)
        else:
            wake_tenant(call, job.fields["pool"], job.fields["class"], tenant)
            call.lengthened[job.fields["pool"]] = None
        if not stood:
            self.mended(job, "aside" if tie else "queue", "not in its line")

    def _ready(self, job: Job) -> None:
        call, pool = self.call, job.fields["pool"]
        name = f"{call.shard}ready:{pool}"
        if pool not in self.page.ready:
            stream = call.space.stream(name) or Stream()
            entries = (stream.get(one) or {} for one in stream.after((-1, 0), None))
            self.page.ready[pool] = {entry.get("j", "") for entry in entries}
        if job.entry not in self.page.ready[pool]:
            call.append(f"ready:{pool}", j=job.entry)
            call.wake(pool, 1)
            self.mended(job, "ready", "not in ready")

    def _timer(self, job: Job, kind: str, ticket: str, at: str | None) -> None:
        member = f"{kind}:{job.job_id}:{ticket}"
        if at is None or member in self.call.space.zset(f"{self.call.shard}due"):
            return
        self.call.set_timer(member, int(at))
        self.mended(job, "due", f"no timer {kind}")

    def _claimed(self, job: Job) -> None:
        runner, claim = job.fields["runner"], job.fields["claim"]
        held = self.call.hash(f"held:{runner}")
        if held.get(job.job_id) != claim:
            held[job.job_id] = claim
            self.mended(job, "held", f"not held by {runner}")
        if not self.is_known(runner):
            about = f'{{"role":"runner","pool":"{job.fields["pool"]}","slots":0}}'
            self.call.hash("instances")[runner] = about
            self.mended(job, "instances", f"unknown runner {runner}")

    def _undecided(self, job: Job) -> None:
        member = f"{job.job_id}:{job.fields['undecided']}"
        waiting = self.call.space.zset(f"{self.call.shard}undecided")
        if member not in waiting:
            waiting.put(member, self.call.now)
            self.mended(job, "undecided", "not in undecided")

    def _over(self, job: Job) -> None:
        call = self.call
        finished_at = int(job.fields.get("finished_at", call.now))
        hour = max(finished_at // limits.HOUR_MS, int(call.meta.get("retired", "0")))
        bucket = call.space.members(f"{call.shard}retire:{hour}")
        if job.job_id not in bucket:
            bucket[job.job_id] = None
            self.mended(job, "retire", "never to be retired")
        dead = call.space.zset(f"{call.shard}dead:{job.fields['tenant']}")
        if job.state == FAILED and "replayed_as" not in job.fields and job.job_id not in dead:
            dead.put(job.job_id, call.count("deaths", 1))
            self.mended(job, "dead", "not among the dead letters")

    # -- what instances own

    def held(self, instance: str) -> None:
        call, known = self.call, self.is_known(instance)
        held = call.hash(f"held:{instance}")
        for job_id, claim in list(held.items()):
            job = call.load(job_id)
            in_force = job is not None and call.judge_claim(job, claim) == "ok"
            may_run = job is not None and known and not call.allows(job, Event.CANCEL)
            if not in_force and not may_run:
                del held[job_id]
                self.page.repairs.append(["held", instance])

    def slots(self, pool: str) -> None:
        slots, beats = self.call.hash(f"slots:{pool}"), self.call.hash("beats")
        for instance in [one for one in slots if one not in beats]:
            del slots[instance]
            self.page.repairs.append(["slots", instance])

    def _group(self, name: str, group: str, instance: str) -> None:
        stream = self.call.space.stream(self.call.shard + name)
        if stream is None or group not in stream.groups:
            self.call.space.ensure_group(self.call.shard + name, group)
            self.page.repairs.append(["group", instance])

    def instances(self, _rest: str) -> None:
        call = self.call
        for instance, text in call.hash("instances").items():
            about = orjson.loads(text)
            if instance not in call.hash("beats"):
                continue
            if about.get("role") == "runner":
                pool, slots = about["pool"], call.hash(f"slots:{about['pool']}")
                if instance not in slots:
                    slots[instance] = str(int(about["slots"]))
                    self.page.repairs.append(["slots", instance])
                call.space.members(f"{call.shard}pools")[pool] = None
                for name in (f"ready:{pool}", f"wake:{pool}", f"inbox:{instance}"):
                    self._group(name, "runners", instance)
            elif about.get("role") in MAILBOXES:
                self._group(MAILBOXES[about["role"]], about["role"], instance)

    def leftover(self, family: str, rest: str) -> None:
        call, name = self.call, f"{family}:{rest}"
        if family in {"inbox", "lastcall"}:
            is_owned = self.is_known(rest)
        else:
            job_id = rest if family == "out" else call.space.text(call.shard + name) or ""
            is_owned = call.space.get(f"{call.shard}job:{job_id}") is not None
        if not is_owned:
            call.space.delete(call.shard + name)
            self.page.repairs.append(["leftover", name])


def repair(call: Call, argv: Sequence[str]) -> Reply:
    """repair: looks at a page of keys and mends every index that disagrees with the job hashes."""
    cursor, most, policy = argv[0], int(argv[1]), argv[2]
    names = sorted(name for name in call.space.names() if name.startswith(call.shard))
    page = [name for name in names if cursor == "0" or name > cursor][:most]
    call.policy = policy_of(policy)
    mender = _Mender(call, argv[3:])
    families = {
        "job": mender.job,
        "held": mender.held,
        "slots": mender.slots,
        "instances": mender.instances,
        "active": mender.active,
        "keyed": mender.keyed,
        "session": mender.live,
        "sessions": mender.sessions,
        "aside": mender.aside,
        **hooks.menders(call, mender.page.repairs),
    }
    for name in page:
        family, _, rest = name.removeprefix(call.shard).partition(":")
        if family in families:
            families[family](rest)
        elif family == "schedule":
            mend(call, rest, mender.page.repairs)
        elif family == "schedules":
            mend_list(call, rest, mender.page.repairs)
        elif family in {"inbox", "lastcall", "out", "idem"}:
            mender.leftover(family, rest)
    dispatch_lengthened(call, policy, "reaper")
    cursor = page[-1] if len(page) == most else "0"
    found, gaps = mender.page, sorted(mender.page.gaps)
    parked, states = _flat(found.parked), _flat(found.states)
    return call.done(cursor, found.repairs, _flat(found.depths), gaps, parked, found.waits, states)


def _flat(counts: Counter[str]) -> list[str | int]:
    return [word for pair in sorted(counts.items()) for word in pair]


def realign(call: Call, argv: Sequence[str]) -> Reply:
    """realign: puts jobs that a sweep collected back to the heads of their lines, so that the oldest comes
    first."""
    most, policy = int(argv[0]), argv[1]
    astray = call.space.zset(f"{call.shard}astray")
    youngest = [member for _, member in astray][::-1][:most]
    if not youngest and len(argv) == 2:
        return ["none"]
    mender = _Mender(call)
    for name in argv[2:]:
        tenant, _, tie = name.partition("~")
        ties.loosen(call, tenant, tie)
    for entry in youngest:
        astray.remove(entry)
        mender.realign(entry)
    if not len(astray):
        dispatch_lengthened(call, policy, "reaper")
    return call.done(len(astray), mender.page.repairs)


def recount(call: Call, argv: Sequence[str]) -> Reply:
    """recount: sets the counters of waiting jobs to what a whole sweep counted, if no job moved meanwhile."""
    moves, count = argv[:2]
    counters = call.hash("counters")
    if counters.get("moves", "0") != moves:
        return ["moved"]
    words = iter(argv[2 : 2 + 2 * int(count)])
    counted = {name: int(n) for name, n in zip(words, words, strict=True)}
    wrong = [name for name, n in counted.items() if int(counters.get(name, "0")) != n]
    for name in wrong:
        if counted[name]:
            counters[name] = str(counted[name])
        else:
            counters.pop(name, None)
    return call.done(sorted(wrong))
