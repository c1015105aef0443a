"""What a legal id looks like: jobs, tenants, pools, classes, steps, sessions, questions.

Ids become parts of Redis keys and file names, so the pattern is narrow on purpose: no separator of a
key (`:`, `{`, `}`), no path separator and no `..` can be in one. Names that settings hold are here too.
"""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Final

from contracts.errors import ErrorCode, Refused
from contracts.limits import SHARD_MAX

ID_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_ID: Final = re.compile(ID_PATTERN.removesuffix("$") + r"\Z")
ID_SCHEMA: Final = {"pattern": r"^[A-Za-z0-9](\.?[A-Za-z0-9_-])*\.?$", "maxLength": 64}
"""The same rule, `..` and all, as JSON Schema can say it: it has no way to look ahead in every dialect."""


def is_id(text: str) -> bool:
    """Whether `text` is a legal id."""
    return _ID.match(text) is not None and ".." not in text


def checked_id(text: str, *, what: str = "job") -> str:
    """`text` itself when it is a legal id.

    Raises:
        Refused: INVALID_ID, naming what kind of id was meant.
    """
    if is_id(text):
        return text
    raise Refused(
        ErrorCode.INVALID_ID, f"not a legal {what} id: {text[:80]!r}", details={"what": what}
    )


def is_shard(text: str) -> bool:
    """Whether `text` is the number of a shard, written in one way only."""
    return bool(re.fullmatch(r"0|[1-9]\d{0,3}", text, re.ASCII)) and int(text) <= SHARD_MAX


def is_variable(text: str) -> bool:
    """Whether `text` can name a variable of an environment."""
    return bool(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", text, re.ASCII))


def is_host_pattern(text: str) -> bool:
    """Whether `text` can say which hosts are meant: a name with `*`, an address or a network."""
    try:
        return bool(ip_network(text, strict=False))
    except ValueError:
        return bool(re.fullmatch(r"[A-Za-z0-9*._-]{1,253}", text, re.ASCII))
