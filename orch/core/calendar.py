"""When does a cron expression come, in its time zone? Values in, unix milliseconds out.

Five fields as Debian's cron reads them, or a word such as `@daily`. Clocks that are put forward or back: an
expression with a fixed hour fires once in the hour that comes twice, and at once after the one that never
comes; one whose hour or minute begins with `*` follows the time that passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from contracts.errors import ErrorCode, Refused
from contracts.limits import DAY_MS, HOUR_MS

WORDS: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIELDS: Final = 5
_LOOK_BACK_MS: Final = 2 * HOUR_MS
_LAST_MS: Final = (datetime(9999, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)
"""The calendar ends soon after."""


def _invalid(path: str, message: str) -> Refused:
    return Refused(ErrorCode.INVALID_SPEC, f"{path}: {message}", details={"path": path})


def fields_of(cron: str) -> str:
    """The five fields of an expression.

    Raises:
        Refused: INVALID_SPEC at `cron`.
    """
    words = cron.split()
    if len(words) == 1 and words[0].startswith("@"):
        if words[0].lower() not in WORDS:
            raise _invalid("cron", f"there is no {words[0][:20]!r}; there are {', '.join(WORDS)}")
        return WORDS[words[0].lower()]
    if len(words) != _FIELDS:
        raise _invalid(
            "cron", f"has {len(words)} fields, not {_FIELDS}: minute hour day month weekday"
        )
    try:
        CronSim(" ".join(words), _EPOCH)
    except (CronSimError, ValueError, AssertionError) as error:
        raise _invalid("cron", f"{str(error) or 'not an expression'} in {cron!r}") from None
    return " ".join(words)


@lru_cache(maxsize=64)
def _known_zone(name: str) -> tzinfo | None:
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def zone_of(name: str) -> tzinfo:
    """A time zone by its IANA name.

    Raises:
        Refused: INVALID_SPEC at `time_zone`.
    """
    zone = _known_zone(name)
    if zone is None:
        raise _invalid("time_zone", f"there is no zone {name!r} on this machine; UTC is everywhere")
    return zone


def _ms(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _moment(at_ms: int, zone: tzinfo) -> datetime:
    return (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(zone)


def _offset_ms(at_ms: int, zone: tzinfo) -> int:
    return (_moment(at_ms, zone).utcoffset() or timedelta()) // timedelta(milliseconds=1)


def _found_from(fields: str, zone: tzinfo, start_ms: int, after_ms: int) -> int | None:
    """What the library finds from `start_ms`, later than `after_ms`."""
    # In an hour that comes twice it begins before the moment that it was given.
    times = (_ms(moment) for moment in CronSim(fields, _moment(start_ms, zone)))
    try:
        return next((at_ms for at_ms in times if at_ms > after_ms), None)
    except OverflowError:
        return None


def _change_between(zone: tzinfo, low: int, high: int) -> int:
    """The moment at which the clocks there were moved, between two with different offsets."""
    before = _offset_ms(low, zone)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _offset_ms(middle, zone) == before else (low, middle)
    return high


def _first_after(fields: str, zone: tzinfo, after_ms: int) -> int | None:
    if after_ms >= _LAST_MS:
        return None
    found = _found_from(fields, zone, after_ms, after_ms)
    begin = after_ms - HOUR_MS
    if found is None or (_offset_ms(found, zone) - _offset_ms(begin, zone)) % HOUR_MS == 0:
        return found
    # The library looks from hour to hour. Clocks that are moved by half an hour bring it between the hours,
    # where it may miss a time of that day: it is asked again from each half hour since.
    moved = _change_between(zone, begin, found)
    for start_ms in range(moved - 1, min(found, moved + DAY_MS), HOUR_MS // 2):
        found = min(found, _found_from(fields, zone, start_ms, after_ms) or found)
    return found


def times_after(cron: str, time_zone: str, after_ms: int) -> Iterator[int]:
    """All times later than `after_ms`, in order.

    Raises:
        Refused: INVALID_SPEC, no such expression or zone.
    """
    fields, zone = fields_of(cron), zone_of(time_zone)
    found = _first_after(fields, zone, after_ms)
    while found is not None:
        yield found
        found = _first_after(fields, zone, found)


def next_time(cron: str, time_zone: str, after_ms: int, end_ms: int | None = None) -> int | None:
    """The first time later than `after_ms` and not after `end_ms`; None when there is none."""
    found = next(times_after(cron, time_zone, after_ms), None)
    return found if found is not None and (end_ms is None or found <= end_ms) else None


def newest_times(cron: str, time_zone: str, after_ms: int, until_ms: int, most: int) -> list[int]:
    """The last `most` of the times later than `after_ms` and not after `until_ms`, in order.

    However long ago `after_ms` is: it looks back from the end, further and further, until it has enough.
    """
    back_ms = _LOOK_BACK_MS
    while True:
        start = max(after_ms, until_ms - back_ms)
        found: list[int] = []
        for at_ms in times_after(cron, time_zone, start):
            if at_ms > until_ms:
                break
            found.append(at_ms)
        if start == after_ms or len(found) >= most:
            return found[-most:]
        back_ms *= 4


def next_times(cron: str, time_zone: str, after_ms: int, most: int) -> list[int]:
    """The first `most` times later than `after_ms`."""
    return list(islice(times_after(cron, time_zone, after_ms), most))


def sentence_of(cron: str) -> str:
    """The expression in plain words, without its zone."""
    words: str = CronSim(fields_of(cron), _EPOCH).explain()
    return words


def local_time(time_zone: str, at_ms: int) -> str:
    """A moment as the clocks of a zone show it, with their offset."""
    return _moment(at_ms, zone_of(time_zone)).isoformat(timespec="minutes")
