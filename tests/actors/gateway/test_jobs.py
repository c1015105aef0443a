"""Looking at jobs and steering them over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.record import Question
from tests.actors.gateway.house import House, running


@pytest.mark.req("API-1")
async def test_a_job_is_read_back_as_its_record() -> None:
    async with running() as house:
        job_id = await house.submit(tenant="acme", labels={"team": "red"})

        record = (await house.http.get(f"/v1/jobs/{job_id}")).json()

        assert record["job_id"] == job_id
        assert (record["state"], record["tenant"], record["labels"]) == (
            "queued",
            "acme",
            {"team": "red"},
        )


@pytest.mark.req("API-1")
async def test_jobs_are_listed_newest_first_page_by_page_and_filtered() -> None:
    async with running() as house:
        ids = [await house.submit(tenant=tenant) for tenant in ("a", "b", "a", "a")]
        house.store.claim(ids[0])

        first = (await house.http.get("/v1/jobs", params={"limit": 3})).json()
        rest = (await house.http.get("/v1/jobs", params={"cursor": first["next_cursor"]})).json()
        mine = (await house.http.get("/v1/jobs", params={"tenant": "a", "state": "queued"})).json()

        assert [job["job_id"] for job in first["jobs"] + rest["jobs"]] == ids[::-1]
        assert rest["next_cursor"] is None
        assert [job["job_id"] for job in mine["jobs"]] == [ids[3], ids[2]]


@pytest.mark.req("API-1")
async def test_the_filters_of_a_list_are_words_of_its_query() -> None:
    async with running() as house:
        red = await house.submit(name="red", labels={"team": "a=b", "kind": "x"}, session="s1")
        blue = await house.submit(name="blue", labels={"team": "c"}, pool="gpu")

        async def found(**query: Any) -> list[str]:
            page = (await house.http.get("/v1/jobs", params=query)).json()
            return [job["job_id"] for job in page["jobs"]]

        assert await found(name="red") == [red]
        assert await found(session="s1") == [red]
        assert await found(pool="gpu") == [blue]
        assert await found(label="team=a=b") == [red]
        assert await found(label=["team=a=b", "kind=y"]) == []
        assert await found(created_from_ms=0, created_to_ms=1) == []
        assert await found(created_from_ms=0) == [blue, red]


@pytest.mark.req("API-1", "SEC-3")
@pytest.mark.parametrize(
    "query",
    [
        {"label": "team"},
        {"label": "=x"},
        {"label": ["a=b"] * 9},
        {"pool": "a:b"},
        {"session": ".."},
        {"state": "lost"},
        {"created_from_ms": "-1"},
        {"created_to_ms": str(2**60)},
        {"name": "x" * 201},
        {"cursor": "x" * 65},
        {"cursor": "ä"},
        {"limit": "0"},
    ],
)
async def test_a_filter_that_means_nothing_is_refused(query: dict[str, Any]) -> None:
    async with running() as house:
        answer = await house.http.get("/v1/jobs", params=query)
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")
        assert house.store.calls["jobs"] == 0


@pytest.mark.req("API-1")
async def test_who_has_the_record_is_told_so_until_its_ledger_grows() -> None:
    async with running() as house:
        path = f"/v1/jobs/{await house.submit()}"
        first = await house.http.get(path)
        seen = {"If-None-Match": first.headers["etag"]}

        same = await house.http.get(path, headers=seen)
        await house.http.post(f"{path}/cancel")
        changed = await house.http.get(path, headers=seen)

        assert first.headers["etag"].startswith('W/"')
        assert (same.status_code, same.content) == (304, b"")
        assert same.headers["etag"] == first.headers["etag"]
        assert (changed.status_code, changed.json()["state"]) == (200, "canceled")


@pytest.mark.req("API-1", "API-3")
async def test_head_answers_as_get_without_a_body_and_a_stream_has_none() -> None:
    async with running() as house:
        job_id = await house.submit()
        for path in (f"/v1/jobs/{job_id}", "/v1/jobs", "/livez", "/v1/jobs/nobody"):
            got, head = await house.http.get(path), await house.http.head(path)
            assert (head.status_code, head.content) == (got.status_code, b"")
            assert head.headers["content-length"] == got.headers["content-length"]

        stream = await house.http.head(f"/v1/jobs/{job_id}/events")
        batch = await house.http.head("/v1/jobs:batch")

        assert (stream.status_code, stream.headers["allow"]) == (405, "GET")
        assert (batch.status_code, batch.headers["allow"]) == (405, "POST")


@pytest.mark.req("API-3")
async def test_a_405_names_every_method_of_the_path() -> None:
    async with running() as house:
        refused = await house.http.request("DELETE", "/v1/jobs")
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, POST")
        assert refused.json()["code"] == "METHOD_NOT_ALLOWED"


@pytest.mark.req("JOB-4", "API-1")
async def test_the_ledger_is_paged_without_gaps() -> None:
    async with running() as house:
        job_id = await house.submit()
        house.store.claim(job_id)
        path = f"/v1/jobs/{job_id}/ledger"

        first = (await house.http.get(path, params={"limit": 2})).json()
        rest = (await house.http.get(path, params={"cursor": first["next_cursor"]})).json()
        same = (await house.http.get(path, params={"after": 2})).json()
        both = await house.http.get(path, params={"after": 2, "cursor": 1})

        assert [event["seq"] for event in first["events"]] == [1, 2]
        assert [event["seq"] for event in rest["events"]] == [3]
        assert rest["next_cursor"] is None
        assert same == rest
        assert both.json()["code"] == "INVALID_REQUEST"


@pytest.mark.req("API-1")
async def test_logs_are_paged_and_say_how_much_is_gone() -> None:
    async with running() as house:
        job_id = await house.submit()
        house.store.emit(job_id, "a", "b", "c")
        house.store.trim(job_id, keep=2)

        page = (await house.http.get(f"/v1/jobs/{job_id}/logs", params={"limit": 1})).json()
        rest = (await house.http.get(f"/v1/jobs/{job_id}/logs", params={"after": 2})).json()

        assert page == {
            "lines": [{"i": 2, "stream": "stdout", "text": "b"}],
            "next_cursor": "2",
            "trimmed": 1,
        }
        assert rest["lines"] == [{"i": 3, "stream": "stdout", "text": "c"}]


@pytest.mark.req("API-1")
async def test_explain_says_why_and_what_unblocks() -> None:
    async with running() as house:
        job_id = await house.submit()

        explanation = (await house.http.get(f"/v1/jobs/{job_id}/explain")).json()

        assert explanation["state"] == "queued"
        assert explanation["unblocks"] == "a free slot"


@pytest.mark.req("API-1")
async def test_cancel_is_accepted_once_and_again_without_a_second_event() -> None:
    async with running() as house:
        job_id = await house.submit()

        first = await house.http.post(f"/v1/jobs/{job_id}/cancel")
        again = await house.http.post(f"/v1/jobs/{job_id}/cancel", json={"reason": "twice"})

        assert (first.status_code, again.status_code) == (202, 202)
        assert again.json() == first.json()
        assert first.json()["state"] == "canceled"
        assert len(house.store.jobs_by_id[job_id].events) == 2


@pytest.mark.req("API-1")
async def test_pause_and_resume_answer_with_the_record() -> None:
    async with running() as house:
        job_id = await house.submit()

        paused = await house.http.post(f"/v1/jobs/{job_id}/pause", json={})
        resumed = await house.http.post(f"/v1/jobs/{job_id}/resume")
        refused = await house.http.post(f"/v1/jobs/{job_id}/resume")

        assert (paused.status_code, paused.json()["state"]) == (202, "paused")
        assert (resumed.status_code, resumed.json()["state"]) == (202, "queued")
        assert (refused.status_code, refused.json()["code"]) == (409, "INVALID_TRANSITION")
        assert refused.json()["details"] == {"state": "queued", "refusal": "not_paused"}


@pytest.mark.req("API-1")
@pytest.mark.parametrize("body", [{"because": "typo"}, {"reason": 7}, [], "text"])
async def test_a_steering_body_that_says_nothing_known_is_refused_and_changes_nothing(
    body: object,
) -> None:
    async with running() as house:
        job_id = await house.submit()

        answer = await house.http.post(f"/v1/jobs/{job_id}/cancel", json=body)

        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")
        assert house.store.calls["cancel"] == 0


async def _blocked(house: House) -> str:
    job_id = await house.submit()
    house.store.claim(job_id)
    house.store.ask(
        job_id,
        Question(
            question_id="q1", text="go?", kind="choose", options=["a", "b"], expires_at_ms=None
        ),
    )
    return job_id


@pytest.mark.req("API-1")
async def test_an_answer_lets_a_blocked_job_go_on_and_is_taken_once() -> None:
    async with running() as house:
        job_id = await _blocked(house)
        path = f"/v1/jobs/{job_id}/answer"

        unfit = await house.http.post(path, json={"question_id": "q1", "value": "c"})
        taken = await house.http.post(
            path, json={"question_id": "q1", "value": "b", "reason": "so"}
        )
        late = await house.http.post(path, json={"question_id": "q1", "value": "a"})

        assert (unfit.status_code, unfit.json()["code"]) == (400, "INVALID_ANSWER")
        assert (taken.status_code, taken.json()["state"]) == (202, "queued")
        assert (late.status_code, late.json()["code"]) == (409, "ALREADY_ANSWERED")
        answered = [
            e for e in house.store.jobs_by_id[job_id].events if e.type == "question_answered"
        ]
        assert [event.payload["value"] for event in answered] == ["b"]


@pytest.mark.req("API-1")
@pytest.mark.parametrize("body", [{}, {"question_id": "q1"}, {"question_id": "../q", "value": 1}])
async def test_an_answer_without_its_parts_is_refused(body: dict) -> None:
    async with running() as house:
        answer = await house.http.post(f"/v1/jobs/{await _blocked(house)}/answer", json=body)

        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")


@pytest.mark.req("API-1")
async def test_capabilities_name_adapters_bounds_and_frames() -> None:
    async with running() as house:
        can = (await house.http.get("/v1/capabilities")).json()

        assert can["adapters"] == ["command", "http", "python", "steps"]
        assert can["limits"]["spec_bytes_max"] == 1024 * 1024
        assert {"started", "token", "metrics", "end", "error"} <= set(can["event_frames"])
