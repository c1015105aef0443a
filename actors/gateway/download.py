"""How is a stored file sent to a browser or a tool? As bytes that nothing runs or renders.

It is read piece by piece, as fast as the reader takes it. One range is served. Several, or one that the file
does not have, are refused 416; what is no range of bytes at all is ignored, as RFC 9110 wants, and the whole
file is the answer.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from fastapi import Response
from starlette.responses import StreamingResponse

from actors.gateway.validators import IMMUTABLE, names, unchanged, validators
from actors.gateway.verbs import Blobs
from contracts import limits
from contracts.errors import ErrorCode, Refused
from contracts.record import Artifact

_CHUNK_BYTES: Final = limits.MIB
_ONE: Final = r"(?:[0-9]{1,15}-[0-9]{0,15}|-[0-9]{1,15})"
_RANGES: Final = re.compile(rf"\Abytes=({_ONE}(?:[ \t]*,[ \t]*{_ONE})*)\Z", re.IGNORECASE)


def etag(artifact: Artifact) -> str:
    """The content's name as an entity tag."""
    return f'"{artifact.sha256}"'


def _refused(message: str, size: int) -> Refused:
    return Refused(ErrorCode.RANGE_NOT_SATISFIABLE, message, details={"bytes": size})


def span(header: str | None, size: int) -> range | None:
    """The positions that a Range header asks for, or None for the whole file.

    Raises:
        Refused: RANGE_NOT_SATISFIABLE, for several ranges and for one that lies beyond the end.
    """
    match = _RANGES.match(header or "")
    if match is None:
        return None
    if "," in match[1]:
        raise _refused("one range at a time", size)
    first, _, last = match[1].partition("-")
    if first and last and int(last) < int(first):
        return None  # no range at all
    if first:
        wanted = range(int(first), min(size, int(last) + 1 if last else size))
    else:
        wanted = range(max(0, size - int(last)), size)
        if size == 0 and int(last):
            return None  # the last bytes of nothing are nothing: the whole file
    if not wanted:
        raise _refused(f"the file has {size} bytes", size)
    return wanted


async def _rest(
    blobs: Blobs, artifact: Artifact, wanted: range, first: bytes
) -> AsyncIterator[bytes]:
    yield first
    offset = wanted.start + len(first)
    while offset < wanted.stop:
        chunk = await blobs.read_range(
            artifact.sha256, offset=offset, bytes_max=min(_CHUNK_BYTES, wanted.stop - offset)
        )
        if not chunk:
            return  # shorter than promised: the declared length makes the client see it
        offset += len(chunk)
        yield chunk


def _headers(artifact: Artifact, part: range | None) -> dict[str, str]:
    length = artifact.bytes if part is None else len(part)
    headers = {
        **validators(etag(artifact), cache=IMMUTABLE),
        "Accept-Ranges": "bytes",
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(artifact.name, safe='')}",
        "Content-Length": str(length),
    }
    if part is not None:
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{artifact.bytes}"
    return headers


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request asks of a file, by its headers."""

    range_header: str | None = None
    if_range: str | None = None
    if_none_match: str | None = None
    head_only: bool = False

    def part_of(self, artifact: Artifact) -> range | None:
        """The range, unless it was to be a part of other content."""
        if self.if_range not in {None, etag(artifact)}:
            return None
        return span(self.range_header, artifact.bytes)


async def answer(blobs: Blobs, artifact: Artifact, wish: Wish) -> Response:
    """The file, or the range of it; the first read comes before the head, so that it can refuse.

    Raises:
        Refused: NOT_FOUND when the blob is gone, RANGE_NOT_SATISFIABLE.
    """
    if names(wish.if_none_match, etag(artifact)):
        return unchanged(validators(etag(artifact), cache=IMMUTABLE))
    part = wish.part_of(artifact)
    wanted = range(artifact.bytes) if part is None else part
    first = await blobs.read_range(
        artifact.sha256, offset=wanted.start, bytes_max=min(_CHUNK_BYTES, len(wanted))
    )
    return StreamingResponse(
        _nothing() if wish.head_only else _rest(blobs, artifact, wanted, first),
        status_code=200 if part is None else 206,
        headers=_headers(artifact, part),
        media_type="application/octet-stream",
    )


async def _nothing() -> AsyncIterator[bytes]:
    yield b""
