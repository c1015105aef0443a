"""What dispatch costs with one tenant and with ten thousand, and with many jobs that stand aside.

    python -m bench.tenants

Prints server time and commands a job, each as a ratio to the plain drain of one tenant in the same run: a
figure alone says more about the machine than about the program.
"""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio

from bench.server import Server, running_server
from contracts.limits import BATCH_ITEMS_MAX
from orch.core.asks import Ask
from orch.core.bounds import Bounds
from orch.core.handover import ClaimEnding
from orch.core.scheduling import SchedulingPolicy, TiePolicy, scheduling_policy
from orch.store.connection import Connection
from orch.store.leases import Instance
from orch.store.store import Store, open_store
from orch.system import SystemClock, SystemIds

JOBS: Final = 20_000
ROUNDS: Final = 3
SLOTS: Final = 100
ADAPTER: Final = {"name": "command", "config": {"argv": ["true"]}}


@dataclass(frozen=True, slots=True)
class Cost:
    """A job from its line to its end: claimed and settled, a hundred in a call."""

    server_us: float
    commands: float


def plain(tenants: int) -> Callable[[int], dict[str, Any]]:
    """The n-th spec of so many tenants."""
    return lambda n: {"name": "noop", "adapter": ADAPTER, "tenant": f"t{n % tenants}"}


def keyed(n: int) -> dict[str, Any]:
    """The n-th spec, each with a concurrency key of its own."""
    return {**plain(1)(n), "concurrency_key": f"k{n}"}


def policy_of(ties: TiePolicy) -> SchedulingPolicy:
    """The default classes, and these ties."""
    return scheduling_policy(
        ("interactive:8", "batch:1"),
        default_class="batch",
        scheduling="fair",
        aging_ms=60_000,
        ties=ties,
    )


def _batches(count: int, spec: Callable[[int], dict[str, Any]]) -> Iterator[list[Ask]]:
    for at in range(0, count, BATCH_ITEMS_MAX):
        yield [Ask(spec(n)) for n in range(at, min(count, at + BATCH_ITEMS_MAX))]


async def _submit(store: Store, count: int, spec: Callable[[int], dict[str, Any]]) -> None:
    for batch in _batches(count, spec):
        await store.admission.admit(batch)


async def _drain(store: Store, jobs: int) -> int:
    """Cycles of one runner until `jobs` are settled or none comes; how many were."""
    about = Instance("bench", "runner", {"lease_ms": 3_600_000}, pool="default", slots=SLOTS)
    await store.leases.register(about)
    number, settled, endings = 0, 0, list[ClaimEnding]()
    while settled < jobs:
        number += 1
        cycled = await store.claims.cycle(
            "bench", "default", number=number, free=SLOTS, random=f"r{number}", endings=endings
        )
        settled += len(endings)
        if cycled is None or (not cycled.offers and not endings):
            break
        endings = [
            ClaimEnding("settle", one.job_id, one.claim, {"outcome": "done"}, "null", 0)
            for one in cycled.offers
        ]
    return settled


async def measured(
    server: Server,
    spec: Callable[[int], dict[str, Any]],
    *,
    ties: TiePolicy | None = None,
    aside: int = 0,
) -> Cost:
    """The cost of a job of these, while `aside` others stand aside for a key that never comes free."""
    server.empty()
    connection = Connection(server.url, SystemClock())
    store = open_store(
        connection,
        SystemIds(),
        policy_of(ties or TiePolicy()),
        actor="bench",
        bounds=Bounds(queue_jobs_max=10**7),
    )
    await store.timers.declare(["default", "elsewhere"])
    if aside:
        stuck = {"name": "noop", "adapter": ADAPTER, "session": "s"}
        await _submit(store, 1, lambda _: {**stuck, "pool": "elsewhere"})
        await _submit(store, min(aside, BATCH_ITEMS_MAX - 1), lambda _: stuck)
    await _submit(store, JOBS, spec)
    server.count_anew()
    settled = await _drain(store, JOBS)
    counted = server.counted()
    await connection.aclose()
    return Cost(counted.command_us / settled, counted.commands / settled)


async def main() -> None:
    """Prints the table: of each case the best of several rounds, all cases once a round."""
    limited = TiePolicy(tenant_running_max=5)
    cases: dict[str, Callable[[Server], Awaitable[Cost]]] = {
        "1 tenant": lambda server: measured(server, plain(1)),
        "2 tenants": lambda server: measured(server, plain(2)),
        "100 tenants": lambda server: measured(server, plain(100)),
        "10,000 tenants": lambda server: measured(server, plain(10_000)),
        "10,000 tenants, each limited": lambda server: measured(
            server, plain(10_000), ties=limited
        ),
        "a key of its own each": lambda server: measured(server, keyed),
        "1 tenant, 999 others stand aside": lambda server: measured(server, plain(1), aside=999),
    }
    with tempfile.TemporaryDirectory() as home, running_server(Path(home), "none") as server:
        rounds = [{name: await case(server) for name, case in cases.items()} for _ in range(ROUNDS)]
    best = {
        name: min((one[name] for one in rounds), key=lambda cost: cost.server_us) for name in cases
    }
    base = best["1 tenant"]
    print(f"{'what':36}{'us/job':>8}{'ratio':>8}{'commands':>10}{'ratio':>8}")
    for name, cost in best.items():
        time, commands = cost.server_us / base.server_us, cost.commands / base.commands
        print(f"{name:36}{cost.server_us:8.1f}{time:8.2f}{cost.commands:10.2f}{commands:8.2f}")


if __name__ == "__main__":
    anyio.run(main)
