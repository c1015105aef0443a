"""How often and how many at once, in virtual time (API-4, ADM-4)."""

from __future__ import annotations

import pytest

from actors.gateway.refusals import TOLD_EVERY_MS, Refusals
from actors.gateway.throttle import CALLERS_MAX, Seats, Throttle
from contracts.errors import ErrorCode, Refused
from tests.actors.gateway.test_callers import Clock


def refused_by(throttle: Throttle, caller: str) -> int | None:
    """How long to wait, or None when it may come in."""
    try:
        throttle.spend(caller)
    except Refused as refused:
        return refused.retry_after_ms if refused.code is ErrorCode.RATE_LIMITED else -1
    return None


@pytest.mark.req("API-4", "ADM-4")
def test_a_burst_may_come_at_once_and_then_the_rate() -> None:
    clock = Clock()
    throttle = Throttle(clock, rate=10, burst=3)

    assert [refused_by(throttle, "a") for _ in range(4)] == [None, None, None, 101]
    assert refused_by(throttle, "b") is None, "another caller has a bucket of its own"
    clock.now_ms += 100
    assert [refused_by(throttle, "a") for _ in range(2)] == [None, 101]
    clock.now_ms += 60_000
    assert [refused_by(throttle, "a") for _ in range(4)] == [None, None, None, 101]


@pytest.mark.req("API-4")
def test_whoever_waits_as_long_as_told_may_come_in() -> None:
    clock = Clock()
    for rate in (1, 3, 7, 1_000):
        throttle = Throttle(clock, rate=rate, burst=1)
        assert refused_by(throttle, "a") is None
        wait_ms = refused_by(throttle, "a")
        assert wait_ms is not None
        clock.now_ms += wait_ms
        assert refused_by(throttle, "a") is None, rate


def test_without_a_rate_nothing_is_counted() -> None:
    throttle = Throttle(Clock(), rate=0, burst=0)
    assert {refused_by(throttle, "a") for _ in range(1_000)} == {None}


def test_without_a_burst_a_seconds_worth_may_come_at_once() -> None:
    throttle = Throttle(Clock(), rate=5, burst=0)
    assert [refused_by(throttle, "a") for _ in range(6)].count(None) == 5


def test_callers_are_forgotten_when_there_are_too_many() -> None:
    throttle = Throttle(Clock(), rate=1, burst=1)
    assert refused_by(throttle, "first") is None
    for n in range(CALLERS_MAX):
        assert refused_by(throttle, f"caller-{n}") is None
    assert refused_by(throttle, "first") is None
    assert refused_by(throttle, f"caller-{CALLERS_MAX - 1}") is not None


@pytest.mark.req("API-4")
def test_a_seat_is_given_back_however_its_block_ends() -> None:
    seats = Seats(total=3, each=2)
    with seats.seat("a"), seats.seat("a"):
        with pytest.raises(Refused, match="caller_streams_max"), seats.seat("a"):
            pass
        with (
            seats.seat("b"),
            pytest.raises(Refused, match=r"\(streams_max\)"),
            seats.seat("c"),
        ):
            pass
        assert seats.taken == 2
    with pytest.raises(ZeroDivisionError), seats.seat("a"):
        raise ZeroDivisionError
    assert seats.taken == 0


@pytest.mark.req("API-4", "MET-3")
def test_a_flood_of_refusals_is_a_few_lines_with_counts(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    refusals = Refusals(clock)
    for _ in range(1_000):
        refusals.note(ErrorCode.UNAUTHENTICATED)
    refusals.note(ErrorCode.FORBIDDEN)
    clock.now_ms += TOLD_EVERY_MS
    refusals.note(ErrorCode.UNAUTHENTICATED)

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "count=1000" in lines[-1]
