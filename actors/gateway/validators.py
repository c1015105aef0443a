"""Has the caller seen this already? Entity tags and If-None-Match, as RFC 9110 13.1.2 compares them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import Header, Response

REVALIDATE: Final = "private, no-cache"
"""Keep it, but ask before using it."""
IMMUTABLE: Final = "private, max-age=31536000, immutable"
"""Named by its own content: it never changes, so nobody needs to ask again."""
_TAG: Final = re.compile(r'(?:W/)?("[\x21\x23-\x7e]*")')

IfNoneMatch = Annotated[
    str | None,
    Header(max_length=1_024, description="Entity tags that the caller has; 304 if one is current."),
]
ETAG: Final = {
    "ETag": {"description": "Names this state of it.", "schema": {"type": "string"}},
}
UNCHANGED: Final[dict[int | str, dict[str, Any]]] = {
    304: {"description": "As the caller has it: no body.", "headers": dict(ETAG)},
}


def validators(etag: str, *, cache: str = REVALIDATE) -> dict[str, str]:
    """The headers that let a caller ask again cheaply."""
    return {"ETag": etag, "Cache-Control": cache}


def names(if_none_match: str | None, etag: str) -> bool:
    """Whether the header names this tag, weakly compared; `*` names any."""
    if if_none_match is None:
        return False
    opaque = etag.removeprefix("W/")
    return if_none_match.strip() == "*" or opaque in _TAG.findall(if_none_match)


def unchanged(headers: Mapping[str, str]) -> Response:
    """304, with the headers that a 200 would have carried."""
    return Response(status_code=304, headers=dict(headers))
