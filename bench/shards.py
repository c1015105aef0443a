"""What a job costs the server when a house has one, two and four shards on the primaries of a Cluster.

    python -m bench.shards

Each shard lives on a primary of its own; one process fills and drains them, in turn and all at once. Prints
the CPU of each primary a job (submission to settlement, a hundred in a call), its ratio to the house of one
shard in the same run, and how evenly four tenants with unequal backlogs were served within each shard. This
machine's cores bound the jobs a second of all shards together, not what a shard costs its server.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import anyio
import orjson
from redis.crc import key_slot

from bench.server import Server, free_port, running_server
from bench.tenants import ADAPTER, SLOTS, policy_of
from contracts.limits import BATCH_ITEMS_MAX
from orch.core.asks import Ask
from orch.core.bounds import Bounds
from orch.core.handover import ClaimEnding
from orch.core.scheduling import TiePolicy
from orch.store.connection import Connection
from orch.store.keys import Keys
from orch.store.leases import Instance
from orch.store.store import Store, open_store
from orch.system import SystemClock, SystemIds

COUNTS: Final = (1, 2, 4)
NODES: Final = max(COUNTS)
CLUSTER_SLOTS: Final = 16_384
JOBS: Final = 10_000
ROUNDS: Final = 5
TENANTS: Final = ("a", "a", "a", "a", "a", "a", "a", "b", "c", "d")
"""Whose the n-th job is: seven of ten are the first tenant's."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one shard."""

    cpu_us: float
    """Of its server, a job."""
    share: float
    """The least served tenant's jobs to the best served one's, while all four had some waiting; 1 is even."""


def shard_on(node: int) -> int:
    """A shard whose slot this node serves."""
    width = CLUSTER_SLOTS // NODES
    numbers = range(CLUSTER_SLOTS)
    return next(n for n in numbers if key_slot(Keys(n).prefix.encode()) // width == node)


@contextmanager
def running_cluster(home: Path) -> Iterator[list[Server]]:
    """Primaries that share the slots evenly."""
    width = CLUSTER_SLOTS // NODES
    with ExitStack() as stack:
        buses = [free_port() for _ in range(NODES)]
        nodes = [
            stack.enter_context(running_server(home / str(bus), "none", bus_port=bus))
            for bus in buses
        ]
        for number, node in enumerate(nodes):
            node.client.execute_command("CLUSTER MEET", "127.0.0.1", nodes[0].port, buses[0])
            low = number * width
            node.client.execute_command("CLUSTER ADDSLOTSRANGE", low, low + width - 1)
        while not all(_is_whole(node) for node in nodes):
            nodes[0].process.pause()
        yield nodes


def _is_whole(node: Server) -> bool:
    return bool(node.client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")


async def _drained(store: Store) -> float:
    """Claims and settles everything; how even the tenants' shares were while all had jobs waiting."""
    about = Instance("bench", "runner", {"lease_ms": 3_600_000}, pool="default", slots=SLOTS)
    await store.leases.register(about)
    number, begun, endings = 0, list[str](), list[ClaimEnding]()
    while True:
        number += 1
        cycled = await store.claims.cycle(
            "bench", "default", number=number, free=SLOTS, random=f"r{number}", endings=endings
        )
        if cycled is None or (not cycled.offers and not endings):
            return _evenness(begun)
        begun += [orjson.loads(offer.spec)["tenant"] for offer in cycled.offers]
        endings = [
            ClaimEnding("settle", one.job_id, one.claim, {"outcome": "done"}, "null", 0)
            for one in cycled.offers
        ]


def _evenness(begun: Sequence[str]) -> float:
    """Up to where the smallest backlog was used up: from there on somebody's share is nobody's fault."""
    seen: Counter[str] = Counter()
    smallest = JOBS // len(TENANTS)
    for tenant in begun:
        seen[tenant] += 1
        if seen[tenant] == smallest:
            break
    return min(seen[one] for one in set(TENANTS)) / max(seen.values())


async def _one(server: Server, url: str, shard: int, costs: list[Cost]) -> None:
    connection = Connection(url, SystemClock(), shard=shard)
    policy, bounds = policy_of(TiePolicy()), Bounds(queue_jobs_max=10**7)
    store = open_store(connection, SystemIds(), policy, actor="bench", bounds=bounds)
    await store.timers.declare(["default"])
    server.count_anew()
    for at in range(0, JOBS, BATCH_ITEMS_MAX):
        batch = range(at, min(JOBS, at + BATCH_ITEMS_MAX))
        await store.admission.admit([Ask(_spec(n)) for n in batch])
    share = await _drained(store)
    costs.append(Cost(server.counted().cpu_s / JOBS * 1e6, share))
    await connection.aclose()


def _spec(n: int) -> dict[str, object]:
    return {"name": "noop", "adapter": ADAPTER, "tenant": TENANTS[n % len(TENANTS)]}


async def measured(nodes: Sequence[Server], count: int, *, at_once: bool) -> list[Cost]:
    """So many shards at work, all together or one after the other while the rest hold their data."""
    url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)
    costs: list[Cost] = []
    for node in nodes:
        node.empty()
    limit = anyio.CapacityLimiter(count if at_once else 1)
    async with anyio.create_task_group() as tasks:
        for number, node in enumerate(nodes[:count]):
            tasks.start_soon(_in_turn, limit, node, url, shard_on(number), costs)
    return costs


async def _in_turn(
    limit: anyio.CapacityLimiter, server: Server, url: str, shard: int, costs: list[Cost]
) -> None:
    async with limit:
        await _one(server, url, shard, costs)


async def main() -> None:
    """Prints the table: medians over shards and rounds, all counts once a round."""
    ways = (False, True)
    found: dict[tuple[int, bool], list[Cost]] = {(n, way): [] for n in COUNTS for way in ways}
    with tempfile.TemporaryDirectory() as home, running_cluster(Path(home)) as nodes:
        for _ in range(ROUNDS):
            for count, at_once in found:
                found[count, at_once] += await measured(nodes, count, at_once=at_once)
    print(f"{'shards':>6}{'worked on':>16}{'CPU us/job':>12}{'ratio':>8}{'least/most served':>20}")
    for (count, at_once), costs in found.items():
        base = median(one.cpu_us for one in found[1, at_once])
        cpu_us, share = median(one.cpu_us for one in costs), min(one.share for one in costs)
        how = "all at once" if at_once else "in turn"
        print(f"{count:6}{how:>16}{cpu_us:12.1f}{cpu_us / base:8.2f}{share:20.2f}")


if __name__ == "__main__":
    anyio.run(main)
