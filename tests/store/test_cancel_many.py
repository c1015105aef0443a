"""Cancel by filter: exactly the live jobs that fit and were there, in pieces, whoever goes on (CTL-1)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from contracts.commands import CommandStatus
from contracts.states import State
from tests.store.commanding import given
from tests.store.world import World


async def canceled_by(world: World, target: str, **args: Any) -> dict[str, Any]:
    await given(world, "cancel", target, **args)
    while await world.store.control.proceed():
        pass
    record = await world.store.control.command("c1")
    assert record.status is CommandStatus.DONE
    assert record.outcome is not None
    return record.outcome


async def crowd(world: World) -> None:
    """Jobs of two tenants in two pools, one of them running, one over."""
    await world.pool("default", "other")
    await world.submit("a1", tenant="a", name="red", labels={"team": "x"})
    await world.submit("a2", tenant="a", name="blue", labels={"team": "y"}, priority="interactive")
    await world.submit("b1", tenant="b", name="red", pool="other")
    await world.submit("b2", tenant="b", name="red")
    await world.store.steering.cancel("b2", by="me")
    runner = await world.runner(pool="other")
    await runner.claim_one()


@pytest.mark.req("CTL-1")
@pytest.mark.parametrize(
    ("target", "which", "meant"),
    [
        ("tenant:a", {}, {"a1", "a2"}),
        ("*", {"tenant": "b"}, {"b1"}),
        ("*", {"name": "red"}, {"a1", "b1"}),
        ("*", {"state": "running"}, {"b1"}),
        ("*", {"label": "team=x"}, {"a1"}),
        ("*", {"label": "team"}, {"a1", "a2"}),
        ("pool:default", {}, {"a1", "a2"}),
        ("queue:default:interactive", {}, {"a2"}),
        ("pool:other", {"pool": "default"}, set()),
        ("tenant:a", {"tenant": "b"}, set()),
    ],
)
async def test_a_filter_cancels_exactly_the_live_jobs_that_it_fits(
    world: World, target: str, which: dict[str, str], meant: set[str]
) -> None:
    await crowd(world)
    ids = ("a1", "a2", "b1", "b2")
    before = {one: await world.state(one) for one in ids}
    outcome = await canceled_by(world, target, filter=which)
    after = {one: await world.state(one) for one in ids}
    assert {one for one in ids if after[one] is not before[one]} == meant
    assert outcome == {"matched": len(meant), "canceled": len(meant)}
    for one in meant:
        last = (await world.ledger(one))[-1]
        assert (last.actor, last.payload["by"], last.payload["note"]) == (
            "control",
            "me",
            "control c1",
        )


@pytest.mark.req("CTL-1")
async def test_a_dry_run_counts_and_changes_nothing(world: World) -> None:
    await crowd(world)
    before = {name: v for name, v in (await world.contents()).items() if ":job:" in name}
    outcome = await canceled_by(world, "*", filter={"name": "red"}, dry_run=True)
    assert outcome == {"matched": 2, "canceled": 0}
    assert {n: v for n, v in (await world.contents()).items() if ":job:" in n} == before


@pytest.mark.req("CTL-1")
@pytest.mark.first_answers
async def test_a_long_cancel_goes_on_in_pieces_whoever_calls_and_ends_before_newcomers(
    world: World,
) -> None:
    await world.pool()
    old = await world.submit_many("old", 600)
    await given(world, "cancel", "pool:default")
    new = await world.submit_many("new", 3)
    calls = 1
    while await world.store.control.proceed():
        calls += 1
    record = await world.store.control.command("c1")
    assert calls == 3, "250 jobs a call"
    assert record.outcome == {"matched": 600, "canceled": 600}
    assert Counter(await world.states(old)) == {State.CANCELED: 600}
    assert Counter(await world.states(new)) == {State.QUEUED: 3}
    assert await world.store.control.proceed() == 0
