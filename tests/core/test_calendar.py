"""When an expression comes: known dates of clocks that are put forward and back, and what is none."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest

from contracts.errors import ErrorCode, Refused
from orch.core.calendar import (
    WORDS,
    fields_of,
    newest_times,
    next_time,
    next_times,
    sentence_of,
    times_after,
    zone_of,
)


def at(zone: str, text: str, *, fold: int = 0) -> int:
    """A wall clock reading of a zone as unix milliseconds."""
    return int(
        datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp() * 1000
    )


def told(zone: str, times: list[int]) -> list[str]:
    """Times as the wall clocks there show them."""
    shown = [datetime.fromtimestamp(one / 1000, ZoneInfo(zone)) for one in times]
    return [one.isoformat(timespec="minutes") for one in shown]


@pytest.mark.req("SCH-6")
@pytest.mark.parametrize(
    ("zone", "cron", "after", "comes"),
    [
        # The clock goes forward: the hour that never comes is made up for at once.
        ("Europe/Berlin", "30 2 * * *", "2026-03-28T12:00",
         ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"]),
        ("America/New_York", "30 2 * * *", "2026-03-07T12:00",
         ["2026-03-08T03:00-04:00", "2026-03-09T02:30-04:00"]),
        ("Australia/Lord_Howe", "15 2 * * *", "2026-10-03T12:00",
         ["2026-10-04T02:30+11:00", "2026-10-05T02:15+11:00"]),
        ("Africa/Cairo", "0 0 * * *", "2026-04-23T12:00",
         ["2026-04-24T01:00+03:00", "2026-04-25T00:00+03:00"]),
        # Two of its times lie in that hour: it comes once for both, not twice in the same minute.
        ("Europe/Berlin", "0,30 2 * * *", "2026-03-28T12:00",
         ["2026-03-29T03:00+02:00", "2026-03-30T02:00+02:00"]),
        # The clock goes back: the hour that comes twice is met once, the first time.
        ("Europe/Berlin", "30 2 * * *", "2026-10-24T12:00",
         ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]),
        ("America/New_York", "30 1 * * *", "2026-10-31T12:00",
         ["2026-11-01T01:30-04:00", "2026-11-02T01:30-05:00"]),
        ("Australia/Lord_Howe", "45 1 * * *", "2026-04-04T12:00",
         ["2026-04-05T01:45+11:00", "2026-04-06T01:45+10:30"]),
        # What follows the time that passes comes in both.
        ("Europe/Berlin", "0 * * * *", "2026-10-25T01:30",
         ["2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00", "2026-10-25T03:00+01:00"]),
        ("Europe/Berlin", "*/30 * * * *", "2026-03-29T01:15",
         ["2026-03-29T01:30+01:00", "2026-03-29T03:00+02:00"]),
        # A zone without such clocks.
        ("Asia/Kolkata", "30 2 * * *", "2026-03-28T12:00",
         ["2026-03-29T02:30+05:30", "2026-03-30T02:30+05:30"]),
    ],
)  # fmt: skip
def test_an_expression_comes_as_debians_cron_lets_it_come(
    zone: str, cron: str, after: str, comes: list[str]
) -> None:
    assert told(zone, next_times(cron, zone, at(zone, after), len(comes))) == comes


@pytest.mark.req("SCH-6")
def test_asked_in_the_hour_that_comes_twice_it_names_no_time_that_has_passed() -> None:
    zone = "America/New_York"
    second = at(zone, "2026-11-01T01:15", fold=1)
    first = next_time("45 1 * * *", zone, second)
    assert first is not None
    assert told(zone, [first]) == ["2026-11-02T01:45-05:00"]


ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "America/Santiago",
)


@pytest.mark.req("SCH-6")
@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    "cron", ["30 2 * * *", "0 0 * * *", "*/20 * * * *", "15 */3 * * *", "0 1,2,3 * * 0"]
)
@pytest.mark.parametrize("season", [("2026-03-01", "2026-05-01"), ("2026-09-01", "2026-11-10")])
def test_where_one_begins_to_look_makes_no_difference(
    zone: str, cron: str, season: tuple[str, str]
) -> None:
    """A season's times in one look; then each looked for from the one before it, and from between."""
    begin, end = (at("UTC", f"{day}T00:00") for day in season)
    times = list(takewhile(lambda one: one <= end, times_after(cron, zone, begin)))
    assert all(a < b for a, b in pairwise(times))
    moves = [n for n, (a, b) in enumerate(pairwise(times)) if _offset(zone, a) != _offset(zone, b)]
    around = {m for n in moves for m in range(max(0, n - 4), min(len(times) - 1, n + 5))}
    for n in sorted(around | set(range(0, len(times) - 1, 97))):
        for after in (times[n], (times[n] + times[n + 1]) // 2, times[n + 1] - 1):
            assert next_time(cron, zone, after) == times[n + 1], told(zone, [after, times[n + 1]])


def _offset(zone: str, at_ms: int) -> timedelta | None:
    return datetime.fromtimestamp(at_ms / 1000, ZoneInfo(zone)).utcoffset()


@pytest.mark.req("SCH-6")
@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("cron", ["30 2 * * *", "*/7 * * * *", "0 0 1 1 *"])
def test_the_newest_times_are_the_last_of_all(zone: str, cron: str) -> None:
    begin, end = at("UTC", "2026-09-20T00:00"), at("UTC", "2026-11-02T03:03")
    every = list(takewhile(lambda one: one <= end, times_after(cron, zone, begin)))
    for most in (1, 5, 100):
        assert newest_times(cron, zone, begin, end, most) == every[-most:]


@pytest.mark.req("SCH-6")
def test_nothing_lies_between_two_times() -> None:
    noon = at("UTC", "2026-01-01T12:00")
    assert newest_times("0 12 * * *", "UTC", noon, noon + 1_000, 9) == []
    assert next_time("0 12 * * *", "UTC", noon, noon + 1_000) is None
    assert next_time("0 12 * * *", "UTC", noon - 1, noon) == noon


@pytest.mark.req("SCH-6")
@pytest.mark.parametrize(
    "cron",
    [
        "", "*", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *",
        "* * * 13 *",
        "* * * * 8", "*/0 * * * *", "5-1 * * * *", "a * * * *", "0 0 30 2 *", "@reboot", "@",
        "* * * * ²L", "1,,2 * * * *",
    ],
)  # fmt: skip
def test_what_is_no_expression_is_refused_by_name(cron: str) -> None:
    with pytest.raises(Refused) as caught:
        fields_of(cron)
    assert (caught.value.code, caught.value.details) == (ErrorCode.INVALID_SPEC, {"path": "cron"})


@pytest.mark.req("SCH-6")
@pytest.mark.parametrize(
    "name", ["Mars/X", "../UTC", "Europe", "/etc/localtime", "a\0b", "CET+1:00"]
)
def test_what_is_no_zone_is_refused_by_name(name: str) -> None:
    with pytest.raises(Refused) as caught:
        zone_of(name)
    assert (caught.value.code, caught.value.details) == (
        ErrorCode.INVALID_SPEC,
        {"path": "time_zone"},
    )


@pytest.mark.req("SCH-6")
@pytest.mark.parametrize("word", sorted(WORDS))
def test_a_word_stands_for_its_fields(word: str) -> None:
    noon = at("UTC", "2026-06-15T12:00")
    assert next_times(word.upper(), "UTC", noon, 3) == next_times(WORDS[word], "UTC", noon, 3)


@pytest.mark.req("SCH-6")
def test_an_expression_is_told_in_plain_words() -> None:
    assert sentence_of("30 2 * * 1-5") == "At 02:30 on Monday through Friday"
    assert sentence_of("@daily") == "At 00:00 every day"


def test_the_end_of_the_calendar_is_no_error() -> None:
    for after in (at("UTC", "9998-12-31T00:00"), at("UTC", "9999-12-31T00:00"), 2**48):
        assert next_time("0 0 1 1 *", "Asia/Tokyo", after) in {
            None,
            at("Asia/Tokyo", "9999-01-01T00:00"),
        }
