"""Webhooks: what a job's end posts, hook, collect, deliver and post."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from contracts import limits
from contracts.states import State
from orch.core.ledger import state_of
from tests.sim.model.memory import remember, said_to

if TYPE_CHECKING:
    from tests.sim.model.call import Call, Job, Reply

DELIVERY = 5
LISTS = ("posts", "tries", "tally", "delivered", "undelivered")


def tell(call: Call, job: Job) -> None:
    """What just happened to the job is posted to each hook of its tenant that wants it."""
    if "w" not in job.fields.get("ties", "").split():
        return
    tenant = job.fields["tenant"]
    event = f"job.{State(state_of(job.state)).value}"
    for hook_id, text in sorted(call.hash(f"hooks:{tenant}").items()):
        place = f"{tenant}:{hook_id}"
        if "off" not in call.hash(f"tally:{place}") and event in json.loads(text)["events"]:
            member = f"{job.state}:{job.seq}:{call.now}:{job.job_id}"
            call.posts.setdefault(place, []).append(member)


def post_all(call: Call) -> None:
    """At the end of a call: the deliveries stand in their lines, and a notifier hears of it."""
    for place, members in sorted(call.posts.items()):
        line = call.space.zset(f"{call.shard}posts:{place}")
        room = max(0, limits.WEBHOOK_POSTS_MAX - len(line))
        if len(members) > room:
            grow(call, place, "dropped", len(members) - room)
        for member in members[:room]:
            if member not in line:
                line.put(member, call.now)
        if room:
            _notice(call, place, call.now)


def grow(call: Call, place: str, name: str, by: int = 1) -> None:
    """One of the hook's numbers."""
    tally = call.hash(f"tally:{place}")
    tally[name] = str(int(tally.get(name, "0")) + by)


def _notice(call: Call, place: str, at: float) -> None:
    if int(call.hash(f"tally:{place}").get("busy", "0")) > call.now:
        return
    unsent = call.space.zset(f"{call.shard}unsent")
    known = unsent.score(place)
    if known is None or at < known:
        unsent.put(place, at)
    _wake(call, place)


def _wake(call: Call, place: str) -> None:
    if not call.noticed:
        call.noticed = True
        name = f"{call.shard}notices"
        call.space.append(name, {"hook": place}, most=16, exactly=True)


def hook(call: Call, argv: Sequence[str]) -> Reply:
    """hook: registers or changes a webhook, switches it on, or removes it."""
    what, tenant, hook_id, text, seen, most, every = argv
    if what == "put":
        refused = _judge_put(call, tenant, hook_id, text, seen, (int(most), int(every)))
        if refused:
            return refused
        call.hash(f"hooks:{tenant}")[hook_id] = text
        call.hash("webhooks")[hook_id] = tenant
        call.space.members(f"{call.shard}tenants")[tenant] = None
        return call.done()
    if hook_id not in call.hash(f"hooks:{tenant}"):
        return ["unknown"]
    return (_switch_on if what == "on" else _remove)(call, tenant, hook_id)


def _judge_put(
    call: Call, tenant: str, hook_id: str, text: str, seen: str, limit: tuple[int, int]
) -> Reply:
    hooks = call.hash(f"hooks:{tenant}")
    known = hooks.get(hook_id)
    if known is not None:
        return ["same"] if known == text else [] if known == seen else ["changed"]
    if seen:
        return ["unknown"]
    counts = zip((hooks, call.hash("webhooks")), limit, strict=True)
    return next((["full", most] for found, most in counts if len(found) >= most), [])


def _switch_on(call: Call, tenant: str, hook_id: str) -> Reply:
    place = f"{tenant}:{hook_id}"
    if call.hash(f"tally:{place}").pop("off", None) is None:
        return ["same"]
    first = call.space.zset(f"{call.shard}posts:{place}").first()
    if first is not None:
        _notice(call, place, first[0])
    return call.done()


def _remove(call: Call, tenant: str, hook_id: str) -> Reply:
    del call.hash(f"hooks:{tenant}")[hook_id]
    call.hash("webhooks").pop(hook_id, None)
    call.space.zset(f"{call.shard}unsent").remove(f"{tenant}:{hook_id}")
    for family in LISTS:
        call.space.delete(f"{call.shard}{family}:{tenant}:{hook_id}")
    return call.done()


def menders(call: Call, repairs: list[Any]) -> dict[str, Callable[[str], None]]:
    """What repair does with the keys of each family."""
    kept = {family: partial(_mend, call, repairs, family) for family in LISTS}
    return {**kept, "hooks": partial(_mend_index, call, repairs)}


def _mend(call: Call, repairs: list[Any], family: str, place: str) -> None:
    tenant, _, hook_id = place.partition(":")
    name = f"{family}:{place}"
    if hook_id not in call.hash(f"hooks:{tenant}"):
        call.space.delete(call.shard + name)
        repairs.append(["leftover", name])
        return
    unsent = call.space.zset(f"{call.shard}unsent")
    if family != "posts" or "off" in call.hash(f"tally:{place}") or place in unsent:
        return
    first = call.space.zset(call.shard + name).first()
    assert first is not None
    unsent.put(place, first[0])
    _wake(call, place)
    repairs.append(["unsent", place])


def _mend_index(call: Call, repairs: list[Any], tenant: str) -> None:
    index = call.hash("webhooks")
    for hook_id in sorted(call.hash(f"hooks:{tenant}")):
        if hook_id not in index:
            index[hook_id] = tenant
            repairs.append(["webhooks", hook_id])


