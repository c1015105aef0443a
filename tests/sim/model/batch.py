"""What one call of admission lets in: its items, judged in their order, and the jobs they become."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from contracts.errors import ErrorCode
from contracts.states import Event
from tests.sim.model import evict
from tests.sim.model.bound import (
    Bounds,
    Place,
    Tenant,
    refuse_full,
    refuse_paused,
    refuse_too_fast,
    refused,
)
from tests.sim.model.call import QUEUED, READY, RUNNING, SCHEDULED, Call, Job, Reply, with_member
from tests.sim.model.grants import begin_handing
from tests.sim.model.pace import ahead_in_class, gap_of, starts_in
from tests.sim.model.reading import parse_id
from tests.sim.model.sessions import Sessions, word_of
from tests.sim.model.turns import dispatch_lengthened, policy_of

ITEM = 14


@dataclass(slots=True)
class Item:
    """What admission judges."""

    job_id: str
    digest: str
    tenant: str
    pool: str
    class_name: str
    spec: str
    not_before: int
    deadline: int
    key: str
    nonce: str
    entry_id: str
    request_id: str
    placed: str
    """The pool chosen and why, as JSON; without a pool, why none fits."""
    ties: str = ""
    """How it is bound: key, session, and what it does to the session's other jobs."""
    replay_of: str = ""
    """The dead letter that it repeats."""
    origin: str = "{}"
    """What its first event says of where it came from."""
    answer: Reply = field(default_factory=list)
    first: Item | None = None
    """The earlier item of the same call that this one repeats."""


def item_of(*words: str) -> Item:
    """An item as a function takes it."""
    job_id, digest, tenant, pool, class_name, spec, not_before, deadline, *names = words
    when = int(not_before), int(deadline)
    key, nonce, entry, request, placed, ties = names
    judged = job_id, digest, tenant, pool, class_name, spec
    return Item(*judged, *when, key, nonce, entry, request, placed, ties)


