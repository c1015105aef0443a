"""Claims: exactly one runner, a fresh claim, a repeated call that answers alike."""

from __future__ import annotations

import anyio
import pytest

from contracts.states import State
from tests.store.world import World, ending


@pytest.mark.req("LSE-1")
async def test_a_ready_job_is_claimed_and_runs_under_a_fresh_claim(world: World) -> None:
    runner, offer = await world.running("job")
    fields = await world.fields("job")
    assert await world.state("job") is State.RUNNING
    assert (fields["claim"], fields["runner"]) == (offer.claim, runner.runner_id)
    incarnation, number, _ = offer.claim.split(".")
    assert offer.epoch == int(incarnation) * 2**32 + int(number)
    assert await world.story("job") == ["admit", "dispatch", "claim"]


@pytest.mark.req("LSE-1")
async def test_many_runners_at_once_claim_every_job_exactly_once(world: World) -> None:
    runners = [await world.runner(slots=25) for _ in range(8)]
    ids = await world.submit_many("job", 200)
    claimed: list[str] = []

    async def work(n: int) -> None:
        while (await world.redis("XLEN", world.connection.keys.ready("default"))) > 0:
            claimed.extend(offer.job_id for offer in (await runners[n].cycle(free=7)).offers)

    async with anyio.create_task_group() as tasks:
        for n in range(8):
            tasks.start_soon(work, n)
    assert sorted(claimed) == ids


@pytest.mark.req("LSE-2")
async def test_a_settled_job_is_completed(world: World) -> None:
    runner, offer = await world.running("job")
    assert await runner.end(ending("settle", offer)) == ["ok"]
    assert await world.state("job") is State.COMPLETED
