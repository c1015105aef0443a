"""Where do large bytes live on one host? In files named by their own SHA-256.

A blob exists whole or not at all (temporary file, fsync, rename), is never changed, and the same content
is stored once. Work on large files runs in a thread, so that no event loop waits for a disk.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Final

import anyio.to_thread

from contracts import limits
from contracts.errors import Corrupt, ErrorCode, Refused

CHUNK_BYTES: Final = 1024 * 1024
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Ref:
    """Names a blob: what is quoted in results and ledgers."""

    sha256: str
    bytes: int


class Blobs:
    """Content-addressed files under `<folder>/sha256/ab/<hex>`, readable by their owner only."""

    def __init__(self, folder: Path, *, bytes_max: int = limits.ARTIFACT_BYTES_MAX) -> None:
        self._root = folder / "sha256"
        self._bytes_max = bytes_max

    async def put_file(self, path: Path) -> Ref:
        """Stores a copy of the file at `path`.

        Raises:
            Refused: PAYLOAD_TOO_LARGE.
            OSError: it cannot be read, or the disk is full; nothing is left half-written.
        """
        return await anyio.to_thread.run_sync(self._put_file, path)

    async def put_bytes(self, data: bytes) -> Ref:
        """Stores `data`; errors as `put_file`."""
        return await anyio.to_thread.run_sync(self._put, lambda: iter((data,)))

    def path(self, sha256: str) -> Path:
        """Where a blob of that name is or would be.

        Raises:
            Refused: NOT_FOUND when `sha256` is no 64 lower-case hex digits.
        """
        if not _SHA256.fullmatch(sha256):
            raise Refused(ErrorCode.NOT_FOUND, f"not a blob name: {sha256[:80]!r}")
        return self._root / sha256[:2] / sha256

    def open(self, sha256: str) -> IO[bytes]:
        """The blob for reading from its start.

        Raises:
            Refused: NOT_FOUND.
        """
        try:
            return self.path(sha256).open("rb")
        except FileNotFoundError:
            raise Refused(ErrorCode.NOT_FOUND, f"no blob {sha256}") from None

    async def read_range(
        self, sha256: str, *, offset: int = 0, bytes_max: int = CHUNK_BYTES
    ) -> bytes:
        """At most `bytes_max` bytes from `offset`; empty past the end.

        Raises:
            Refused: NOT_FOUND.
        """

        def read() -> bytes:
            with self.open(sha256) as file:
                file.seek(offset)
                return file.read(bytes_max)

        return await anyio.to_thread.run_sync(read)

    async def verify(self, sha256: str) -> Ref:
        """Reads the whole blob and compares it with its name.

        Raises:
            Refused: NOT_FOUND.
            Corrupt: the content is not what the name promises.
        """

        def check() -> Ref:
            digest, size = hashlib.sha256(), 0
            with self.open(sha256) as file:
                for chunk in _chunks(file):
                    digest.update(chunk)
                    size += len(chunk)
            if digest.hexdigest() != sha256:
                raise Corrupt(ErrorCode.INTERNAL, f"blob {sha256} holds other content")
            return Ref(sha256, size)

        return await anyio.to_thread.run_sync(check)

    def _put_file(self, path: Path) -> Ref:
        with path.open("rb") as file:
            return self._put(lambda: _chunks(file))

    def _put(self, chunks: Callable[[], Iterator[bytes]]) -> Ref:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = NamedTemporaryFile(dir=self._root, prefix="tmp-", delete=False)  # noqa: SIM115 - closed by `with` below
        try:
            with temporary as file:
                ref = self._copy(chunks(), file)
                file.flush()
                os.fsync(file.fileno())
            self._publish(Path(temporary.name), ref)
        finally:
            Path(temporary.name).unlink(missing_ok=True)
        return ref

    def _copy(self, chunks: Iterator[bytes], target: IO[bytes]) -> Ref:
        digest, size = hashlib.sha256(), 0
        for chunk in chunks:
            size += len(chunk)
            if size > self._bytes_max:
                raise Refused(
                    ErrorCode.PAYLOAD_TOO_LARGE,
                    f"a blob has at most {self._bytes_max} bytes",
                    details={"bytes_max": self._bytes_max},
                )
            digest.update(chunk)
            target.write(chunk)
        return Ref(digest.hexdigest(), size)

    def _publish(self, temporary: Path, ref: Ref) -> None:
        target = self.path(ref.sha256)
        target.parent.mkdir(mode=0o700, exist_ok=True)
        temporary.replace(target)
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # a name that a ledger quotes must survive a power cut
        finally:
            os.close(folder)


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        yield chunk