class Batch:
    """What the items before an item of the same call will have made."""

    def __init__(self, call: Call, policy: str, bounds: str, actor: str, random: str = "") -> None:
        """With `random` a job may be handed to a runner that rests."""
        self._hand = partial(begin_handing, random) if random else None
        self._call = call
        self._policy = policy
        self._actor = actor
        call.policy = policy_of(policy)
        words = (word.partition("=") for word in bounds.split())
        self._bounds = Bounds(call, {name: value for name, _, value in words})
        self._jobs: dict[str, Item] = {}
        self._keys: dict[str, str] = {}
        self._pending: list[Item] = []
        self._made: list[Item] = []
        self._places: list[Place] = []
        self._free: dict[str, int] = {}
        self._sessions = Sessions(call)
        self._lengthened: set[str] = set()
        self.evicted: dict[str, int] = {}

    def take_in(self, item: Item) -> None:
        """Lets it in, or answers why not."""
        self.judge(item)
        if not item.answer:
            self.find_room(item)

    def find_room(self, item: Item) -> None:
        """Lets in what nothing else is against, or answers why not."""
        place, tenant = (
            self._bounds.place(item.pool, item.class_name),
            self._bounds.tenant(item.tenant),
        )
        key = word_of(item.ties, "k")
        reached = self._bounds.reached(place, tenant, key)
        if reached and place.policy in evict.KINDS and self._pending:
            self._make()
            reached = self._bounds.reached(place, tenant, key)
        if reached:
            named = (item.pool, item.class_name, item.tenant)
            victims = evict.victims(self._call, named, [one[0] for one in reached], place.policy)
            if victims is None:
                item.answer = refuse_full(self._bounds, place, tenant, key, reached[0])
                return
            for victim in victims:
                evict.evict(self._call, victim, item.job_id, place.policy, self._actor)
                self.evicted[place.policy] = self.evicted.get(place.policy, 0) + 1
        self._let_in(item, tenant)
        self._sessions.count(item.tenant, item.ties, item.job_id)

    def _let_in(self, item: Item, tenant: Tenant) -> None:
        self._jobs[item.job_id] = item
        if item.key:
            self._keys[key_name(self._call, item)] = item.job_id
        self._pending.append(item)
        self._bounds.coming[f"waits:{item.tenant}"] += 1
        if item.not_before <= self._call.now:
            self._bounds.coming[f"depth:{item.pool}:{item.class_name}"] += 1
        self._bounds.coming[f"keyed:{item.tenant}:{word_of(item.ties, 'k')}"] += 1
        if tenant.rate > 0:
            tenant.tokens -= 1
            tenant.took = True
        item.answer = ["new", item.job_id, QUEUED, -1, -1]

    def judge(self, item: Item) -> None:
        """Answers an item that makes no job whatever there is room for; the others keep an empty answer."""
        item.answer = self._judge(item)

    def _judge(self, item: Item) -> Reply:
        return self.repeat_of(item) or self._refusal(item)

    def repeat_of(self, item: Item) -> Reply:
        """The answer to an item whose id or key stands for a job; empty when it stands for none."""
        key = key_name(self._call, item)
        job_id = item.job_id
        if item.key:
            job_id = self._keys.get(key) or self._call.space.text(key) or job_id
        if job_id in self._jobs:
            item.first = self._jobs[job_id]
            return _judge_repeat(item, job_id, item.first.digest, QUEUED, again=False)
        job = self._call.load(job_id)
        if job is not None:
            again = job.fields.get("nonce", "") == item.nonce
            return _judge_repeat(item, job_id, job.fields["digest"], job.state, again=again)
        return []

    def _refusal(self, item: Item) -> Reply:
        pools = self._call.space.members(f"{self._call.shard}pools")
        if item.entry_id and not request_waits(self._call, item.entry_id, item.request_id):
            text = f"request {item.entry_id} is settled or was handed on"
            return refused(ErrorCode.INVALID_REQUEST, text, {})
        if not item.pool:
            return ["refused", ErrorCode.NO_POOL.value, "no pool fits the placement", item.placed]
        if item.pool not in pools:
            known = {"path": "pool", "pools": sorted(pools)}
            return refused(ErrorCode.INVALID_SPEC, f"pool: there is no pool {item.pool}", known)
        place, tenant = (
            self._bounds.place(item.pool, item.class_name),
            self._bounds.tenant(item.tenant),
        )
        self._places.append(place)
        if place.paused or tenant.paused:
            return refuse_paused(place.paused or tenant.paused)
        if tenant.rate > 0 and tenant.tokens < 0.999999:
            return refuse_too_fast(tenant)
        busy = self._sessions.judge(item.tenant, item.ties)
        return busy or (self._late(item) if item.deadline else [])

    def _late(self, item: Item) -> Reply:
        now = self._call.now
        if item.deadline <= max(now, item.not_before):
            text = "deadline_ms has passed or lies before not_before_ms"
            return refused(ErrorCode.DEADLINE_UNMET, text, {"now_ms": str(now)})
        start = self._predict(item) if item.not_before <= now else None
        if start is None or item.deadline > now + start:
            return []
        details = {"now_ms": str(now), "predicted_start_ms": start}
        text = "deadline_ms lies before the predicted start"
        return refused(ErrorCode.DEADLINE_UNMET, text, details)

    def _predict(self, item: Item) -> int | None:
        call, place = self._call, f"{item.pool}:{item.class_name}"
        if gap_of(call, item.pool) is None:
            return None
        if item.pool not in self._free:
            self._free[item.pool] = call.allowance(item.pool)[0]
        if self._bounds.pool_depth(item.pool) < self._free[item.pool]:
            return 0
        ahead = self._bounds.waiting(f"depth:{place}")
        turn = call.space.zset(f"{call.shard}turn:{place}")
        tag = turn.score(item.tenant)
        tenants = len(turn) + (tag is None)
        if tenants > 1:
            own = len(call.space.line(f"{call.shard}queue:{place}:{item.tenant}"))
            own = min(ahead, own + self._bounds.coming[f"waits:{item.tenant}"])
            if tag is None:
                tag = float(call.hash(f"fair:{item.pool}").get(f"v:{item.class_name}", "0"))
            before = sum(score < tag for score, _ in turn)
            ahead = ahead_in_class(own, ahead - own, tenants, before)
        return starts_in(call, item.pool, item.class_name, ahead)

    def _make(self) -> None:
        """Those that were let in become jobs, and get what slots are free."""
        if not self._pending:
            return
        for item in self._pending:
            job = make_job(self._call, item, self._actor, self._sessions)
            if item.not_before <= self._call.now and "aside" not in job.fields:
                self._lengthened.add(item.pool)
        self._made += self._pending
        self._pending = []
        self._bounds.coming.clear()
        dispatch_lengthened(self._call, self._policy, self._actor, self._hand)

    def finish(self) -> None:
        """Everything is made, and each new job told its place."""
        self._make()
        self._tell_places()
        for place in self._places:
            is_unused = place.pool in self._lengthened and place.policy not in evict.KINDS
            if is_unused and "evicts" in self._call.hash(f"fair:{place.pool}"):
                evict.rest(self._call, place.pool)
        self._bounds.save_tokens()

    def _tell_places(self) -> None:
        call, tails, owns = self._call, dict[str, int](), dict[str, int]()
        for item in reversed(self._made):
            job = call.load(item.job_id)
            assert job is not None, "it was just made"
            item.answer[2] = job.state
            place = f"{item.pool}:{item.class_name}"
            depth = call.counter(f"depth:{place}")
            if job.state in (READY, RUNNING):
                item.answer[3:] = [0, 0]
            elif job.state == SCHEDULED:
                item.answer[4] = item.not_before - call.now
            elif job.state == QUEUED:
                tails[place] = tails.get(place, depth) - 1
                item.answer[3:] = [max(0, tails[place]), self._start(item, tails[place], owns)]

    def _start(self, item: Item, tail: int, owns: dict[str, int]) -> int:
        call, place = self._call, f"{item.pool}:{item.class_name}"
        if gap_of(call, item.pool) is None:
            return -1
        turn = [one for _, one in call.space.zset(f"{call.shard}turn:{place}")]
        ahead = tail
        if len(turn) > 1:
            line = f"{call.shard}queue:{place}:{item.tenant}"
            owns[line] = owns.get(line, len(call.space.line(line))) - 1
            others = max(0, call.counter(f"depth:{place}") - 1 - owns[line])
            before = turn.index(item.tenant) if item.tenant in turn else 0
            ahead = ahead_in_class(max(0, owns[line]), others, len(turn), before)
        start = starts_in(call, item.pool, item.class_name, ahead)
        return -1 if start is None else start


