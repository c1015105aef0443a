"""admit, refuse, overflow and replay: what the doors of a shard ask, and what they are told."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from contracts.errors import CATALOGUE, ErrorCode
from contracts.ids import is_id
from contracts.limits import ANSWER_KEY_TTL_MS, REQUESTS_BACKLOG_MAX, RETRY_AFTER_MS_START
from contracts.states import STATE_CODES, State
from tests.sim.model import evict
from tests.sim.model.batch import ITEM, Batch, Item, item_of, request_waits
from tests.sim.model.bound import refused
from tests.sim.model.call import QUEUED, READY, RUNNING, Call, Job, Reply
from tests.sim.model.reading import parse_id

_STATE_NAMES = {code: state.value for state, code in STATE_CODES.items()}


def _items(argv: Sequence[str]) -> list[Item]:
    return [item_of(*argv[at : at + ITEM]) for at in range(0, len(argv), ITEM)]


def _complete(item: Item) -> None:
    """What a repeated item says once it is known where the first one stands."""
    answer = item.answer
    if item.first is not None and answer[0] != "refused":
        answer[2] = item.first.answer[2]
    begins = answer[2] == READY or (item.first is not None and answer[2] == RUNNING)
    if answer[0] != "refused" and begins:
        answer[3:] = [0, 0]


def _answer_body(answer: Reply, request_id: str) -> bytes:
    if answer[0] == "refused":
        entry = CATALOGUE[ErrorCode(answer[1])]
        load = {"retry_after_ms": answer[4], "policy_label": answer[5]} if len(answer) > 4 else {}
        return orjson.dumps(
            load
            | {
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
            "predicted_start_ms": answer[4] if answer[4] >= 0 else None,
            "duplicate": answer[0] == "duplicate",
        }
    )


def _settle_request(call: Call, request_id: str, entry_id: str, body: str) -> bool:
    """A raw producer finds its answer under its own request id; its entry can come no second time.

    Returns whether it still waited.
    """
    if not entry_id or not request_waits(call, entry_id, request_id):
        return False
    if request_id:
        call.space.set_text(f"{call.shard}answer:{request_id}", body, ANSWER_KEY_TTL_MS)
    call.space.settle_entry(f"{call.shard}requests", "admission", parse_id(entry_id))
    return True


def admit(call: Call, argv: Sequence[str]) -> Reply:
    """admit: makes jobs durable, or says why not; items judge alone, repeated calls answer alike."""
    actor, policy, bounds, random, count = argv[0], argv[1], argv[2], argv[3], int(argv[4])
    items = _items(argv[5 : 5 + count * ITEM])
    batch = Batch(call, policy, bounds, actor, random)
    for item in items:
        batch.take_in(item)
    batch.finish()
    for item in items:
        _complete(item)
        body = _answer_body(item.answer, item.request_id).decode()
        _settle_request(call, item.request_id, item.entry_id, body)
    return call.done([item.answer for item in items], _flat(batch.evicted), call.retired)


def _flat(evicted: dict[str, int]) -> list[str | int]:
    return [
        word for policy in evict.KINDS if policy in evicted for word in (policy, evicted[policy])
    ]


def replay(call: Call, argv: Sequence[str]) -> Reply:
    """replay: makes a new job of a dead letter; both name each other."""
    actor, policy, bounds, by, count = argv[0], argv[1], argv[2], argv[3], int(argv[4])
    pairs = argv[5 : 5 + 2 * count]
    batch = Batch(call, policy, bounds, actor)
    answers = [
        _replay(call, old_id, new_id, actor, by, batch)
        for old_id, new_id in zip(pairs[::2], pairs[1::2], strict=True)
    ]
    batch.finish()
    return call.done(answers, _flat(batch.evicted), call.retired)


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
    item = item_of(new_id, *names, "0", "0", "", "", "", "", "", _ties_again(old))
    item.replay_of = old_id
    batch.take_in(item)
    if item.answer[0] == "refused":
        return item.answer
    call.record(old, "replayed", actor, f'{{"as":"{new_id}","by":{by}}}')
    old.fields["replayed_as"] = new_id
    call.space.zset(f"{call.shard}dead:{old.fields['tenant']}").remove(old_id)
    return item.answer


def _ties_again(old: Job) -> str:
    """How the new job meets its session stands only in the spec."""
    words = [word for word in old.fields.get("ties", "").split() if word not in {"t", "w"}]
    policy = orjson.loads(old.fields["spec"]).get("session_policy")
    if policy and any(word.startswith("s:") for word in words):
        words.append(f"p:{policy}")
    return " ".join(words)


def refuse(call: Call, argv: Sequence[str]) -> Reply:
    """refuse: answers a raw request that is no valid spec, and settles its stream entry."""
    entry_id, request_id, body = argv
    return call.done() if _settle_request(call, request_id, entry_id, body) else ["same"]


def overflow(call: Call, argv: Sequence[str]) -> Reply:
    """overflow: refuses the youngest raw requests beyond the bound of their stream."""
    stream = call.space.stream(f"{call.shard}requests")
    backlog = 0 if stream is None else len(stream)
    excess = min(int(argv[0]), backlog - REQUESTS_BACKLOG_MAX)
    if stream is None or excess <= 0:
        return ["none"]
    details = {"backlog": backlog, "backlog_max": REQUESTS_BACKLOG_MAX}
    answer = refused(ErrorCode.QUEUE_FULL, "too many raw requests wait", details)
    answer += [RETRY_AFTER_MS_START, "requests-backlog"]
    for entry_id in stream.youngest(excess):
        request_id = (stream.get(entry_id) or {}).get("request_id", "")
        if is_id(request_id):
            body = _answer_body(answer, request_id).decode()
            name = f"{call.shard}answer:{request_id}"
            call.space.set_text(name, body, ANSWER_KEY_TTL_MS)
        call.space.settle_entry(f"{call.shard}requests", "admission", entry_id)
    return call.done(excess)
