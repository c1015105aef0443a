"""Whose turn it is: classes by weight and age, tenants by start-time fair queueing (SCH).

State of a pool: hash `fair` with the pool's clock `v`, a class's finish tag `c:` and clock `v:`; sorted set
`turn` of the tenants that wait, by start tag; sorted set `rested`, what a tenant had used up when it left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from contracts.limits import BATCH_ITEMS_MAX
from contracts.states import Event
from tests.sim.model import ties
from tests.sim.model.pace import measure
from tests.sim.model.values import number_text

if TYPE_CHECKING:
    from tests.sim.model.call import Call, Reply
    from tests.sim.model.grants import Grants

    Hand = Callable[[Call, str], Grants | None]

STALE_MAX = BATCH_ITEMS_MAX
"""Stale entries that one call steps over."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the text of a SchedulingPolicy says."""

    classes: tuple[tuple[str, int], ...]
    strict: bool
    aging_ms: int
    key_running_max: int = 1
    tenant_running_max: int = 0
    session_policy: str = "enqueue"


NO_POLICY = Policy((), strict=False, aging_ms=1)


@cache
def policy_of(text: str) -> Policy:
    """The policy in its argument's form, `fair 60000 interactive:8 batch:1`."""
    scheduling, aging_ms, *words = text.split()
    parts = (word.rpartition(":") for word in words if "=" not in word)
    classes = tuple((name, int(weight)) for name, _, weight in parts)
    said = dict(word.split("=") for word in words if "=" in word)
    return Policy(
        classes,
        scheduling == "strict",
        int(aging_ms),
        int(said.get("key_running_max", "1")),
        int(said.get("tenant_running_max", "0")),
        said.get("session_policy", "enqueue"),
    )


class PoolTurns:
    """The clocks of one pool, and the tenants that wait in each of its classes."""

    def __init__(self, call: Call, pool: str) -> None:
        self._call = call
        self._pool = pool
        self._fair = call.hash(f"fair:{pool}")

    def clock(self, name: str) -> float:
        """`v`, `c:<class>` or `v:<class>`."""
        return float(self._fair.get(name, "0"))

    def set_clock(self, name: str, value: float) -> None:
        """Stores one of them."""
        self._fair[name] = number_text(value)

    def wake(self, class_name: str, tenant: str) -> None:
        """A tenant waits: it starts at the clock, or where its last turns had ended, if later."""
        space, name = self._call.space, f"{self._pool}:{class_name}"
        waiting = space.zset(f"{self._call.shard}turn:{name}")
        if tenant in waiting:
            return
        rested = space.zset(f"{self._call.shard}rested:{name}").score(tenant) or 0
        if not waiting:
            self.set_clock(f"c:{class_name}", max(self.clock(f"c:{class_name}"), self.clock("v")))
        waiting.put(tenant, max(rested, self.clock(f"v:{class_name}")))
        for kind in ("oldest", "youngest"):
            self._call.mark(kind, name, tenant)

    def waiting(self, policy: Policy) -> list[tuple[str, int]]:
        """The classes in which somebody waits, the highest first."""
        space, prefix = self._call.space, f"{self._call.shard}turn:{self._pool}:"
        return [
            one
            for one in policy.classes
            if space.zset(prefix + one[0])
            and not ties.is_paused(self._call, f"queue:{self._pool}:{one[0]}")
        ]

    def next_class(self, waiting: Sequence[tuple[str, int]], policy: Policy) -> tuple[str, int]:
        """The class whose turn it is, among those that wait."""
        if policy.strict:
            return waiting[0]
        return min(
            waiting, key=lambda one: self.clock(f"c:{one[0]}") - self._age(one[0]) / policy.aging_ms
        )

    def _age(self, class_name: str) -> int:
        """How long the head of a class has waited."""
        call, name = self._call, f"{self._pool}:{class_name}"
        first = call.space.zset(f"{call.shard}turn:{name}").first()
        line = call.space.line(f"{call.shard}queue:{name}:{first[1]}") if first else None
        job = call.load(line[0].partition(":")[0]) if line else None
        queued_at = job.fields.get("queued_at") if job else None
        return max(0, call.now - int(queued_at)) if queued_at else 0

    def serve(
        self, class_name: str, weight: int, most: int, actor: str, grants: Grants | None
    ) -> tuple[int, int]:
        """One turn of the class's next tenant; returns how many became ready and how many were looked at."""
        call, name = self._call, f"{self._pool}:{class_name}"
        first = call.space.zset(f"{call.shard}turn:{name}").first()
        assert first is not None, "somebody waits in this class"
        _, tenant = first
        line = call.space.line(f"{call.shard}queue:{name}:{tenant}")
        room = ties.tenant_room(call, tenant)
        if room == 0:
            ties.park(call, tenant, name)
            self._pay(class_name, weight, 0)
            self._rest_or_stay(name, tenant, 0, rests=True)
            call.unmark(name, tenant)
            return 0, 1
        taken = [line.popleft() for _ in range(min(most, len(line), room or most))]
        if grants is not None:
            grants.reserve(min(len(taken), grants.room))
        limited = room is not None
        served = sum(
            _serve(call, self._pool, entry, actor, grants, limited=limited) for entry in taken
        )
        call.count_waiting(tenant, -served)
        self._pay(class_name, weight, served)
        self._rest_or_stay(name, tenant, served, rests=not line)
        if not line:
            call.unmark(name, tenant)
        elif taken:
            call.mark("oldest", name, tenant)
        return served, max(1, len(taken))

    def _pay(self, class_name: str, weight: int, served: int) -> None:
        """A class pays for what was served; the pool's clock stands where the last of it began."""
        finish, clock = self.clock(f"c:{class_name}"), self.clock("v")
        if served:
            clock = max(clock, finish + (served - 1) / weight)
            finish += served / weight
        self.set_clock("v", clock)
        self.set_clock(f"c:{class_name}", finish)

    def _rest_or_stay(self, name: str, tenant: str, served: int, *, rests: bool) -> None:
        """A tenant pays too, by its weight; without more to do it leaves, and what it used up is remembered
        for a while."""
        space, shard = self._call.space, self._call.shard
        waiting = space.zset(f"{shard}turn:{name}")
        share = ties.weight_of(self._call, tenant)
        finish = (waiting.score(tenant) or 0) + served / share
        clock_name = f"v:{name.rpartition(':')[2]}"
        clock = max(self.clock(clock_name), finish - min(served, 1) / share)
        self.set_clock(clock_name, clock)
        if not rests:
            waiting.put(tenant, finish)
            return
        waiting.remove(tenant)
        rested = space.zset(f"{shard}rested:{name}")
        rested.put(tenant, finish)
        for member in rested.up_to(clock):
            rested.remove(member)


