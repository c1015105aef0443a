"""What one job may cost on the server: commands and bytes, never times (perf/budget.json).

A thousand jobs, a hundred in a call, as a busy runner has them. What a call costs once is shared by its jobs.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from orch.core.asks import Ask
from tests.store.world import Runner, World, ending

pytestmark = pytest.mark.first_answers  # a repeated call costs commands again

BUDGET = json.loads((Path(__file__).parents[2] / "perf" / "budget.json").read_text())
JOBS, BATCH = 1_000, 100
SPEC = {
    "name": "noop",
    "adapter": {"name": "python", "config": {"callable": "jobs:noop", "isolation": "inline"}},
}

on_a_real_server = pytest.mark.parametrize("engine", ["valkey"], indirect=True)


async def commands(world: World) -> int:
    """How many the server has carried out, those inside functions included."""
    stats: dict[str, Any] = await world.redis("INFO", "commandstats")
    return sum(int(one["calls"]) for name, one in stats.items() if name != "cmdstat_info")


async def cost(world: World, act: Callable[[], Awaitable[None]]) -> float:
    """Commands a job."""
    before = await commands(world)
    await act()
    return (await commands(world) - before) / JOBS


async def submit(world: World) -> None:
    await world.pool()
    for _ in range(0, JOBS, BATCH):
        await world.store.admission.admit([Ask(SPEC)] * BATCH)


async def claim(runner: Runner) -> None:
    assert len((await runner.cycle(free=JOBS)).offers) == JOBS


async def drain(runner: Runner) -> None:
    offers = (await runner.cycle(free=BATCH)).offers
    while offers:
        ended = [ending("settle", offer) for offer in offers]
        offers = (await runner.cycle(*ended, free=BATCH)).offers


@on_a_real_server
@pytest.mark.req("PERF-3")
async def test_a_job_costs_no_more_commands_than_its_budget(world: World) -> None:
    budget = BUDGET["commands_per_job"]
    assert await cost(world, lambda: submit(world)) <= budget["admit"]
    runner = await world.runner(slots=JOBS)
    assert await cost(world, lambda: claim(runner)) <= budget["claim"]


@on_a_real_server
@pytest.mark.req("PERF-3")
async def test_a_job_that_is_claimed_and_settled_in_steady_state_keeps_its_budget(
    world: World,
) -> None:
    await submit(world)
    runner = await world.runner(slots=BATCH)
    assert await cost(world, lambda: drain(runner)) <= BUDGET["commands_per_job"]["drain"]


async def used(world: World) -> int:
    return int((await world.redis("INFO", "memory"))["used_memory"])


@on_a_real_server
@pytest.mark.req("PERF-2", "PERF-3")
async def test_a_queued_and_a_finished_job_take_no_more_bytes_than_their_budget(
    world: World,
) -> None:
    await submit(world)  # what is paid once: the library, the streams, the tables of names
    before = await used(world)
    await submit(world)
    assert (await used(world) - before) / JOBS <= BUDGET["bytes_per_job"]["queued"]
    runner = await world.runner(slots=BATCH)
    await drain(runner)
    before = await used(world)
    await submit(world)
    await drain(runner)
    assert (await used(world) - before) / JOBS <= BUDGET["bytes_per_job"]["finished"]
