"""Artifacts over HTTP: whole, in part, and never somebody else's."""

from __future__ import annotations

import pytest

from actors.gateway.download import span
from contracts.record import ArtifactList
from tests.actors.gateway.house import House, running

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
        ("bytes=5-", range(5, 10)),
        ("bytes=5-99", range(5, 10)),
        ("bytes=-3", range(7, 10)),
        ("bytes=-99", range(10)),
        ("bytes=10-", None),
        ("bytes=7-3", None),
        ("bytes=-0", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        ("", None),
        (None, None),
    ],
)
def test_a_range_header_names_positions_or_is_ignored(
    header: str | None, expected: range | None
) -> None:
    assert span(header, 10) == expected
