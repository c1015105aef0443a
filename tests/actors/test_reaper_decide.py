"""Who is silent: a table of looks at the beat counters (LSE-6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from actors.reaper.decide import (
    GAP_MS_MAX,
    LOOKS_A_LEASE,
    Observation,
    look_again_ms,
    observe,
    silent,
)
from contracts.limits import BEAT_FRACTION, LEASE_MS_MIN, TICK_MS
from orch.settings import settings_of

LEASE_MS = 3_000

Look = tuple[int, Mapping[str, int]]


def seen(*looks: Look) -> Observation:
    """What a reaper has seen after these looks: (its clock, the counters)."""
    observation = Observation()
    for now_ms, beats in looks:
        leases_ms = dict.fromkeys(beats, LEASE_MS) | {"patient": 2 * LEASE_MS}
        observation = observe(observation, beats, leases_ms, now_ms=now_ms)
    return observation


def buried_after(*looks: Look) -> list[str]:
    return [name for name, _ in silent(seen(*looks))]


def every_second(counters: Sequence[Mapping[str, int]], *, start_ms: int = 0) -> list[Look]:
    return [(start_ms + 1_000 * n, beats) for n, beats in enumerate(counters)]


def beating(n: int, **still: int) -> dict[str, int]:
    """Two that beat at every look, and some that stand still."""
    return {"b": n, "c": n + 7, **still}


@pytest.mark.req("LSE-6")
@pytest.mark.parametrize(
    ("looks", "buried"),
    [
        pytest.param([], [], id="before any look nobody is judged"),
        pytest.param([(0, {"a": 1})], [], id="one look shows no silence"),
        pytest.param(every_second([beating(n, a=5) for n in range(3)]), [], id="not yet a lease"),
        pytest.param(every_second([beating(n, a=5) for n in range(4)]), ["a"], id="a whole lease"),
        pytest.param(
            [*every_second([beating(n, a=5) for n in range(3)]), (3_000, beating(3, a=6))],
            [],
            id="a beat at the last moment",
        ),
        pytest.param(
            [*every_second([beating(n, a=5) for n in range(3)]), (3_000, beating(3))],
            [],
            id="who has left is not silent",
        ),
        pytest.param(
            every_second([beating(n, a=5, d=9) for n in range(5)]),
            ["a", "d"],
            id="two of four, not over half: no excuse",
        ),
        pytest.param(
            every_second([beating(n, patient=5) for n in range(6)]),
            [],
            id="judged by the lease it registered with, not by ours",
        ),
        pytest.param(
            every_second([beating(n, patient=5) for n in range(7)]),
            ["patient"],
            id="and then by that",
        ),
    ],
)
def test_silence_is_a_counter_that_does_not_move_for_a_lease(
    looks: list[Look], buried: list[str]
) -> None:
    assert buried_after(*looks) == buried


@pytest.mark.req("LSE-6")
def test_a_reaper_that_slept_saw_nothing_meanwhile() -> None:
    hour_ms = 3_600_000
    observation = seen((0, beating(0, a=5, patient=5)), (hour_ms, beating(1, a=5, patient=5)))
    # At most two seconds, and of a short lease at most half: one gap never buries anybody.
    assert observation.instances["patient"].silent_ms == GAP_MS_MAX
    assert observation.instances["a"].silent_ms == LEASE_MS // 2
    assert silent(observation) == []


@pytest.mark.req("LSE-6")
def test_an_instance_seen_for_the_first_time_has_a_whole_lease() -> None:
    looks = every_second([beating(n) for n in range(10)])
    assert buried_after(*looks, (10_000, beating(10, a=5)), (11_000, beating(11, a=5))) == []


@pytest.mark.req("LSE-6")
def test_most_of_all_silent_together_means_the_server_stalled_and_costs_one_more_lease() -> None:
    counters = {"a": 1, "b": 1, "c": 1}
    stalled = every_second([counters] * 4)
    assert seen(*stalled).grace_ms == LEASE_MS
    assert buried_after(*stalled) == []
    still = every_second([counters] * 7)
    assert buried_after(*still) == ["a", "b", "c"], "silent for another lease: they are dead"


@pytest.mark.req("LSE-6")
def test_after_a_stall_only_those_that_stay_silent_are_buried() -> None:
    stalled = every_second([{"a": 1, "b": 1, "c": 1}] * 4)
    after = [(4_000 + 1_000 * n, {"a": 1, "b": 2 + n, "c": 2 + n}) for n in range(3)]
    assert buried_after(*stalled, *after[:2]) == []
    assert buried_after(*stalled, *after) == ["a"]


@pytest.mark.req("LSE-6")
def test_a_single_instance_has_no_crowd_to_excuse_it() -> None:
    assert buried_after(*every_second([{"a": 1}] * 4)) == ["a"]


@pytest.mark.req("LSE-6")
def test_the_longest_silent_is_first_then_by_name() -> None:
    looks = every_second([beating(n, d=1) for n in range(2)])
    looks += [(2_000 + 1_000 * n, beating(2 + n, d=1, e=1, a=1)) for n in range(5)]
    found = silent(seen(*looks))
    assert [(name, watched.silent_ms) for name, watched in found] == [
        ("d", 6_000),
        ("a", 4_000),
        ("e", 4_000),
    ]


# -- how often to look

DEFAULT_LEASE_MS = settings_of({}).lease_ms


def registered(*leases_ms: int) -> Observation:
    """What a reaper has seen after one look at instances with these leases."""
    leases = {f"i{n}": lease_ms for n, lease_ms in enumerate(leases_ms)}
    return observe(Observation(), dict.fromkeys(leases, 1), leases, now_ms=0)


@pytest.mark.req("REA-4", "LSE-6")
@pytest.mark.parametrize(
    ("leases_ms", "again_ms"),
    [
        pytest.param([], TICK_MS, id="nobody is there"),
        pytest.param([DEFAULT_LEASE_MS], TICK_MS, id="the default lease: once a second"),
        pytest.param([LOOKS_A_LEASE * TICK_MS], TICK_MS, id="the shortest that a second is enough for"),
        pytest.param([DEFAULT_LEASE_MS, 2_000], 500, id="the shortest lease decides"),
        pytest.param([LEASE_MS_MIN], 250, id="the floor: four looks a second"),
        pytest.param([1], 250, id="no instance makes it more"),
    ],
)  # fmt: skip
def test_a_reaper_looks_four_times_within_the_shortest_lease_and_at_least_once_a_second(
    leases_ms: list[int], again_ms: int
) -> None:
    assert look_again_ms(registered(*leases_ms)) == again_ms


def looked_at(
    lease_ms: int, last_beats_ms: Sequence[float], *, until_ms: int
) -> list[tuple[int, Observation]]:
    """Every look, as often as the reaper wants to, at instances each of which beat three times a lease, for
    the last time then."""
    observation, looks, now_ms = Observation(), [], 0
    period_ms = lease_ms * BEAT_FRACTION
    while now_ms <= until_ms:
        beats = {
            f"i{n}": 1_000 - max(0, int((last_ms - now_ms) / period_ms + 1))
            for n, last_ms in enumerate(last_beats_ms)
        }
        observation = observe(observation, beats, dict.fromkeys(beats, lease_ms), now_ms=now_ms)
        looks.append((now_ms, observation))
        now_ms += look_again_ms(observation)
    return looks


@pytest.mark.req("REA-4", "LSE-6")
@pytest.mark.parametrize("lease_ms", [LEASE_MS_MIN, 1_500, 3_000, DEFAULT_LEASE_MS])
@pytest.mark.parametrize("phase", [0.01, 0.4, 0.9])
def test_who_beats_no_more_is_buried_a_lease_and_a_quarter_later_or_a_lease_and_a_second(
    lease_ms: int, phase: float
) -> None:
    dead_ms, alive_ms = int(10 * TICK_MS + phase * TICK_MS), 10**9
    looks = looked_at(lease_ms, [dead_ms, alive_ms, alive_ms], until_ms=dead_ms + 2 * lease_ms)
    buried_ms = next(now_ms for now_ms, observation in looks if silent(observation))
    assert lease_ms <= buried_ms - dead_ms <= lease_ms + min(TICK_MS, lease_ms / LOOKS_A_LEASE)


@pytest.mark.req("LSE-6")
@pytest.mark.parametrize("lease_ms", [LEASE_MS_MIN, 3_000, DEFAULT_LEASE_MS])
def test_a_stall_is_told_from_deaths_however_many_looks_there_are_within_the_period_of_a_beat(
    lease_ms: int,
) -> None:
    count, first_ms = 10, 20_000
    last_ms = [first_ms + n * lease_ms * BEAT_FRACTION / count for n in range(count)]
    looks = looked_at(lease_ms, last_ms, until_ms=first_ms + 4 * lease_ms)
    judged_ms = next(now_ms for now_ms, observation in looks if silent(observation))
    assert judged_ms - first_ms >= 2 * lease_ms, "one more lease passes before anybody is buried"
    (last_look,) = [observation for now_ms, observation in looks[-1:]]
    assert len(silent(last_look)) == count, "and then those that stayed silent are dead"
