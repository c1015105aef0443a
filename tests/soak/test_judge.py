"""The judge of a soak notices what it is there to notice: growth, planted by hand, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from random import Random

import pytest

from tests.soak.judge import (
    BOUNDS,
    CEILINGS,
    SAMPLES_MIN,
    UNJUDGED,
    Row,
    Sample,
    bound_of,
    rows_of,
    too_few,
)

SAMPLES = 4 * SAMPLES_MIN


def series(measure: str, value: Callable[[int], float]) -> list[Sample]:
    return [{measure: value(n)} for n in range(SAMPLES)]


def row(measure: str, value: Callable[[int], float]) -> Row:
    (found,) = rows_of(series(measure, value))
    return found


@pytest.mark.req("SIM-5")
@pytest.mark.parametrize(
    ("measure", "at_rest", "a_sample"),
    [
        ("rss_kib:runner", 66_000, 100),
        ("rss_kib:server", 10_000, 100),
        ("memory_kib", 4_000, 20),
        ("fds:gateway", 30, 0.1),
        ("threads:runner", 4, 0.1),
        ("children:runner", 8, 0.1),
        ("zombies", 0, 0.1),
        ("agents", 6, 0.2),
        ("keys:job", 200, 2),
        ("keys:session", 0, 0.5),
        ("size:due", 3, 1),
        ("files", 12, 1),
        ("cpu_ms_per_s:scheduler", 20, 2),
        ("latency_ms:submit", 10, 1),
    ],
)
def test_a_planted_leak_is_noticed_in_every_kind_of_measure(
    measure: str, at_rest: float, a_sample: float
) -> None:
    noise = Random(1)
    assert row(measure, lambda n: at_rest * noise.uniform(0.97, 1.03) + a_sample * n).grew
    assert not row(measure, lambda _: at_rest * noise.uniform(0.97, 1.03)).grew


@pytest.mark.req("SIM-5")
def test_what_warms_up_and_what_comes_and_goes_has_not_grown() -> None:
    warm = SAMPLES // 5
    assert not row("rss_kib:runner", lambda n: 50_000 + 20_000 * min(n, warm) / warm).grew
    assert not row("keys:job", lambda n: 100 + 10 * (n % 12)).grew
    assert not row("memory_kib", lambda n: 90_000 if n == SAMPLES - 3 else 4_000).grew
    assert not row("size:sessions", lambda n: SAMPLES - n).grew


@pytest.mark.req("SIM-5")
@pytest.mark.parametrize(("measure", "most"), CEILINGS.items())
def test_what_is_bounded_by_a_number_may_fill_up_and_not_go_beyond(measure: str, most: int) -> None:
    assert not row(measure, lambda n: most * n / SAMPLES).grew
    assert row(measure, lambda n: most * (1 + n / SAMPLES)).grew


@pytest.mark.req("SIM-5")
def test_a_measure_that_nobody_knew_of_is_not_left_unjudged() -> None:
    with pytest.raises(KeyError):
        rows_of(series("sockets:gateway", float))
    assert bound_of("keys:affinity") is None
    assert bound_of("rss_kib:server") is not bound_of("rss_kib:runner")
    assert all(bound.why for bound in BOUNDS.values())
    assert all(UNJUDGED.values())


def test_a_measure_that_comes_late_was_nothing_before() -> None:
    samples = series("open", lambda _: 1) + series("size:aside", lambda _: 50)
    late = next(one for one in rows_of(samples) if one.measure == "size:aside")
    assert (late.second, late.last, late.ratio, late.grew) == (0, 50, float("inf"), True)


def test_few_samples_judge_nothing() -> None:
    numbers = count()
    assert too_few([{"open": next(numbers)} for _ in range(SAMPLES_MIN - 1)])
    assert not too_few([{"open": next(numbers)} for _ in range(SAMPLES_MIN)])
    assert rows_of([]) == []
