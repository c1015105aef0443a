"""What else a job is bound to: concurrency key, session, its tenant's running limit; and what operators wish.

`active:<tenant>:<tie>` holds who has a tie, `aside:<tenant>:<tie>` who waits for it, `parked:<tenant>` the
classes in which a tenant at its limit has no turns.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from contracts.limits import BATCH_ITEMS_MAX
from contracts.states import STATE_CODES, TERMINAL
from tests.sim.model import turns
from tests.sim.model.values import Members

if TYPE_CHECKING:
    from tests.sim.model.call import Call, Job

STEPS_MAX = BATCH_ITEMS_MAX
"""Entries of aside lists that one call steps over."""
CALLED_MAX = 100
_HOLDING = frozenset(("y", "r"))
_OVER = frozenset(STATE_CODES[state] for state in TERMINAL)


def words_of(job: Job) -> list[str]:
    """Its ties; words that mean nothing here are left out."""
    words = job.fields.get("ties", "").split()
    return [word for word in words if word == "t" or word[:2] in {"k:", "s:"}]


def key_of(job: Job) -> str:
    """Its concurrency key, or nothing."""
    return next((word[2:] for word in words_of(job) if word.startswith("k:")), "")


def keyed(call: Call, tenant: str, key: str) -> str:
    """The name of the set of jobs with a key that have not ended."""
    return f"{call.shard}keyed:{tenant}:{key}"


def session_of(job: Job) -> str:
    """Its session, or nothing."""
    return next((word[2:] for word in words_of(job) if word.startswith("s:")), "")


def active(call: Call, tenant: str, tie: str) -> Members:
    """Who has the tie."""
    return call.space.members(f"{call.shard}active:{tenant}:{tie}")


def aside(call: Call, tenant: str, tie: str) -> deque[str]:
    """Who waits for it."""
    return call.space.line(f"{call.shard}aside:{tenant}:{tie}")


# -- what operators wish


def wished(call: Call, field: str) -> str | None:
    """A field of `desired`."""
    return call.hash("desired").get(field)


def is_paused(call: Call, *scopes: str) -> bool:
    """Whether dispatch of one of the scopes is paused."""
    return any(wished(call, f"{scope}:dispatch") == "paused" for scope in scopes)


def weight_of(call: Call, tenant: str) -> float:
    """How much a tenant's turn is worth."""
    return max(1.0, float(wished(call, f"tenant:{tenant}:weight") or "1"))


def _limit(call: Call, tenant: str, tie: str) -> int:
    if tie.startswith("s:"):
        return 1
    found = wished(call, f"key:{tenant}:{tie[2:]}:running_max")
    assert call.policy is not None, "who looks at keys was told the policy"
    return call.policy.key_running_max if found is None else int(found)


def tenant_limit(call: Call, tenant: str) -> int:
    """How many jobs of a tenant may be ready or running; 0: any number."""
    found = wished(call, f"tenant:{tenant}:running_max")
    assert call.policy is not None, "who dispatches was told the policy"
    return call.policy.tenant_running_max if found is None else int(found)


def tenant_room(call: Call, tenant: str) -> int | None:
    """How many more may become ready; None when nothing limits it."""
    if is_paused(call, f"tenant:{tenant}"):
        return 0
    most = tenant_limit(call, tenant)
    return max(0, most - len(active(call, tenant, "t"))) if most else None


# -- having a tie


def moved(call: Call, job: Job, origin: str | None, target: str) -> None:
    """What a transition takes and gives back; who was ready or ran and waits again keeps key and session."""
    tenant = job.fields["tenant"]
    for tie in words_of(job):
        if target in _HOLDING:
            if origin not in _HOLDING:
                active(call, tenant, tie)[job.job_id] = None
        elif origin and (target != "q" or tie == "t"):
            had = active(call, tenant, tie).pop(job.job_id, 0) is None
            if had or origin in _HOLDING:
                loosen(call, tenant, tie)
    if target != "q":
        job.drop("aside")
    key = key_of(job) if target in _OVER else ""
    if key:
        call.space.members(keyed(call, tenant, key)).pop(job.job_id, None)
    session = session_of(job) if target in _OVER else ""
    if session:
        live = call.space.zset(f"{call.shard}session:{tenant}:{session}")
        live.remove(job.job_id)
        if not live:
            call.space.zset(f"{call.shard}sessions:{tenant}").remove(session)


