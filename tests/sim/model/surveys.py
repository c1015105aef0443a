"""survey: what stands in one pool now."""

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
