"""`python -m bench.prediction`: how true are predicted starts? The error, for three shapes of a backlog.

A private Valkey, one runner, jobs whose durations scatter (exponentially) about a mean. First some jobs run,
so that the pool's pace is known. Then all others come in one call, and each is told when it will start;
nothing comes in after them. An error is (told - true) as a part of the true waiting time.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from contracts.record import Submitted
from orch.core.asks import Ask
from orch.core.bounds import Bounds
from orch.core.handover import ClaimEnding
from orch.core.scheduling import scheduling_policy
from orch.store.admission import TOGETHER
from orch.store.connection import Connection
from orch.store.embedded import private_server
from orch.store.leases import Instance
from orch.store.store import Store, open_store
from orch.system import SystemClock, SystemIds

SLOTS, MEAN_MS, WARM, JOBS, TRIALS = 8, 60.0, 300, TOGETHER, 3
SHAPES = {
    "one line": [("batch", "a")],
    "two classes": [("interactive", "a"), ("batch", "a"), ("batch", "a")],
    "several tenants": [("batch", tenant) for tenant in ("a", "a", "a", "b", "b", "c", "d")],
}
"""Who the jobs belong to, in turn."""


@dataclass(slots=True)
class Trial:
    """One shape: what was told, and when each job started."""

    store: Store
    clock: SystemClock
    rng: random.Random
    told: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Job -> when it was submitted, and the start that it was told."""
    started: dict[str, float] = field(default_factory=dict)
    left: int = 0

    async def submit(self, prefix: str, owners: Sequence[tuple[str, str]], count: int) -> None:
        """All in one call."""
        adapter = {"name": "command", "config": {"argv": ["true"]}}
        owners_of = [owners[n % len(owners)] for n in range(count)]
        specs = [
            {
                "id": f"{prefix}{n}",
                "name": "x",
                "adapter": adapter,
                "priority": one,
                "tenant": tenant,
            }
            for n, (one, tenant) in enumerate(owners_of)
        ]
        now = self.clock.monotonic_ms()
        for answer in await self.store.admission.admit([Ask(spec) for spec in specs]):
            assert isinstance(answer, Submitted), answer
            if answer.predicted_start_ms:
                self.told[answer.job_id] = now, answer.predicted_start_ms
        self.left += count

    async def run(self) -> None:
        """A runner until nothing is left."""
        running: dict[str, tuple[float, str]] = {}
        number = 0
        while self.left:
            now = self.clock.monotonic_ms()
            over = [job_id for job_id, (ends, _) in running.items() if ends <= now]
            endings = [
                ClaimEnding("settle", job_id, running.pop(job_id)[1], {"outcome": "done"}, "{}", 0)
                for job_id in over
            ]
            number += 1
            cycled = await self.store.claims.cycle(
                "r",
                "default",
                number=number,
                free=SLOTS - len(running),
                random="x",
                endings=endings,
            )
            assert cycled is not None
            self.left -= len(over)
            for offer in cycled.offers:
                started = self.clock.monotonic_ms()
                self.started[offer.job_id] = started
                running[offer.job_id] = started + self.rng.expovariate(1 / MEAN_MS), offer.claim
            await self.clock.sleep_ms(1)

    def errors(self) -> list[tuple[float, float]]:
        """(true wait in ms, error as a part of it), of jobs that waited a tenth of a second."""
        found = []
        for job_id, (at, told) in self.told.items():
            waited = self.started[job_id] - at
            if job_id.startswith("job") and waited >= 100:
                found.append((waited, (told - waited) / waited))
        return found


async def measure(shape: str, seed: int) -> list[tuple[float, float]]:
    """The errors of one shape on a fresh server."""
    policy = scheduling_policy(
        ("interactive:8", "batch:1"), default_class="batch", scheduling="fair", aging_ms=60_000
    )
    clock = SystemClock()
    with tempfile.TemporaryDirectory() as home:
        async with private_server(Path(home) / "server", appendfsync="no") as server:
            connection = Connection(server.url, clock)
            store = open_store(
                connection, SystemIds(), policy, actor="bench", bounds=Bounds(1_000_000)
            )
            await store.leases.register(Instance("r", "runner", {}, "default", SLOTS))
            trial = Trial(store, clock, random.Random(seed))
            await trial.submit("warm", SHAPES[shape], WARM)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(trial.run)
                while trial.left > WARM / 6:
                    await clock.sleep_ms(5)
                await trial.submit("job", SHAPES[shape], JOBS)
            await connection.aclose()
    return trial.errors()


def line(shape: str, errors: Sequence[tuple[float, float]]) -> str:
    """One row: the middle of the error, and how large nine of ten are at most."""
    parts = [error for _, error in errors]
    sizes = sorted(abs(error) for error in parts)
    p90 = sizes[int(len(sizes) * 0.9)]
    return (
        f"| {shape} | {len(parts)} | {statistics.median(parts):+.0%} | "
        f"{statistics.median(sizes):.0%} | {p90:.0%} | {sizes[-1]:.0%} |"
    )


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.prediction", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print("| backlog | jobs | bias (median) | error (median) | nine of ten within | largest |")
    print("|---|---|---|---|---|---|")
    for shape in SHAPES:
        found = [anyio.run(measure, shape, options.seed + n) for n in range(TRIALS)]
        print(line(shape, [error for errors in found for error in errors]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