def loosen(call: Call, tenant: str, tie: str) -> None:
    """The tie may have room."""
    call.loose[tenant, tie] = None


def let_go(call: Call, job: Job) -> None:
    """Gives back all that a job has."""
    for tie in words_of(job):
        if active(call, job.fields["tenant"], tie).pop(job.job_id, 0) is None:
            loosen(call, job.fields["tenant"], tie)


def stand_aside(call: Call, job: Job, tie: str) -> None:
    """From now on it waits for the tie; who waits for its session has nothing."""
    if tie.startswith("s:"):
        let_go(call, job)
    job.fields["aside"] = tie


def may_have_session(call: Call, job: Job) -> bool:
    """Whether it has its session or nobody else does."""
    session = session_of(job)
    return not session or not active(call, job.fields["tenant"], f"s:{session}").keys() - {
        job.job_id
    }


def session_waits(call: Call, job: Job, *, is_next: bool = False) -> bool:
    """Whether a job that begins to wait stands aside, because another of its session is on its way."""
    session, tenant = session_of(job), job.fields["tenant"]
    if not session:
        return False
    tie = f"s:{session}"
    members = active(call, tenant, tie)
    if job.job_id in members:
        return False
    if not members and (is_next or not aside(call, tenant, tie)):
        members[job.job_id] = None
        return False
    if not members:
        loosen(call, tenant, tie)
    stand_aside(call, job, tie)
    return True


def hold_back(call: Call, job: Job) -> bool:
    """Whether the job at the head of its line stands aside, or does from now on."""
    tenant = job.fields["tenant"]
    if "aside" in job.fields:
        return True
    for tie in words_of(job):
        members = active(call, tenant, tie)
        if tie == "t" or job.job_id in members or len(members) < _limit(call, tenant, tie):
            continue
        stand_aside(call, job, tie)
        aside(call, tenant, tie).append(job.entry)
        return True
    return False


def count_tenant(job: Job) -> None:
    """From now on the job counts against its tenant's limit."""
    words = job.fields.get("ties", "").split()
    if "t" not in words:
        job.fields["ties"] = " ".join([*words, "t"])


# -- handing it on


def pass_on(call: Call) -> None:
    """Who waited for what the call made free is in line before anything is dispatched."""
    loose, call.loose = call.loose, {}
    for tenant, tie in loose:
        if tie == "t":
            _unpark(call, tenant)
        else:
            _call_in(call, tenant, tie)


def _unpark(call: Call, tenant: str) -> None:
    name = f"{call.shard}parked:{tenant}"
    places = sorted(call.space.members(name))
    if places:
        call.space.delete(name)
    for place in places:
        pool, _, class_name = place.partition(":")
        turns.wake_tenant(call, pool, class_name, tenant)
        call.lengthened[pool] = None


def _call_in(call: Call, tenant: str, tie: str) -> None:
    members, waiting = active(call, tenant, tie), aside(call, tenant, tie)
    room = _limit(call, tenant, tie) - len(members)
    found: list[Job] = []
    while len(found) < room and waiting and call.steps < STEPS_MAX:
        call.steps += 1
        job_id, _, ticket = waiting.popleft().rpartition(":")
        job = call.load(job_id)
        if job is not None and (job.state, job.fields.get("aside")) == ("q", tie):
            found += [job] if job.fields.get("ticket") == ticket else []
    if len(found) < room and waiting:
        call.space.zset(f"{call.shard}calling").put(f"{tenant}:{tie}", 0)
    for job in reversed(found):
        members[job.job_id] = None
        job.drop("aside")
        call.space.line(f"{call.shard}queue:{job.place}:{tenant}").appendleft(job.entry)
        call.mark("oldest", job.place, tenant)
        call.mark("youngest", job.place, tenant)
        turns.wake_tenant(call, job.fields["pool"], job.fields["class"], tenant)
        call.lengthened[job.fields["pool"]] = None


def go_on_calling(call: Call) -> None:
    """What earlier calls had no steps left for."""
    calling = call.space.zset(f"{call.shard}calling")
    for _, name in list(calling)[:CALLED_MAX]:
        calling.remove(name)
        tenant, _, tie = name.partition(":")
        loosen(call, tenant, tie)


def park(call: Call, tenant: str, place: str) -> None:
    """No turns in that class until one of the tenant's jobs ends."""
    call.space.members(f"{call.shard}parked:{tenant}")[place] = None
