"""A job that describes its pool: chosen at the door, told on the ledger, repeated without a second choice."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.errors import ErrorCode, Refused
from contracts.record import Submitted
from orch.core.asks import Ask
from orch.store.leases import Instance
from tests.store.world import World, spec


async def runner(world: World, pool: str, *capabilities: str, slots: int = 4) -> str:
    """A runner of a pool that can do this."""
    runner_id = f"{pool}-{'-'.join(capabilities) or 'plain'}"
    about = {"lease_ms": 15_000, "capabilities": list(capabilities)}
    await world.store.leases.register(Instance(runner_id, "runner", about, pool=pool, slots=slots))
    return runner_id


async def placed(world: World, job_id: str, **placement: Any) -> str:
    """The pool that a submission with this placement went to."""
    session = placement.pop("session", None)
    keys = {"session": session} if session else {}
    (answer,) = await world.ask(spec(id=job_id, placement=placement, **keys))
    assert isinstance(answer, Submitted), answer
    return (await world.store.reading.job(job_id)).pool


@pytest.mark.req("SCH-5")
async def test_a_pool_is_chosen_by_what_all_its_runners_can_do(world: World) -> None:
    await runner(world, "mixed", "gpu")
    await runner(world, "mixed", "cpu")
    await runner(world, "fast", "gpu", "big")
    assert await placed(world, "job", requires=["gpu"]) == "fast"
    first = (await world.store.reading.ledger("job", after=0, limit=1))[0]
    assert first.payload["placed"] == {"pool": "fast", "why": "only_one"}
    explained = await world.store.reading.explain("job")
    assert explained.facts["placed"] == {"pool": "fast", "why": "only_one"}


@pytest.mark.req("SCH-5")
async def test_jobs_of_one_call_are_spread_over_equal_pools(world: World) -> None:
    for name in ("a", "b"):
        await runner(world, name)
    answers = await world.ask(*(spec(id=f"job{n}", placement={}) for n in range(6)))
    assert all(isinstance(answer, Submitted) for answer in answers)
    pools = [(await world.store.reading.job(f"job{n}")).pool for n in range(6)]
    assert pools == ["a", "b"] * 3


@pytest.mark.req("SCH-5")
async def test_a_session_stays_where_it_was_while_that_pool_is_ready(world: World) -> None:
    await runner(world, "a")
    await runner(world, "b")
    assert await placed(world, "one", session="s", mode="prefer", pools=["b"]) == "b"
    assert await placed(world, "two", session="s") == "b"
    assert await placed(world, "other", session="t") == "a"
    await world.store.leases.register(Instance("b-plain", "runner", {}, pool="b", slots=0))
    assert await placed(world, "three", session="s") == "a"


@pytest.mark.req("SCH-5", "CTL-3")
@pytest.mark.parametrize("field", ["*:drain", "pool:a:drain", "runner:a-plain:drain"])
async def test_a_pool_that_drains_is_not_chosen(world: World, field: str) -> None:
    await runner(world, "a")
    await world.wish(**{field.replace(":", "__"): "c1"})
    (answer,) = await world.ask(spec(id="job", placement={}))
    assert isinstance(answer, Refused)
    assert (answer.code, answer.details) == (ErrorCode.NO_POOL, {"candidates": {"a": "it drains"}})
    await world.unwish(field)
    assert await placed(world, "job") == "a"


@pytest.mark.req("SCH-5", "CTL-3")
async def test_a_drained_runner_counts_for_nothing_of_its_pool(world: World) -> None:
    await runner(world, "a", slots=90)
    await runner(world, "a", "gpu", slots=1)
    await runner(world, "b", "gpu", slots=2)
    assert await placed(world, "first") == "a"
    await world.wish(**{"runner:a-plain:drain".replace(":", "__"): "c1"})
    assert await placed(world, "second") == "b", "one job for one slot there, none for two here"
    assert await placed(world, "third", requires=["gpu"], mode="prefer", pools=["a"]) == "a"


@pytest.mark.req("SCH-5", "ADM-6")
async def test_where_no_pool_fits_nothing_is_stored_and_each_pool_says_why(world: World) -> None:
    await runner(world, "a")
    before = await world.redis("DBSIZE")
    (answer,) = await world.ask(spec(id="job", placement={"mode": "pin", "pools": ["b"]}))
    assert isinstance(answer, Refused)
    assert answer.code is ErrorCode.NO_POOL
    assert answer.details == {"candidates": {"a": "not asked for", "b": "there is no such pool"}}
    assert await world.redis("DBSIZE") == before


@pytest.mark.req("SCH-5", "JOB-3")
async def test_who_asks_again_hears_of_the_job_even_when_no_pool_fits_any_more(
    world: World,
) -> None:
    await runner(world, "a")
    document = spec(placement={})
    (first,) = await world.store.admission.admit([Ask(document, "key")])
    await world.store.leases.register(Instance("a-plain", "runner", {}, pool="a", slots=0))
    (again,) = await world.store.admission.admit([Ask(document, "key")])
    assert isinstance(first, Submitted)
    assert isinstance(again, Submitted)
    assert (again.job_id, again.duplicate) == (first.job_id, True)


@pytest.mark.req("SCH-5", "ADM-6")
async def test_a_pool_and_a_placement_exclude_each_other(world: World) -> None:
    await world.pool()
    (answer,) = await world.ask(spec(pool="default", placement={}))
    assert isinstance(answer, Refused)
    assert answer.code is ErrorCode.INVALID_SPEC
