"""survey and census: what stands in one pool now, or in all."""

from __future__ import annotations

from collections.abc import Sequence

from tests.sim.model.call import RECALLED, Call, Reply


def survey(call: Call, argv: Sequence[str]) -> Reply:
    """survey: what stands in one pool now: runners, slots, what waits and what runs."""
    pool, heads = argv[0], int(argv[1])
    if pool not in call.space.members(f"{call.shard}pools"):
        return ["unknown"]
    ready = call.space.stream(f"{call.shard}ready:{pool}")
    depths = {
        name.rpartition(":")[2]: int(count)
        for name, count in call.hash("counters").items()
        if name.startswith(f"depth:{pool}:")
    }
    ages = [age for one, n in depths.items() if n > 0 for age in _ages(call, pool, one, heads)]
    return [
        "pool",
        _is_set(call, pool, "drain"),
        _is_set(call, pool, "intake"),
        _is_set(call, pool, "dispatch"),
        sum(depths.values()),
        0 if ready is None else len(ready),
        max(0, *ages, 0) if ages else -1,
        [_runner(call, *one) for one in sorted(call.hash(f"slots:{pool}").items())],
    ]


def _is_set(call: Call, pool: str, word: str) -> int:
    desired = call.hash("desired")
    return int(any(f"{scope}:{word}" in desired for scope in ("*", f"pool:{pool}")))


def _ages(call: Call, pool: str, class_name: str, heads: int) -> list[int]:
    """How long the heads of the first lines have waited."""
    found = []
    for _, tenant in list(call.space.zset(f"{call.shard}turn:{pool}:{class_name}"))[:heads]:
        line = call.space.line(f"{call.shard}queue:{pool}:{class_name}:{tenant}")
        job = call.load(line[0].partition(":")[0]) if line else None
        if job is not None and "queued_at" in job.fields:
            found.append(call.now - job.number("queued_at"))
    return found


def _runner(call: Call, instance: str, slots: str) -> Reply:
    return [
        instance,
        int(slots.removeprefix(RECALLED)),
        len(call.hash(f"held:{instance}")),
        int(f"runner:{instance}:drain" in call.hash("desired")),
        call.hash("instances").get(instance, "{}"),
    ]


def census(call: Call, argv: Sequence[str]) -> Reply:
    """census: what a whole shard does now, in one look."""
    heads, most = int(argv[0]), int(argv[1])
    found: dict[str, dict[str, int]] = {
        name: {} for name in call.space.members(f"{call.shard}pools")
    }
    for name, count in call.hash("counters").items():
        if name.startswith("depth:"):
            _, pool, class_name = name.split(":", 2)
            found.setdefault(pool, {})[class_name] = int(count)
    tenants = list(call.space.members(f"{call.shard}tenants"))
    dead = sum(len(call.space.zset(f"{call.shard}dead:{one}")) for one in tenants[:most])
    numbers = [
        len(tenants),
        dead,
        len(call.space.zset(f"{call.shard}due")),
        _age_of_first(call, "due"),
        len(call.space.zset(f"{call.shard}undecided")),
        _undecided_age(call, heads),
        *(len(call.space.stream(call.shard + name) or ()) for name in ("requests", "control")),
        *(len(call.space.zset(call.shard + name)) for name in ("open", "unsent")),
        *(int(call.meta.get(name, "0")) for name in ("burials", "recovered", "seq")),
    ]
    pools = [_counted(call, pool, found[pool], heads) for pool in sorted(found)]
    return ["census", pools, numbers]


def _age_of_first(call: Call, name: str) -> int:
    first = call.space.zset(call.shard + name).first()
    return -1 if first is None else max(-1, int(call.now - first[0]))


def _undecided_age(call: Call, heads: int) -> int:
    """By the ledger, of the first and the last: a repeated hint moves its outcome to the other end."""
    all_of_them = list(call.space.zset(f"{call.shard}undecided"))
    since = []
    for score, member in all_of_them[:heads] + all_of_them[-heads:]:
        job_id, _, seq = member.rpartition(":")
        job = call.load(job_id)
        entry = None if job is None else job.fields.get(seq)
        since.append(score if entry is None else int(entry.split()[0]))
    return max([-1, *(int(call.now - at) for at in since)])


def _counted(call: Call, pool: str, depths: dict[str, int], heads: int) -> Reply:
    closed = [_is_set(call, pool, word) for word in ("drain", "intake", "dispatch")]
    ready = call.space.stream(f"{call.shard}ready:{pool}")
    runners = [_runner(call, *one) for one in call.hash(f"slots:{pool}").items()]
    free = [max(0, has - held) for _, has, held, drained, _ in runners if not drained]
    lines: Reply = []
    for name in sorted(depths):
        ages = _ages(call, pool, name, heads) if depths[name] > 0 else []
        lines += [name, depths[name], max(0, *ages, 0) if ages else -1]
    slots, held = (sum(one[n] for one in runners) for n in (1, 2))
    total_free = 0 if closed[0] else sum(free)
    return [pool, *closed, len(ready or ()), len(runners), slots, held, total_free, lines]
