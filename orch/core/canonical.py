"""The one place where documents become bytes to compare or to sign: RFC 8785, then SHA-256 (CON-2).

Nearly every document holds nothing on which RFC 8785 and orjson with sorted keys differ; its bytes come
from orjson, thirty times as fast. What they may differ on is looked for in the bytes, so that a doubt
costs time and never a digest: such a document goes to the RFC's own library.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

import orjson
import rfc8785

from contracts.errors import ErrorCode, Refused
from contracts.limits import JSON_DEPTH_MAX

_OPTIONS: Final = (
    orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
)
_DOUBT: Final = re.compile(rb"[\[:,](?:-?[0-9]+[.e]|-?[0-9]{16}|null)")
"""A float (ES6 writes 1.0 as 1), an integer that may lie beyond 2**53, a null that may be a NaN. After
`[`, `:` or `,`, where values begin; text that looks alike is a doubt too."""
_ASTRAL: Final = re.compile(rb"[\xf0-\xf4]")
"""A character above U+FFFF. RFC 8785 sorts keys by UTF-16 units, orjson by code points: the same order
until such a character stands against one above the surrogates."""


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
    return _quickly(value) or _carefully(value)


def _quickly(value: Any) -> bytes | None:
    """The canonical bytes, when orjson's are beyond doubt the same."""
    if not isinstance(value, dict):
        return None
    try:
        text = orjson.dumps(value, option=_OPTIONS)
    except TypeError:
        return None
    # Brackets within strings count too: at most a reason to look closer. One more level for a scalar.
    if text.count(b"{") + text.count(b"[") >= JSON_DEPTH_MAX or _DOUBT.search(text):
        return None
    return text if text.isascii() or not _ASTRAL.search(text) else None


def _carefully(value: Any) -> bytes:
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
