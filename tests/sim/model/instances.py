"""hello, register, beat, declare, leave and bury: incarnations of the server, and who lives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from contracts.limits import (
    BATCH_ITEMS_MAX,
    BURIED_KEPT_MS,
    BURIED_MAX,
    FENCE_SHIFT,
    INCARNATIONS_TOLD_MAX,
    REST_MS_MAX,
)
from contracts.states import Event
from tests.sim.model.call import RECALLED, RUNNING, Call, Reply
from tests.sim.model.control import excuse

MAILBOXES = {
    "admission": "requests",
    "fallback": "outcomes",
    "scheduler": "alarm",
    "notifier": "notices",
}
"""The stream that a role reads, in a group of its own name."""
BEGAN_KEPT = 1_000


def hello(call: Call, argv: Sequence[str]) -> Reply:
    """hello: greets a client on every connection and notices that the server is another incarnation."""
    seen, known, schema = int(argv[0]), argv[1], int(argv[2])
    meta = call.meta
    if int(meta.get("schema", "0")) > schema:
        return ["newer_schema", int(meta["schema"])]
    incarnation, seq = int(meta.get("incarnation", "0")), int(meta.get("seq", "0"))
    met = [pair.partition(":")[::2] for pair in known.split()]
    began = _began_after(meta, met, incarnation)
    reused = seen == incarnation and any(n == str(seen) and run != meta["run_id"] for n, run in met)
    if meta.get("run_id") != call.run_id or incarnation < seen or reused:
        incarnation = max(incarnation, seen) + 1
        _begin(call, incarnation, schema)
        began = seq if began < 0 else began
    elif schema > int(meta.get("schema", "0")):
        meta["schema"] = str(schema)
    oldest = max(1, incarnation - INCARNATIONS_TOLD_MAX + 1)
    runs = ((n, meta.get(f"run:{n}")) for n in range(incarnation, oldest - 1, -1))
    way = " ".join(f"{n}:{run_id}" for n, run_id in runs if run_id is not None)
    return ["ok", incarnation, seq, call.run_id, began, way]


def _began_after(meta: Mapping[str, str], met: Sequence[tuple[str, str]], newest: int) -> int:
    """When the first incarnation after the last that client and data have in common began."""
    first = newest + 1
    for number, run_id in met:
        first = int(number)
        if meta.get(f"run:{number}") == run_id:
            first += 1
            break
    began = (meta.get(f"began:{n}") for n in range(first, newest + 1))
    return next((int(seq) for seq in began if seq is not None), -1)


def _begin(call: Call, incarnation: int, schema: int) -> None:
    meta = call.meta
    meta[f"began:{incarnation}"] = meta.get("seq", "0")
    meta |= {"run_id": call.run_id, "incarnation": str(incarnation), "schema": str(schema)}
    meta[f"run:{incarnation}"] = call.run_id
    for name in ("began", "run"):
        meta.pop(f"{name}:{incarnation - BEGAN_KEPT}", None)
    # Counters that went back with the data must not be taken for ones that a reaper saw before.
    beats = call.hash("beats")
    beats.update(dict.fromkeys(beats, str(incarnation << FENCE_SHIFT)))
    _recall(call)


def _recall(call: Call) -> None:
    """Every runner is asked what it runs; nothing is dispatched until all have answered."""
    call.meta["recalled_at"] = str(call.now)
    for pool in call.space.members(f"{call.shard}pools"):
        slots = call.hash(f"slots:{pool}")
        slots.update({name: RECALLED + n.lstrip(RECALLED) for name, n in slots.items()})


def register(call: Call, argv: Sequence[str]) -> Reply:
    """register: makes an actor instance known, and a runner's slots available."""
    instance, role, about, pool, slots, again = argv
    if again == "1" and instance not in call.hash("beats"):
        return ["runner_over"]
    if role == "runner" and instance in call.space.zset(f"{call.shard}buried"):
        return ["runner_over"]
    call.hash("instances")[instance] = about
    call.hash("beats").setdefault(instance, str(call.now))
    call.hash("seen")[instance] = str(call.now)
    if role in MAILBOXES:
        call.space.ensure_group(call.shard + MAILBOXES[role], role)
    if role == "scheduler":
        call.space.ensure_group(f"{call.shard}control", "control")
    if role == "runner":
        known = call.hash(f"slots:{pool}")
        recalled = known.get(instance, "").startswith(RECALLED)
        known[instance] = RECALLED * recalled + str(int(slots))
        call.space.members(f"{call.shard}pools")[pool] = None
        for stream in (f"ready:{pool}", f"wake:{pool}", f"inbox:{instance}"):
            call.space.ensure_group(call.shard + stream, "runners")
    return call.done()


def beat(call: Call, argv: Sequence[str]) -> Reply:
    """beat: says that an instance lives; never makes one live that was buried."""
    (instance,) = argv
    beats = call.hash("beats")
    if instance not in beats:
        return ["runner_over"]
    beats[instance] = str(int(beats[instance]) + 1)
    call.hash("seen")[instance] = str(call.now)
    return ["ok", int(beats[instance]), int(instance in call.hash("instances"))]


def declare(call: Call, argv: Sequence[str]) -> Reply:
    """declare: makes pools exist that no runner serves yet."""
    call.space.members(f"{call.shard}pools").update(dict.fromkeys(argv))
    return call.done()


