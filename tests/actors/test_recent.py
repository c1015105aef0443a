"""What a runner remembers of the endings it delivered."""

from __future__ import annotations

import pytest

from actors.runner.recent import BYTES_MAX, Recent
from contracts.limits import BATCH_ITEMS_MAX
from orch.core.handover import ClaimEnding, Working


def told(n: int, *, data: str = "{}") -> tuple[Working, ClaimEnding]:
    job_id, claim = f"job{n}", f"1.{n}.x"
    return Working(job_id, claim, n, 1, 0, ""), ClaimEnding("settle", job_id, claim, {}, data)


@pytest.mark.req("LSE-2")
def test_endings_are_found_by_their_claims_in_the_order_asked_for() -> None:
    recent = Recent()
    kept = [told(n) for n in range(3)]
    for one in kept:
        recent.remember(*one)
    assert recent.working() == [working for working, _ in kept]
    assert recent.endings(["1.2.x", "9.9.never", "1.0.x"]) == [kept[2][1], kept[0][1]]


@pytest.mark.req("LSE-2")
def test_the_oldest_give_way_to_the_newest() -> None:
    recent = Recent()
    for n in range(BATCH_ITEMS_MAX + 5):
        recent.remember(*told(n))
    kept = [working.job_id for working in recent.working()]
    assert kept == [f"job{n}" for n in range(5, BATCH_ITEMS_MAX + 5)]


@pytest.mark.req("LSE-2")
def test_large_results_bound_the_memory_too() -> None:
    recent = Recent()
    for n in range(4):
        recent.remember(*told(n, data="x" * (BYTES_MAX // 2)))
    assert [working.job_id for working in recent.working()] == ["job2", "job3"]
