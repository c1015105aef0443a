"""Positions in long lists, as readers hand them back: opaque to them, a score to us; and what stands there.

A cursor says which list it belongs to (the kind and all filters, as a digest), so that one from another
list is refused instead of losing entries in silence. It grants nothing, so it is not signed.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import astuple
from typing import Any, Final

from contracts.errors import ErrorCode, Refused
from orch.core.asks import JobFilter, LetterFilter, ScheduleFilter, SessionFilter
from orch.store.connection import Connection

Which = LetterFilter | JobFilter | ScheduleFilter | SessionFilter
"""What a list was asked for."""
_VERSION: Final = 1
_CURSOR: Final = re.compile(
    rf"\A{_VERSION}\.(?P<mark>[0-9a-f]{{10}})\.(?P<position>[0-9]{{1,16}})\Z"
)


def scored(reply: Any) -> list[tuple[int, str]]:
    """Members of a sorted set with their whole scores, in either shape that redis-py answers in."""
    if reply and isinstance(reply[0], tuple | list):
        return [(int(float(score)), member) for member, score in reply]
    return [
        (int(float(score)), member) for member, score in zip(reply[::2], reply[1::2], strict=True)
    ]


async def newest(
    connection: Connection, key: str, before: int | None, most: int
) -> list[tuple[int, str]]:
    """Score and member of a sorted set, highest score first: all, or those below `before`."""
    highest = "+inf" if before is None else f"({before}"
    words = (highest, "-inf", "BYSCORE", "REV", "LIMIT", 0, most, "WITHSCORES")
    return scored(await connection.execute("ZRANGE", key, *words))


async def newest_of_tenants(
    connection: Connection,
    tenant: str | None,
    key_of: Callable[[str], str],
    before: int | None,
    most: int,
) -> list[tuple[int, str, str]]:
    """Score, tenant and member of the sorted sets of one tenant, or of all taken as one; as `newest`."""
    found: list[tuple[int, str, str]] = []
    for one in await tenants_of(connection, tenant):
        members = await newest(connection, key_of(one), before, most)
        found += [(score, one, member) for score, member in members]
    return sorted(found, reverse=True)[:most]


async def tenants_of(connection: Connection, tenant: str | None) -> Sequence[str]:
    """The tenant that is meant; None: all that are known, by name."""
    if tenant is not None:
        return [tenant]
    return sorted(await connection.execute("SMEMBERS", connection.keys.tenants))


def cursor_out(which: Which, position: int) -> str:
    """A position in the list of these, as readers get it."""
    text = f"{_VERSION}.{_mark(which)}.{position}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def cursor_in(which: Which, cursor: str | None) -> int | None:
    """The position a reader gave back, in the list of these.

    Raises:
        Refused: INVALID_REQUEST, it is none of ours, or of another list.
    """
    if cursor is None:
        return None
    match = _CURSOR.match(_decoded(cursor))
    if match is None:
        raise _refused("that cursor is none of ours")
    if match["mark"] != _mark(which):
        raise _refused("that cursor belongs to a list with other filters")
    return int(match["position"])


def check_age(position: int | None, newest: int) -> None:
    """A list only grows at its newest end; a position beyond it is from data that was lost since.

    Raises:
        Refused: EXPIRED_CURSOR.
    """
    if position is not None and position > newest:
        raise Refused(
            ErrorCode.EXPIRED_CURSOR, "that cursor is older than the server's data, which went back"
        )


def _mark(which: Which) -> str:
    words = repr((type(which).__name__, astuple(which)))
    return hashlib.sha256(words.encode()).hexdigest()[:10]


def _decoded(cursor: str) -> str:
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return raw.decode("ascii")
    except ValueError:
        return ""


def _refused(message: str) -> Refused:
    # The cursor is not said again: it may be anything, somebody's secret too.
    return Refused(ErrorCode.INVALID_REQUEST, message, details={"path": "cursor"})