def leave(call: Call, argv: Sequence[str]) -> Reply:
    """leave: an instance says goodbye; it must hold nothing any more."""
    (instance,) = argv
    about = call.hash("instances").get(instance)
    if about is None:
        return ["unknown"]
    held = len(call.hash(f"held:{instance}"))
    if held:
        return ["holds", held]
    _forget(call, instance, orjson.loads(about))
    return call.done()


def bury(call: Call, argv: Sequence[str]) -> Reply:
    """bury: declares a silent instance dead, unless its beat moved, and frees what it held."""
    instance, counter, age_ms, most = argv
    beats, about = call.hash("beats"), call.hash("instances").get(instance)
    if instance not in beats and about is None:
        # Given entries after its burial, by a read in which it was frozen: they are handed on too.
        for role, stream in MAILBOXES.items():
            _hand_on(call, call.shard + stream, role, instance)
        return ["unknown"]
    if not beat_unmoved(beats.get(instance), counter):
        return ["alive", int(beats[instance])]
    beats.pop(instance, None)
    known: Mapping[str, Any] = orjson.loads(about or "{}")
    if known.get("role") == "runner":
        call.hash(f"slots:{known['pool']}").pop(instance, None)
    if about is None or known.get("role") == "runner":
        _entomb(call, instance)
    held = call.hash(f"held:{instance}")
    lost = list(held.items())[: int(most)]
    for job_id, claim in lost:
        _lose(call, job_id, claim, instance, age_ms)
    if not held:
        _count(call, "burials")
        _forget(call, instance, known)
    return call.done(len(lost), len(held))


def _entomb(call: Call, instance: str) -> None:
    """A late copy of its registration must not make it live again."""
    buried = call.space.zset(f"{call.shard}buried")
    buried.put(instance, call.now)
    for old in buried.up_to(call.now - BURIED_KEPT_MS):
        buried.remove(old)
    for _, old in list(buried)[: max(0, len(buried) - BURIED_MAX)]:
        buried.remove(old)


def beat_unmoved(beat_now: str | None, counter: str) -> bool:
    """Whether the instance is as silent as the caller saw it; one without a beat is dead already."""
    return beat_now is None or beat_now == counter


def _count(call: Call, what: str) -> None:
    call.meta[what] = str(int(call.meta.get(what, "0")) + 1)


def _lose(call: Call, job_id: str, claim: str, instance: str, age_ms: str) -> None:
    """A job whose runner is dead: its claim is over, and fallback decides about the outcome `lost`."""
    call.free_slot(instance, job_id)
    job = call.load(job_id)
    if job is None or job.state != RUNNING or job.fields.get("claim") != claim:
        return
    _count(call, "recovered")
    call.record(
        job,
        "stale_recovered",
        "reaper",
        f'{{"from":"running","to":"running","worker":"{instance}","epoch":{job.fields["epoch"]}'
        f',"age_ms":{age_ms}}}',
    )
    ending = f'{{"outcome":"lost","reason":"runner_dead","runner":"{instance}"}}'
    call.move(job, Event.BURY, "reaper", ending)
    # Not accepted, so `past` stays what it was: the late result of this claim is an orphan.
    job.fields["taken"] = claim
    job.drop("claim")
    call.undecide(job, ending)


def _forget(call: Call, instance: str, about: Mapping[str, Any]) -> None:
    """Removes what the instance owned."""
    for name in ("instances", "beats", "seen"):
        call.hash(name).pop(instance, None)
    for word in ("drain", "drain_by"):
        call.hash("desired").pop(f"runner:{instance}:{word}", None)
    excuse(call, instance)
    role = about.get("role", "")
    if role == "runner":
        pool = about["pool"]
        call.hash(f"slots:{pool}").pop(instance, None)
        resting = call.space.zset(f"{call.shard}resting:{pool}")
        for gone in (instance, *resting.up_to(call.now - REST_MS_MAX)):
            resting.remove(gone)
        for name in (f"inbox:{instance}", f"lastcall:{instance}"):
            call.space.delete(call.shard + name)
        for name in (f"ready:{pool}", f"wake:{pool}"):
            stream = call.space.stream(call.shard + name)
            if stream is not None and "runners" in stream.groups:
                stream.groups["runners"].remove(instance)
    elif role in MAILBOXES:
        _hand_on(call, call.shard + MAILBOXES[role], role, instance)
    control = call.space.stream(f"{call.shard}control")
    if role == "scheduler" and control is not None and "control" in control.groups:
        control.groups["control"].remove(instance)


def _hand_on(call: Call, name: str, group_name: str, instance: str) -> None:
    """What a dead reader had not settled goes to the end of the stream, for the living."""
    stream = call.space.stream(name)
    group = stream.groups.get(group_name) if stream is not None else None
    if stream is None or group is None:
        return
    pending = sorted(one for one, reader in group.pending.items() if reader == instance)
    for entry_id in pending[:BATCH_ITEMS_MAX]:
        fields = stream.get(entry_id)
        if fields is not None:
            call.space.append(name, fields)
        call.space.settle_entry(name, group_name, entry_id)
    if len(pending) < BATCH_ITEMS_MAX:
        group.remove(instance)
