"""The one place where documents become bytes to compare or to sign: RFC 8785, then SHA-256 (CON-2)."""

from __future__ import annotations

import hashlib
from typing import Any

import rfc8785

from contracts.errors import ErrorCode, Refused
from contracts.limits import JSON_DEPTH_MAX


def depth_of(value: Any) -> int:
    """How deep a document nests; counting stops above the bound."""
    level, deepest = [value], 0
    while level and deepest <= JSON_DEPTH_MAX:
        deepest += 1
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return deepest


def canonical(value: Any) -> bytes:
    """The RFC 8785 bytes of a JSON value.

    Raises:
        Refused: INVALID_SPEC, when the value has no canonical form: an integer beyond 2**53, a NaN, a
            lone surrogate, or more than JSON_DEPTH_MAX levels.
    """
    if depth_of(value) > JSON_DEPTH_MAX:
        raise Refused(
            ErrorCode.INVALID_SPEC,
            f"nested deeper than {JSON_DEPTH_MAX} levels",
            details={"path": "$", "depth_max": JSON_DEPTH_MAX},
        )
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise Refused(
            ErrorCode.INVALID_SPEC,
            f"no canonical form (RFC 8785): {error}",
            details={"path": "$"},
        ) from error


def digest(value: Any) -> str:
    """SHA-256 over the canonical bytes, in hexadecimal."""
    return hashlib.sha256(canonical(value)).hexdigest()