def key_name(call: Call, item: Item) -> str:
    """Where the job of an idempotency key is remembered."""
    return f"{call.shard}idem:{item.tenant}:{item.key}"


def request_waits(call: Call, entry_id: str, request_id: str) -> bool:
    """Whether the entry is still there: a slow reader may come after its heir, who has answered, or after
    data went back and the id was given to another's."""
    stream = f"{call.shard}requests"
    return call.space.is_as_read(stream, parse_id(entry_id), "request_id", request_id)


def _judge_repeat(item: Item, job_id: str, digest: str, state: str, *, again: bool) -> Reply:
    if digest != item.digest:
        return refused(
            ErrorCode.IDEMPOTENCY_CONFLICT,
            f"the key or id stands for other content: job {job_id}",
            {"job_id": job_id, "digest": item.digest, "other_digest": digest},
        )
    return ["new" if again else "duplicate", job_id, state, -1, -1]


def make_job(call: Call, item: Item, actor: str, sessions: Sessions) -> Job:
    """The job of an accepted item, in its line, aside or parked."""
    fields = call.hash(f"job:{item.job_id}")
    fields |= {
        "pool": item.pool,
        "class": item.class_name,
        "tenant": item.tenant,
        "digest": item.digest,
        "spec": item.spec,
        "made_at": str(call.now),
    }
    if item.nonce:
        fields["nonce"] = item.nonce
    if item.key:
        fields["idem"] = item.key
        call.space.set_text(key_name(call, item), item.job_id)
    if item.deadline:
        fields["deadline"] = str(item.deadline)
        call.set_timer(f"deadline:{item.job_id}:0", item.deadline)
    told = item.origin
    if item.replay_of:
        fields["replay_of"] = item.replay_of
        told = f'{{"replay_of":"{item.replay_of}"}}'
    if item.placed:
        told = with_member(told, f'"placed":{item.placed}')
    job = Job(item.job_id, fields)
    arrival, waits = call.count("arrivals", 1), item.not_before > call.now
    is_next = bool(item.ties) and sessions.bind(job, item.ties, arrival, actor, waits=waits)
    if call.hash(f"hooks:{item.tenant}"):
        fields["ties"] = f"{fields.get('ties', '')} w".strip()
    if item.not_before > call.now:
        due_at = f'"due_at_ms":{item.not_before}'
        call.move(job, Event.SCHEDULE, actor, with_member(told, due_at))
        fields["not_before"] = str(item.not_before)
        call.park(job, "later", item.not_before)
    else:
        call.move(job, Event.ADMIT, actor, told)
        call.enqueue(job, is_next=is_next)
    job.fields["arrival"] = str(arrival)
    call.space.zset(f"{call.shard}jobs:{item.tenant}").put(item.job_id, arrival)
    call.space.members(f"{call.shard}tenants")[item.tenant] = None
    return job
