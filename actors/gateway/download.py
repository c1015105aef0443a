"""How is a stored file sent to a browser or a tool? As bytes that nothing runs or renders.

One range is served; a header that names none, several or an impossible one is ignored, as RFC 9110
allows, and the whole file is the answer.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import quote

from fastapi import Response
from starlette.responses import StreamingResponse

from actors.gateway.services import Blobs
from contracts import limits
from contracts.record import Artifact

_CHUNK_BYTES: Final = limits.MIB
_RANGE: Final = re.compile(r"\Abytes=(?:([0-9]{1,15})-([0-9]{1,15})?|-([0-9]{1,15}))\Z")


def etag(artifact: Artifact) -> str:
    """The content's name as an entity tag."""
    return f'"{artifact.sha256}"'


def span(header: str | None, size: int) -> range | None:
    """The positions that a Range header asks for, or None for the whole file."""
    match = _RANGE.match(header or "")
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        wanted = range(max(0, size - int(suffix)), size)
    else:
        wanted = range(int(first), min(size, int(last) + 1 if last else size))
    return wanted or None


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


async def answer(blobs: Blobs, artifact: Artifact, range_header: str | None) -> Response:
    """The file, or the range of it; the first read comes before the head, so that it can refuse.

    Raises:
        Refused: NOT_FOUND when the blob is gone.
    """
    part = span(range_header, artifact.bytes)
    wanted = part or range(artifact.bytes)
    first = await blobs.read_range(
        artifact.sha256, offset=wanted.start, bytes_max=min(_CHUNK_BYTES, len(wanted))
    )
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(artifact.name, safe='')}",
        "Content-Length": str(len(wanted)),
        "ETag": etag(artifact),
    }
    if part:
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{artifact.bytes}"
    return StreamingResponse(
        _rest(blobs, artifact, wanted, first),
        status_code=206 if part else 200,
        headers=headers,
        media_type="application/octet-stream",
    )