def wake_tenant(call: Call, pool: str, class_name: str, tenant: str) -> None:
    """A job of the tenant waits."""
    PoolTurns(call, pool).wake(class_name, tenant)


def _serve(
    call: Call, pool: str, entry: str, actor: str, grants: Grants | None, *, limited: bool
) -> bool:
    job_id, _, ticket = entry.rpartition(":")
    job = call.load(job_id)
    if job is None or not call.holds_ticket(job, "q", ticket, pool):
        return False
    if "ties" in job.fields and ties.hold_back(call, job):
        return False
    if limited:
        ties.count_tenant(job)
    call.move(job, Event.DISPATCH, actor)
    call.deepen(job, -1)
    if grants is not None and grants.room:
        grants.claim(job)
        grants.straight += 1
    else:
        job.take_ticket()
        call.append(f"ready:{pool}", j=job.entry)
    return True


def dispatch_pool(
    call: Call,
    pool: str,
    most: int,
    policy: Policy,
    actor: str,
    grants: Grants | None = None,
    hand: Hand | None = None,
) -> tuple[int, int]:
    """Gives free slots to waiting jobs; returns how many became ready for others, and how many runners serve
    the pool. A runner that claims takes first what was made ready before; the first job goes to the runner
    that `hand` finds at rest."""
    call.policy = policy
    free, runners, waits = call.allowance(pool)
    if call.drains(pool):
        return 0, runners
    if grants is not None:
        grants.obey_drain(pool)
        grants.obey_slots(pool)
    if grants is not None and not waits:
        free += grants.claim_ready(pool)
    want, done, looked = min(free, most), 0, 0
    if ties.is_paused(call, "*", f"pool:{pool}"):
        want = 0
    if hand is not None and want > 0 and not call.unclaimed(pool):
        grants = hand(call, pool)
    turns = PoolTurns(call, pool)
    while done < want and looked < want + STALE_MAX:
        waiting = turns.waiting(policy)
        if not waiting:
            break
        class_name, weight = turns.next_class(waiting, policy)
        tenants = call.space.zset(f"{call.shard}turn:{pool}:{class_name}")
        alone = len(waiting) == 1 and len(tenants) == 1
        most_now = want - done if alone else 1
        served, seen = turns.serve(class_name, weight, most_now, actor, grants)
        done, looked = done + served, looked + seen
    backlogged = bool(turns.waiting(policy)) if want > 0 else (pool in call.lengthened or None)
    if backlogged and done < want and looked >= want + STALE_MAX:
        call.wake(pool, 1)
    measure(call, pool, done, backlogged=backlogged, is_served=runners > 0 and not waits)
    if grants is not None and hand is not None:
        grants.hand_over(pool)
    return done - (0 if grants is None else grants.straight), runners


def dispatch_lengthened(call: Call, policy_text: str, actor: str, hand: Hand | None = None) -> None:
    """Dispatches every pool whose line this call made longer, and wakes who may claim."""
    call.policy = policy_of(policy_text)
    ties.pass_on(call)
    for pool in sorted(call.lengthened):
        ready, runners = dispatch_pool(call, pool, BATCH_ITEMS_MAX, call.policy, actor, hand=hand)
        call.wake(pool, min(ready, runners))


def dispatch(call: Call, argv: Sequence[str]) -> Reply:
    """dispatch: gives the free slots of a pool to waiting jobs, in fair order."""
    pool, most, policy, actor = argv[0], int(argv[1]), policy_of(argv[2]), argv[3]
    call.policy = policy
    ties.go_on_calling(call)
    ties.pass_on(call)
    done, runners = dispatch_pool(call, pool, most, policy, actor)
    call.wake(pool, min(done, runners))
    call.lengthened.pop(pool, None)
    dispatch_lengthened(call, argv[2], actor)
    tenants = f"{call.shard}turn:{pool}:"
    waiting = sum(len(call.space.zset(tenants + name)) for name, _ in policy.classes)
    return call.done(done, waiting)