def collect(call: Call, argv: Sequence[str]) -> Reply:
    """collect: gives a notifier due deliveries of some webhooks, for its own until a time."""
    hooks, most, busy_ms = (int(word) for word in argv)
    unsent = call.space.zset(f"{call.shard}unsent")
    places = unsent.up_to(call.now, hooks)
    found = [one for place in places if (one := _collect(call, place, most, busy_ms))]
    first = unsent.first()
    next_in = -1 if first is None else int(max(0, first[0] - call.now))
    return call.done(found, next_in) if places else ["none", next_in]


def _collect(call: Call, place: str, most: int, busy_ms: int) -> Reply:
    tenant, _, hook_id = place.partition(":")
    text = call.hash(f"hooks:{tenant}").get(hook_id)
    tally = call.hash(f"tally:{place}")
    if text is None or "off" in tally:
        call.space.zset(f"{call.shard}unsent").remove(place)
        return []
    members = call.space.zset(f"{call.shard}posts:{place}").up_to(call.now, most)
    if not members:
        tally.pop("busy", None)
        _rest(call, place)
        return []
    busy = str(call.now + busy_ms)
    tally["busy"] = busy
    call.space.zset(f"{call.shard}unsent").put(place, int(busy))
    return [tenant, hook_id, text, busy, [_post_of(call, place, one) for one in members]]


def _post_of(call: Call, place: str, member: str) -> Reply:
    _, seq, _, job_id = member.split(":", 3)
    tries = call.hash(f"tries:{place}").get(member, "")
    if tries:
        return [member, tries, "", "", "", ""]
    job = call.hash(f"job:{job_id}")
    name = json.loads(job.get("spec", "{}")).get("name", "")
    return [member, "", name, *(job.get(name, "") for name in (seq, "result", "pool"))]


def _rest(call: Call, place: str) -> None:
    first = call.space.zset(f"{call.shard}posts:{place}").first()
    unsent = call.space.zset(f"{call.shard}unsent")
    if first is None:
        unsent.remove(place)
    else:
        unsent.put(place, first[0])
        if first[0] <= call.now:
            _wake(call, place)


def deliver(call: Call, argv: Sequence[str]) -> Reply:
    """deliver: writes down how deliveries of one webhook went, each once, and when it is looked at again."""
    tenant, hook_id, busy, off, count = *argv[:4], int(argv[4])
    if hook_id not in call.hash(f"hooks:{tenant}"):
        return ["gone"]
    place = f"{tenant}:{hook_id}"
    rows = [argv[at : at + DELIVERY] for at in range(5, 5 + count * DELIVERY, DELIVERY)]
    verdicts = [_deliver(call, place, row) for row in rows]
    tally = call.hash(f"tally:{place}")
    said = zip(verdicts, rows, strict=True)
    if off and any((word, row[2]) == ("ok", "dead") for word, row in said):
        tally["off"] = off
    if tally.get("busy") == busy:
        del tally["busy"]
        _rest(call, place)
    return call.done(verdicts)


def _deliver(call: Call, place: str, row: Sequence[str]) -> str:
    member, tries, verdict, delay_ms, about = row
    line, past = call.space.zset(f"{call.shard}posts:{place}"), call.hash(f"tries:{place}")
    known = past.get(member, "0")
    if known.partition(" ")[0] != tries or member not in line or known == f"0 {about}":
        return "stale"
    if verdict == "again":
        line.put(member, call.now + int(delay_ms))
        past[member] = f"{int(tries) + 1} {about}"
    else:
        line.remove(member)
        past.pop(member, None)
        family = "undelivered" if verdict == "dead" else "delivered"
        kept = call.space.line(f"{call.shard}{family}:{place}")
        kept.appendleft(about)
        while len(kept) > limits.WEBHOOK_POSTS_KEPT:
            kept.pop()
    grow(call, place, verdict)
    return "ok"


def post(call: Call, argv: Sequence[str]) -> Reply:
    """post: puts deliveries of one webhook into its line by hand: a test, or dead ones once more."""
    tenant, hook_id, count = argv[0], argv[1], int(argv[2])
    place = f"{tenant}:{hook_id}"
    if hook_id not in call.hash(f"hooks:{tenant}"):
        return ["unknown"]
    rows = list(zip(argv[3::2], argv[4::2], strict=True))
    assert len(rows) == count
    new = [_is_new(call, place, member, about) for member, about in rows]
    if len(call.space.zset(f"{call.shard}posts:{place}")) + sum(new) > limits.WEBHOOK_POSTS_MAX:
        return ["full", limits.WEBHOOK_POSTS_MAX]
    verdicts = [_post(call, place, member, about) for member, about in rows]
    if "ok" not in verdicts:
        return ["same"]
    _notice(call, place, call.now)
    return call.done(verdicts)


def _is_new(call: Call, place: str, member: str, about: str) -> bool:
    if member in call.space.zset(f"{call.shard}posts:{place}"):
        return False
    if about:
        return about in call.space.line(f"{call.shard}undelivered:{place}")
    return said_to(call.hash(f"tally:{place}").get("tests", ""), member) is None


def _post(call: Call, place: str, member: str, about: str) -> str:
    line, tally = call.space.zset(f"{call.shard}posts:{place}"), call.hash(f"tally:{place}")
    tests = tally.get("tests", "")
    if about:
        dead = call.space.line(f"{call.shard}undelivered:{place}")
        if about not in dead:
            return "stale"
        dead.remove(about)
        call.hash(f"tries:{place}")[member] = f"0 {about}"
    elif member in line or said_to(tests, member) is not None:
        return "stale"
    else:
        tally["tests"] = remember(tests, member, "", limits.CALLS_KEPT)
    if member not in line:
        line.put(member, call.now)
    return "ok"
