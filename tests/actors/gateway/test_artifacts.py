"""Artifacts over HTTP: whole, in part, and never somebody else's."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from actors.gateway.download import span
from contracts import limits
from contracts.errors import ErrorCode, Refused
from contracts.record import ArtifactList
from tests.actors.gateway.house import House, running, wait_until

CONTENT = bytes(range(256)) * 5_000  # more than one chunk


async def _job_with_artifact(house: House) -> tuple[str, str]:
    job_id = await house.submit()
    sha256 = house.store.leave(job_id, 'päth "x"/y.bin', CONTENT)
    house.blobs.content[sha256] = CONTENT
    return job_id, sha256


@pytest.mark.req("API-1", "JOB-5")
async def test_an_artifact_is_listed_and_served_as_bytes_that_no_browser_runs() -> None:
    async with running() as house:
        job_id, sha256 = await _job_with_artifact(house)

        listed = ArtifactList.model_validate(
            (await house.http.get(f"/v1/jobs/{job_id}/artifacts")).json()
        )
        answer = await house.http.get(f"/v1/jobs/{job_id}/artifacts/{sha256}")

        assert [artifact.sha256 for artifact in listed.artifacts] == [sha256]
        assert answer.status_code == 200
        assert answer.content == CONTENT
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-disposition"].startswith(
            "attachment; filename*=UTF-8''p%C3%A4th"
        )


@pytest.mark.req("API-1")
async def test_a_range_is_served_in_part_and_an_outdated_one_whole() -> None:
    async with running() as house:
        job_id, sha256 = await _job_with_artifact(house)
        path = f"/v1/jobs/{job_id}/artifacts/{sha256}"

        part = await house.http.get(path, headers={"Range": "bytes=10-19"})
        tail = await house.http.get(path, headers={"Range": "bytes=-5", "If-Range": f'"{sha256}"'})
        whole = await house.http.get(path, headers={"Range": "bytes=1-2", "If-Range": '"old"'})

        assert (part.status_code, part.content) == (206, CONTENT[10:20])
        assert part.headers["content-range"] == f"bytes 10-19/{len(CONTENT)}"
        assert (tail.status_code, tail.content) == (206, CONTENT[-5:])
        assert (whole.status_code, whole.content) == (200, CONTENT)


@pytest.mark.req("API-1", "SEC-3")
async def test_only_digests_that_this_job_recorded_are_served() -> None:
    async with running() as house:
        _, sha256 = await _job_with_artifact(house)
        other = await house.submit()
        house.blobs.content[house.store.leave(other, "its own", b"x")] = b"x"

        foreign = await house.http.get(f"/v1/jobs/{other}/artifacts/{sha256}")
        path = await house.http.get(f"/v1/jobs/{other}/artifacts/..%2f..%2fetc%2fpasswd")
        del house.blobs.content[sha256]
        gone = await house.http.get(f"/v1/jobs/job0001/artifacts/{sha256}")

        assert [a.status_code for a in (foreign, path, gone)] == [404, 404, 404]
        assert {a.json()["code"] for a in (foreign, path, gone)} == {"NOT_FOUND"}


@pytest.mark.req("API-1")
@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", range(1)),
        ("Bytes=5-", range(5, 10)),
        ("bytes=5-99", range(5, 10)),
        ("bytes=-3", range(7, 10)),
        ("bytes=-99", range(10)),
        ("bytes=7-3", None),
        ("bytes=-", None),
        ("bytes=1-2;", None),
        ("lines=0-1", None),
        ("", None),
        (None, None),
    ],
)
def test_a_range_header_names_positions_or_is_ignored(
    header: str | None, expected: range | None
) -> None:
    assert span(header, 10) == expected


@pytest.mark.req("API-1")
@pytest.mark.parametrize(
    ("header", "size"),
    [
        ("bytes=10-", 10),
        ("bytes=-0", 10),
        ("bytes=0-", 0),
        ("bytes=0-1,3-4", 10),
        ("bytes=0-1 , -4", 10),
        ("bytes=999999999999999-", 10),
    ],
)
def test_a_range_that_the_file_does_not_have_is_refused(header: str, size: int) -> None:
    with pytest.raises(Refused) as refused:
        span(header, size)
    assert (refused.value.code, refused.value.details) == (
        ErrorCode.RANGE_NOT_SATISFIABLE,
        {"bytes": size},
    )


def test_the_last_bytes_of_an_empty_file_are_the_whole_file() -> None:
    assert span("bytes=-5", 0) is None


@pytest.mark.req("API-1", "API-3")
async def test_a_refused_range_says_how_large_the_file_is() -> None:
    async with running() as house:
        job_id, sha256 = await _job_with_artifact(house)
        path = f"/v1/jobs/{job_id}/artifacts/{sha256}"
        size = len(CONTENT)

        beyond = await house.http.get(path, headers={"Range": f"bytes={size}-"})
        several = await house.http.get(path, headers={"Range": "bytes=0-1,3-4"})
        outdated = await house.http.get(
            path, headers={"Range": f"bytes={size}-", "If-Range": '"old"'}
        )

        for refused in (beyond, several):
            assert (refused.status_code, refused.json()["code"]) == (416, "RANGE_NOT_SATISFIABLE")
            assert refused.headers["content-range"] == f"bytes */{size}"
        assert (outdated.status_code, outdated.content) == (200, CONTENT)


@pytest.mark.req("API-1")
async def test_who_has_the_file_is_told_so_and_no_more() -> None:
    async with running() as house:
        job_id, sha256 = await _job_with_artifact(house)
        path = f"/v1/jobs/{job_id}/artifacts/{sha256}"

        same = await house.http.get(path, headers={"If-None-Match": f'"x", W/"{sha256}"'})
        other = await house.http.get(path, headers={"If-None-Match": '"x"'})
        head = await house.http.head(path)
        part = await house.http.head(path, headers={"Range": "bytes=0-9"})

        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", f'"{sha256}"')
        assert "immutable" in same.headers["cache-control"]
        assert (other.status_code, len(other.content)) == (200, len(CONTENT))
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(CONTENT))
        assert (part.status_code, part.headers["content-length"]) == (206, "10")


@pytest.mark.req("JOB-5", "SEC-3")
async def test_a_file_is_read_as_fast_as_its_reader_takes_it() -> None:
    async with running() as house:
        job_id = await house.submit()
        sha256 = house.store.leave(job_id, "big", b"")
        artifact = house.store.jobs_by_id[job_id].artifacts[0]
        size = 64 * limits.MIB
        house.store.jobs_by_id[job_id].artifacts[0] = artifact.model_copy(update={"bytes": size})
        blobs = house.blobs.content[sha256] = Sparse(size)
        path = f"/v1/jobs/{job_id}/artifacts/{sha256}"

        async with await anyio.connect_tcp("127.0.0.1", house.port) as reader:
            host = f"127.0.0.1:{house.port}"
            await reader.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert (await reader.receive(12)) == b"HTTP/1.1 200"
            await wait_until(lambda: blobs.pieces > 1)
            await anyio.wait_all_tasks_blocked()

            assert blobs.pieces < 32, "what nobody takes stays on the disk"


class Sparse(bytes):
    """So many zero bytes that are made where they are read, and how often that was."""

    def __new__(cls, _size: int) -> Sparse:
        return super().__new__(cls)

    def __init__(self, size: int) -> None:
        self.size, self.pieces = size, 0

    def __getitem__(self, place: Any) -> Any:
        self.pieces += 1
        return bytes(len(range(*place.indices(self.size))))
