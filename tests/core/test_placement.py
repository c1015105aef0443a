"""Which pool takes a job that describes one: a table of small worlds, and laws that hold in all of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import ErrorCode, Refused
from contracts.spec import Placement
from orch.core.placement import Placed, PoolFacts, Why, place


def pool(name: str, **keys: Any) -> PoolFacts:
    """A pool of ten slots that can do nothing special and has nothing to do."""
    return PoolFacts(**{"name": name, "slots": 10, "load": 0, "capabilities": frozenset(), **keys})


def wish(**keys: Any) -> Placement:
    """A placement as a spec writes it."""
    return Placement.model_validate(keys)


GPU = frozenset({"gpu"})
POOLS = (
    pool("busy", load=9),
    pool("calm", load=1),
    pool("gpu", load=8, capabilities=GPU),
    pool("gone", slots=0),
    pool("leaving", draining=True),
)


@pytest.mark.req("SCH-5")
@pytest.mark.parametrize(
    ("placement", "last_pool", "chosen", "why"),
    [
        ({}, None, "calm", Why.LEAST_LOADED),
        ({}, "busy", "busy", Why.SESSION),
        ({}, "gone", "calm", Why.LEAST_LOADED),
        ({"avoid": ["calm"]}, None, "gpu", Why.LEAST_LOADED),
        ({"avoid": ["busy"]}, "busy", "calm", Why.LEAST_LOADED),
        ({"requires": ["gpu"]}, None, "gpu", Why.ONLY_ONE),
        ({"requires": ["gpu"]}, "calm", "gpu", Why.ONLY_ONE),
        ({"pools": ["busy", "gpu"]}, None, "gpu", Why.LEAST_LOADED),
        ({"mode": "prefer", "pools": ["busy", "calm"]}, None, "busy", Why.PREFERRED),
        ({"mode": "prefer", "pools": ["gone", "busy"]}, None, "busy", Why.PREFERRED),
        ({"mode": "prefer", "pools": ["gone"]}, None, "calm", Why.LEAST_LOADED),
        ({"mode": "pin", "pools": ["busy"]}, "calm", "busy", Why.PINNED),
    ],
)
def test_the_best_pool_that_fits_is_chosen_and_says_why(
    placement: dict[str, Any], last_pool: str | None, chosen: str, why: Why
) -> None:
    placed = place(wish(**placement), POOLS, last_pool=last_pool)
    assert (placed.pool, placed.why) == (chosen, why)


@pytest.mark.req("SCH-5")
@pytest.mark.parametrize(
    ("placement", "reasons"),
    [
        ({"mode": "pin", "pools": ["gone"]}, {"gone": "no runner serves it"}),
        ({"mode": "pin", "pools": ["leaving"]}, {"leaving": "it drains"}),
        ({"mode": "pin", "pools": ["nowhere"]}, {"nowhere": "there is no such pool"}),
        ({"mode": "pin", "pools": ["calm"], "requires": ["gpu"]}, {"calm": "it lacks gpu"}),
        ({"requires": ["gpu", "tpu"]}, {"gpu": "it lacks tpu", "busy": "it lacks gpu, tpu"}),
    ],
)
def test_where_nothing_fits_each_pool_says_why_and_a_pin_never_falls_back(
    placement: dict[str, Any], reasons: dict[str, str]
) -> None:
    with pytest.raises(Refused) as refused:
        place(wish(**placement), POOLS, last_pool="calm")
    assert refused.value.code is ErrorCode.NO_POOL
    candidates = (refused.value.details or {})["candidates"]
    assert {name: candidates[name] for name in reasons} == reasons


_names = st.sampled_from(["a", "b", "c", "d"])
_pools = st.lists(
    st.builds(
        PoolFacts,
        name=_names,
        slots=st.integers(0, 3),
        load=st.integers(0, 5),
        capabilities=st.frozensets(st.sampled_from(["x", "y"])),
        draining=st.booleans(),
    ),
    unique_by=lambda pool: pool.name,
)


@pytest.mark.req("SCH-5", "SCH-7")
@given(
    pools=_pools,
    requires=st.lists(st.sampled_from(["x", "y"]), unique=True),
    last_pool=st.none() | _names,
    order=st.randoms(use_true_random=False),
)
def test_the_choice_fits_is_as_light_as_any_and_does_not_depend_on_the_order_of_the_facts(
    pools: list[PoolFacts], requires: list[str], last_pool: str | None, order: Any
) -> None:
    asked = wish(requires=requires)
    able = {
        one.name: one
        for one in pools
        if one.slots and not one.draining and set(requires) <= one.capabilities
    }
    shuffled = order.sample(pools, len(pools))
    if not able:
        with pytest.raises(Refused):
            place(asked, pools, last_pool=last_pool)
        return
    placed: Placed = place(asked, pools, last_pool=last_pool)
    assert placed == place(asked, shuffled, last_pool=last_pool)
    assert set(placed.fitting) == set(able)
    if last_pool in able:
        assert placed.pool == last_pool
    else:
        chosen = able[placed.pool]
        assert all(chosen.load / chosen.slots <= one.load / one.slots for one in able.values())
