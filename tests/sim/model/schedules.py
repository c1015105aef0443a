"""schedule, unschedule and fire: what comes when is the caller's to say, what it makes is admission's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.limits import CALLS_KEPT, FIRE_AGAIN_MS, SCHEDULES_PER_TENANT_MAX
from contracts.states import Event
from tests.sim.model.batch import ITEM, Batch, Item, item_of
from tests.sim.model.call import Call, Job, Reply, quoted
from tests.sim.model.memory import remember, said_to

HEAD = 11


def timer_of(place: str) -> str:
    """The timer of `tenant:schedule`."""
    return f"cron:{place}:0"


def set_next(call: Call, place: str, next_at: int) -> None:
    """The time that is set, in the hash and among the timers; 0: none."""
    fields = call.hash(f"schedule:{place}")
    if next_at > 0:
        fields["next"] = str(next_at)
        call.set_timer(timer_of(place), next_at)
    else:
        fields.pop("next", None)
        call.space.zset(f"{call.shard}due").remove(timer_of(place))


def schedule(call: Call, argv: Sequence[str]) -> Reply:
    """schedule: stores a schedule and sets its timer; what is there already as it is said stays untouched."""
    tenant, schedule_id, about, paused, next_at, last, if_revision, pool = argv
    place = f"{tenant}:{schedule_id}"
    fields = call.hash(f"schedule:{place}")
    revision = fields.get("rev", "0")
    if fields and (fields["about"], fields["paused"]) == (about, paused):
        return ["same", int(revision)]
    if if_revision not in {"", revision}:
        return ["conflict", int(revision)]
    if fields.get("last", "") != last:
        return ["moved"]
    if pool and pool not in call.space.members(f"{call.shard}pools"):
        return ["no_pool"]
    if not fields:
        listed = call.space.zset(f"{call.shard}schedules:{tenant}")
        if len(listed) >= SCHEDULES_PER_TENANT_MAX:
            return ["full"]
        arrival = call.count("schedules", 1)
        fields |= {"made_at": str(call.now), "arrival": str(arrival)}
        listed.put(schedule_id, arrival)
        call.space.members(f"{call.shard}tenants")[tenant] = None
    now = str(call.now)
    fields |= {"rev": str(int(revision) + 1), "about": about, "paused": paused, "changed_at": now}
    set_next(call, place, int(next_at) if paused == "0" else 0)
    return call.done(int(revision) + 1)


def unschedule(call: Call, argv: Sequence[str]) -> Reply:
    """unschedule: removes a schedule with its timer; the jobs that it made are not touched."""
    tenant, schedule_id = argv
    place = f"{tenant}:{schedule_id}"
    if not call.hash(f"schedule:{place}"):
        return ["none"]
    set_next(call, place, 0)
    call.space.delete(f"{call.shard}schedule:{place}")
    call.space.zset(f"{call.shard}schedules:{tenant}").remove(schedule_id)
    return call.done()


@dataclass
class _Wish:
    schedule_id: str
    expected: str
    fire_at: str
    missed: str
    overlap: str
    mark: str
    item: Item | None = None
    refusal: Reply | None = None


def _wish(argv: Sequence[str]) -> _Wish:
    schedule_id, _, expected, fire_at, next_at, missed, overlap = argv[4:HEAD]
    mark = f"{expected} {fire_at} {next_at}"
    wish = _Wish(schedule_id, expected, fire_at, missed, overlap, mark)
    words = argv[HEAD:]
    if len(words) == ITEM:
        wish.item = item_of(*words)
        wish.item.origin = f'{{"schedule_id":"{schedule_id}","fire_at_ms":{fire_at}}}'
        wish.mark += f" {wish.item.job_id}"
    elif words:
        wish.refusal = ["refused", *words]
    return wish


def _hindrance(wish: _Wish, last: Job | None, batch: Batch) -> tuple[str, str]:
    """The fate and what it adds; an empty one: nothing keeps the job from being made."""
    if wish.item is None and wish.refusal is None:
        return "missed", ""
    answer = wish.refusal
    if answer is None and wish.item is not None:
        batch.judge(wish.item)
        answer = wish.item.answer
    if answer and answer[0] != "refused":
        return "fired", _job(answer[1])
    if last is not None and wish.overlap == "skip":
        return "skipped", _job(last.job_id)
    if not answer and wish.item is not None:
        batch.find_room(wish.item)
        answer = wish.item.answer
    if answer and answer[0] == "refused":
        return "refused", f',"code":"{answer[1]}","message":{quoted(answer[2])}'
    return "", ""


def _job(job_id: str) -> str:
    return f',"job_id":"{job_id}"'


def _known_by_key(call: Call, wish: _Wish, head: Sequence[str]) -> Reply:
    """A key that stands for a job already: which one, or that it is of other content."""
    if wish.item is None or not wish.item.key:
        return []
    actor, policy, bounds = head
    kind, *about = Batch(call, policy, bounds, actor).repeat_of(wish.item) or ["new"]
    if kind == "new":  # also the same call, cut in half before
        return []
    return [kind, *about] if kind == "refused" else [kind, about[0]]


def _carry_out(call: Call, wish: _Wish, last: Job | None, head: Sequence[str]) -> tuple[str, str]:
    actor, policy, bounds = head
    batch = Batch(call, policy, bounds, actor)
    result, more = _hindrance(wish, last, batch)
    if result:
        return result, more
    assert wish.item is not None, "nothing else could have been wished"
    job_id = wish.item.job_id
    # Room may have been made at the cost of the very job that is to be replaced.
    alive = last is not None and call.allows(last, Event.CANCEL)
    if last is not None and alive and wish.overlap == "replace":
        who = f'{{"by":"schedule:{wish.schedule_id}","note":"replaced by {job_id}","reason":"canceled"'
        call.end_early(last, Event.CANCEL, actor, who, "canceled")
    batch.finish()
    return "fired", _job(job_id)


def fire(call: Call, argv: Sequence[str]) -> Reply:
    """fire: carries out one time of a schedule: sets the next one and admits the job, or says why not."""
    wish, place = _wish(argv), f"{argv[3]}:{argv[4]}"
    fields, by_hand = call.hash(f"schedule:{place}"), wish.expected == "0"
    if not fields:
        return ["unknown"]
    memory, most = ("marks", CALLS_KEPT) if by_hand else ("mark", 1)
    known_calls = fields.get(memory, "")
    first = said_to(known_calls, wish.mark)
    if first is not None:
        return ["same", first]
    if fields["rev"] != argv[5] or not (by_hand or fields.get("next") == wish.expected):
        return ["moved"]
    if int(wish.expected) > call.now:
        return ["early"]
    known = _known_by_key(call, wish, argv[:3])
    if known:
        return known
    last = call.load(fields["job"]) if "job" in fields else None
    if last is not None and not call.allows(last, Event.CANCEL):
        last = None
    result, more = _carry_out(call, wish, last, argv[:3])
    said = (
        f'{{"result":"{result}","fire_at_ms":{wish.fire_at},"at_ms":{call.now},'
        f'"by_hand":{str(by_hand).lower()},"missed":{wish.missed}{more}}}'
    )
    fields |= {memory: remember(known_calls, wish.mark, said, most), "said": said}
    if result == "fired" and wish.item is not None:
        fields["job"] = wish.item.job_id
    _count(fields, result, 1)
    _count(fields, "missed", int(wish.missed))
    if not by_hand:
        fields["last"] = wish.fire_at
        set_next(call, place, int(argv[8]))
    return call.done(said, call.retired)


def _count(fields: dict[str, str], name: str, by: int) -> None:
    if by:
        fields[name] = str(int(fields.get(name, "0")) + by)


def hand_out(call: Call, member: str, place: str) -> bool:
    """A schedule's timer is due: whether it is the caller's to fire."""
    timers = call.space.zset(f"{call.shard}due")
    next_at = int(call.hash(f"schedule:{place}").get("next", "0"))
    if next_at == 0:
        timers.remove(member)
    elif next_at > call.now:
        timers.put(member, next_at)
    else:
        timers.put(member, call.now + FIRE_AGAIN_MS)
        return True
    return False


def mend(call: Call, place: str, repairs: list[list[str]]) -> None:
    """A schedule's hash is the truth of its timer and of its place in the list."""
    tenant, _, schedule_id = place.partition(":")
    fields = call.hash(f"schedule:{place}")
    timer = call.space.zset(f"{call.shard}due").score(timer_of(place))
    latest = max(call.now, int(fields.get("next", "0"))) + FIRE_AGAIN_MS
    if "next" in fields and (timer is None or timer > latest):
        set_next(call, place, int(fields["next"]))
        repairs.append(["due", place])
    listed = call.space.zset(f"{call.shard}schedules:{tenant}")
    if schedule_id not in listed:
        listed.put(schedule_id, int(fields.get("arrival", "0")))
        call.space.members(f"{call.shard}tenants")[tenant] = None
        repairs.append(["schedules", place])


def mend_list(call: Call, tenant: str, repairs: list[list[str]]) -> None:
    """Names of schedules that are gone leave the list."""
    listed = call.space.zset(f"{call.shard}schedules:{tenant}")
    for _, schedule_id in list(listed):
        place = f"{tenant}:{schedule_id}"
        if call.space.get(f"{call.shard}schedule:{place}") is None:
            listed.remove(schedule_id)
            repairs.append(["schedules", place])
