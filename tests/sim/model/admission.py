"""admit, refuse and replay: items are judged against the store and their own batch, then jobs are made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from contracts.errors import CATALOGUE, ErrorCode
from contracts.limits import ANSWER_KEY_TTL_MS
from contracts.states import STATE_CODES, Event, State
from tests.sim.model.call import QUEUED, READY, Call, Job, Reply, with_member
from tests.sim.model.reading import parse_id
from tests.sim.model.turns import dispatch_lengthened

ITEM = 13
_STATE_NAMES = {code: state.value for state, code in STATE_CODES.items()}


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
    replay_of: str = ""
    """The dead letter that it repeats."""
    origin: str = "{}"
    """What its first event says of where it came from."""
    position: int = 0
    """How many waited before it."""
    answer: Reply = field(default_factory=list)
    first: Item | None = None
    """The earlier item of the same call that this one repeats."""


def _items(argv: Sequence[str]) -> list[Item]:
    return [item_of(*argv[at : at + ITEM]) for at in range(0, len(argv), ITEM)]


def item_of(*words: str) -> Item:
    """An item as a function takes it."""
    job_id, digest, tenant, pool, class_name, spec, not_before, deadline, *names = words
    when = int(not_before), int(deadline)
    key, nonce, entry, request, placed = names
    return Item(
        job_id, digest, tenant, pool, class_name, spec, *when, key, nonce, entry, request, placed
    )


class Batch:
    """What the items before an item of the same call will have made."""

    def __init__(self, call: Call, capacity: int) -> None:
        self._call = call
        self._capacity = capacity
        self._jobs: dict[str, Item] = {}
        self._keys: dict[str, str] = {}
        self._queued: Counter[str] = Counter()

    def judge(self, item: Item) -> None:
        """Answers an item that makes no job; the others keep an empty answer."""
        key = key_name(self._call, item)
        job_id = item.job_id
        if item.key:
            job_id = self._keys.get(key) or self._call.space.text(key) or job_id
        if job_id in self._jobs:
            item.first = self._jobs[job_id]
            item.answer = _judge_repeat(item, job_id, item.first.digest, QUEUED, again=False)
            return
        job = self._call.load(job_id)
        if job is not None:
            again = job.fields.get("nonce", "") == item.nonce
            item.answer = _judge_repeat(item, job_id, job.fields["digest"], job.state, again=again)
            return
        item.answer = self._refusal(item)
        if not item.answer:
            self._accept(item, key)

    def _refusal(self, item: Item) -> Reply:
        pools = self._call.space.members(f"{self._call.shard}pools")
        if item.entry_id and not request_waits(self._call, item.entry_id):
            text = f"request {item.entry_id} is settled or was handed on"
            return _refused(ErrorCode.INVALID_REQUEST, text, {})
        if not item.pool:
            return ["refused", ErrorCode.NO_POOL.value, "no pool fits the placement", item.placed]
        if item.pool not in pools:
            known = {"path": "pool", "pools": sorted(pools)}
            return _refused(ErrorCode.INVALID_SPEC, f"pool: there is no pool {item.pool}", known)
        if item.deadline and item.deadline <= max(self._call.now, item.not_before):
            return _refused(
                ErrorCode.DEADLINE_UNMET,
                "deadline_ms has passed or lies before not_before_ms",
                {"now_ms": str(self._call.now)},
            )
        item.position = self._depth(item)
        if item.position >= self._capacity:
            return _refused(
                ErrorCode.QUEUE_FULL,
                f"the queue of pool {item.pool}, class {item.class_name} is full",
                {"queue_depth": item.position, "policy": "reject"},
            )
        return []

    def _depth(self, item: Item) -> int:
        place = f"{item.pool}:{item.class_name}"
        stored = self._call.hash("counters").get(f"depth:{place}", "0")
        return int(stored) + self._queued[place]

    def _accept(self, item: Item, key: str) -> None:
        if item.not_before <= self._call.now:
            self._queued[f"{item.pool}:{item.class_name}"] += 1
        self._jobs[item.job_id] = item
        if item.key:
            self._keys[key] = item.job_id


def key_name(call: Call, item: Item) -> str:
    """Where the job of an idempotency key is remembered."""
    return f"{call.shard}idem:{item.tenant}:{item.key}"


def request_waits(call: Call, entry_id: str) -> bool:
    """Whether the entry is still there: a slow reader may come after its heir, who has answered."""
    stream = call.space.stream(f"{call.shard}requests")
    return stream is not None and stream.get(parse_id(entry_id)) is not None


def _refused(code: ErrorCode, message: str, details: object) -> Reply:
    return ["refused", code.value, message, orjson.dumps(details).decode()]


def _judge_repeat(item: Item, job_id: str, digest: str, state: str, *, again: bool) -> Reply:
    if digest != item.digest:
        return _refused(
            ErrorCode.IDEMPOTENCY_CONFLICT,
            f"the key or id stands for other content: job {job_id}",
            {"job_id": job_id, "digest": item.digest, "other_digest": digest},
        )
    return ["new" if again else "duplicate", job_id, state, -1]


def make_job(call: Call, item: Item, actor: str) -> Reply:
    """The job of an accepted item, in its line or parked."""
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
    if call.hash(f"hooks:{item.tenant}"):
        fields["ties"] = "w"
    if item.key:
        fields["idem"] = item.key
        call.space.set_text(key_name(call, item), item.job_id)
    if item.deadline:
        fields["deadline"] = str(item.deadline)
        call.set_timer(f"deadline:{item.job_id}:0", item.deadline)
    told = item.origin
    if item.replay_of:
        told = f'{{"replay_of":"{item.replay_of}"}}'
    if item.placed:
        told = with_member(told, f'"placed":{item.placed}')
    if item.replay_of:
        fields["replay_of"] = item.replay_of
    job = Job(item.job_id, fields)
    if item.not_before > call.now:
        due_at = f'"due_at_ms":{item.not_before}'
        call.move(job, Event.SCHEDULE, actor, with_member(told, due_at))
        fields["not_before"] = str(item.not_before)
        call.park(job, "later", item.not_before)
    else:
        call.move(job, Event.ADMIT, actor, told)
        call.enqueue(job)
    arrival = call.count("arrivals", 1)
    job.fields["arrival"] = str(arrival)
    call.space.zset(f"{call.shard}jobs:{item.tenant}").put(item.job_id, arrival)
    call.space.members(f"{call.shard}tenants")[item.tenant] = None
    return ["new", item.job_id, job.state, item.position if job.state == QUEUED else -1]


def _complete(call: Call, item: Item) -> None:
    """Says of a job that this very call dispatched that it is ready: nothing waited before it."""
    answer = item.answer
    if answer[0] == "refused":
        return
    if answer[0] == "new" and call.touched.get(answer[1]) == 2:
        answer[2] = READY
    if item.first is not None:
        answer[2] = item.first.answer[2]
    if answer[2] == READY:
        answer[3] = 0


def _answer_body(answer: Reply, request_id: str) -> bytes:
    if answer[0] == "refused":
        entry = CATALOGUE[ErrorCode(answer[1])]
        return orjson.dumps(
            {
                "code": entry.code.value,
                "hint": entry.hint,
                "retriable": entry.retriable,
                "message": answer[2],
                "request_id": request_id,
                "details": orjson.loads(answer[3]),
            }
        )
    return orjson.dumps(
        {
            "job_id": answer[1],
            "state": _STATE_NAMES[answer[2]],
            "queue_position": answer[3] if answer[3] >= 0 else None,
            "predicted_start_ms": 0 if answer[2] == READY else None,
            "duplicate": answer[0] == "duplicate",
        }
    )


def _settle_request(call: Call, request_id: str, entry_id: str, body: str) -> bool:
    """A raw producer finds its answer under its own request id; its entry can come no second time.

    Returns whether it still waited.
    """
    if not entry_id or not request_waits(call, entry_id):
        return False
    if request_id:
        call.space.set_text(f"{call.shard}answer:{request_id}", body, ANSWER_KEY_TTL_MS)
    call.space.settle_entry(f"{call.shard}requests", "admission", parse_id(entry_id))
    return True


def admit(call: Call, argv: Sequence[str]) -> Reply:
    """admit: makes jobs durable, or says why not; items judge alone, repeated calls answer alike."""
    actor, policy, capacity, count = argv[0], argv[1], int(argv[2]), int(argv[3])
    items = _items(argv[4 : 4 + count * ITEM])
    batch = Batch(call, capacity)
    for item in items:
        batch.judge(item)
    for item in items:
        item.answer = item.answer or make_job(call, item, actor)
    dispatch_lengthened(call, policy, actor)
    for item in items:
        _complete(call, item)
        body = _answer_body(item.answer, item.request_id).decode()
        _settle_request(call, item.request_id, item.entry_id, body)
    return call.done([item.answer for item in items])


def replay(call: Call, argv: Sequence[str]) -> Reply:
    """replay: makes a new job of a dead letter; both name each other."""
    actor, policy, capacity, by, count = argv[0], argv[1], int(argv[2]), argv[3], int(argv[4])
    pairs = argv[5 : 5 + 2 * count]
    batch = Batch(call, capacity)
    answers = [
        _replay(call, old_id, new_id, actor, by, batch)
        for old_id, new_id in zip(pairs[::2], pairs[1::2], strict=True)
    ]
    dispatch_lengthened(call, policy, actor)
    return call.done(answers)


def _replay(call: Call, old_id: str, new_id: str, actor: str, by: str, batch: Batch) -> Reply:
    old = call.load(old_id)
    if old is None:
        return ["unknown"]
    if old.state != STATE_CODES[State.FAILED]:
        return ["alive", old.state]
    known = old.fields.get("replayed_as")
    if known is not None:
        job = call.load(known)
        state = QUEUED if job is None else job.state
        return ["new", new_id, state] if known == new_id else ["replayed", known]
    names = [old.fields[name] for name in ("digest", "tenant", "pool", "class", "spec")]
    item = item_of(new_id, *names, "0", "0", "", "", "", "", "")
    item.replay_of = old_id
    batch.judge(item)
    if item.answer:
        return item.answer
    call.record(old, "replayed", actor, f'{{"as":"{new_id}","by":{by}}}')
    old.fields["replayed_as"] = new_id
    call.space.zset(f"{call.shard}dead:{old.fields['tenant']}").remove(old_id)
    return make_job(call, item, actor)


def refuse(call: Call, argv: Sequence[str]) -> Reply:
    """refuse: answers a raw request that is no valid spec, and settles its stream entry."""
    entry_id, request_id, body = argv
    return call.done() if _settle_request(call, request_id, entry_id, body) else ["same"]
