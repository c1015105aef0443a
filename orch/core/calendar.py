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
_LOOK_BACK_MS: Final = 2 * 3_600_000
_AT_MS_MAX: Final = 2**48


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
        raise _invalid("cron", f"{error or 'not an expression'} in {cron!r}") from None
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


def times_after(cron: str, time_zone: str, after_ms: int) -> Iterator[int]:
    """All times later than `after_ms`, in order.

    Raises:
        Refused: INVALID_SPEC, no such expression or zone.
    """
    fields, zone = fields_of(cron), zone_of(time_zone)
    last = after_ms
    try:
        for moment in CronSim(fields, (_EPOCH + timedelta(milliseconds=after_ms)).astimezone(zone)):
            # In an hour that comes twice the library begins before the moment that it was given.
            at_ms = _ms(moment)
            if at_ms > last:
                last = at_ms
                yield at_ms
    except OverflowError:  # the calendar ends with the year 9999
        return


def next_time(cron: str, time_zone: str, after_ms: int, end_ms: int | None = None) -> int | None:
    """The first time later than `after_ms` and not after `end_ms`; None when there is none."""
    found = next(times_after(cron, time_zone, min(after_ms, _AT_MS_MAX)), None)
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
