"""Blobs on one host: whole or absent, named by content, readable by their owner only."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import anyio
import pytest

from contracts.errors import Corrupt, ErrorCode, Refused
from orch.blobs import Blobs, Ref

pytestmark = pytest.mark.req("RUN-2")


async def test_a_blob_is_stored_once_under_its_hash(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    sha256 = hashlib.sha256(b"content").hexdigest()
    (tmp_path / "file").write_bytes(b"content")
    assert (
        await blobs.put_bytes(b"content")
        == await blobs.put_file(tmp_path / "file")
        == Ref(sha256, 7)
    )
    path = tmp_path / "blobs" / "sha256" / sha256[:2] / sha256
    assert [entry for entry in (tmp_path / "blobs").rglob("*") if entry.is_file()] == [path]
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert await blobs.verify(sha256) == Ref(sha256, 7)
    assert await blobs.read_range(sha256, offset=3, bytes_max=4) == b"tent"
    assert await blobs.read_range(sha256, offset=99) == b""
    with blobs.open(sha256) as file:
        assert file.read() == b"content"


async def test_too_large_a_blob_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, bytes_max=10)
    with pytest.raises(Refused) as caught:
        await blobs.put_bytes(b"x" * 11)
    assert caught.value.code is ErrorCode.PAYLOAD_TOO_LARGE
    assert os.listdir(tmp_path / "sha256") == []


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64])
async def test_a_name_that_is_no_blob_is_not_found(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused) as caught:
        await Blobs(tmp_path).read_range(name)
    assert caught.value.code is ErrorCode.NOT_FOUND


async def test_changed_content_is_corrupt(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    ref = await blobs.put_bytes(b"content")
    blobs.path(ref.sha256).write_bytes(b"c0ntent")
    with pytest.raises(Corrupt):
        await blobs.verify(ref.sha256)


@pytest.mark.req("SIM-5")
async def test_many_writers_of_the_same_content_leave_one_blob_and_nothing_half_written(
    tmp_path: Path,
) -> None:
    blobs = [Blobs(tmp_path) for _ in range(8)]
    contents = [b"%d" % (n // 8) * 20_000 for n in range(80)]
    refs: list[Ref] = []

    async def put(n: int) -> None:
        refs.append(await blobs[n % 8].put_bytes(contents[n]))

    async with anyio.create_task_group() as tasks:
        for n in range(80):
            tasks.start_soon(put, n)
    made = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.name for path in made} == {hashlib.sha256(one).hexdigest() for one in contents}
    assert {ref.sha256 for ref in refs} == {path.name for path in made}
    assert len(made) == 10
    for ref in refs:
        assert await blobs[0].verify(ref.sha256) == ref
