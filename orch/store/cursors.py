"""Positions in long lists, as readers hand them back: opaque to them, a score to us."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from contracts.errors import ErrorCode, Refused


def scored(reply: Any) -> list[tuple[int, str]]:
    """Members of a sorted set with their whole scores, in either shape that redis-py answers in."""
    if reply and isinstance(reply[0], tuple | list):
        return [(int(float(score)), member) for member, score in reply]
    return [
        (int(float(score)), member) for member, score in zip(reply[::2], reply[1::2], strict=True)
    ]


def cursor_out(arrival: int) -> str:
    """A position as readers get it."""
    return base64.urlsafe_b64encode(str(arrival).encode()).decode().rstrip("=")


def cursor_in(cursor: str | None) -> int | None:
    """The position a reader gave back.

    Raises:
        Refused: INVALID_REQUEST, it is none of ours.
    """
    if cursor is None:
        return None
    try:
        return int(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error) as error:
        # Not said again: it may be anything, somebody's secret too.
        raise Refused(
            ErrorCode.INVALID_REQUEST, "that cursor is none of ours", details={"path": "cursor"}
        ) from error
