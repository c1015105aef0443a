"""Schedules over HTTP: every answer is held against the OpenAPI document by the house."""

from __future__ import annotations

from typing import Any

import pytest

from tests.actors.gateway.house import SPEC, House, running

NIGHTLY: dict[str, Any] = {"cron": "30 2 * * *", "time_zone": "Europe/Berlin", "spec": SPEC}


async def put(house: House, schedule_id: str = "nightly", **keys: Any) -> dict[str, Any]:
    answer = await house.http.put(f"/v1/schedules/{schedule_id}", json={**NIGHTLY, **keys})
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


@pytest.mark.req("SCH-6", "API-1")
async def test_a_schedule_is_stored_read_listed_and_taken_away() -> None:
    async with running() as house:
        made = await put(house)
        assert (made["schedule_id"], made["revision"], made["sentence"]) == (
            "nightly", 1, "At 02:30 every day",
        )  # fmt: skip
        path = "/v1/schedules/nightly"
        assert (await house.http.get(path)).json() == made
        listed = (await house.http.get("/v1/schedules")).json()
        assert listed == {"schedules": [made], "next_cursor": None}
        assert (await house.http.delete(path)).json() == made
        gone = await house.http.get(path)
        assert (gone.status_code, gone.json()["code"]) == (404, "NOT_FOUND")
        assert (await house.http.delete(path)).status_code == 404


@pytest.mark.req("SCH-6", "API-1")
async def test_schedules_belong_to_the_tenant_of_their_jobs() -> None:
    async with running() as house:
        made = await put(house, spec={**SPEC, "tenant": "acme"})
        path = "/v1/schedules/nightly"
        assert (await house.http.get(path)).status_code == 404
        found = await house.http.get(path, params={"tenant": "acme"})
        assert found.json() == made
        page = (await house.http.get("/v1/schedules", params={"tenant": "default"})).json()
        assert page["schedules"] == []
        bad = await house.http.get(path, params={"tenant": "a:b"})
        assert bad.json()["code"] == "INVALID_ID"


@pytest.mark.req("SCH-6", "API-3", "ADM-6")
@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ({"cron": "61 * * * *"}, "cron"),
        ({"time_zone": "Mars/X"}, "time_zone"),
        ({"schedule_id": "another"}, "schedule_id"),
        ({"spec": {**SPEC, "adapter": {"name": "x", "config": {}}}}, "spec.adapter.name"),
    ],
)
async def test_a_bad_schedule_is_one_typed_error_and_nothing_is_stored(
    keys: dict[str, Any], path: str
) -> None:
    async with running() as house:
        answer = await house.http.put("/v1/schedules/nightly", json={**NIGHTLY, **keys})
        assert answer.status_code == 400
        assert (answer.json()["code"], answer.json()["details"]["path"]) == ("INVALID_SPEC", path)
        assert (await house.http.get("/v1/schedules")).json()["schedules"] == []


@pytest.mark.req("SCH-6", "API-3")
async def test_a_body_that_is_no_object_or_not_declared_as_json_is_refused() -> None:
    async with running() as house:
        path = "/v1/schedules/nightly"
        assert (await house.http.put(path, json=[])).json()["code"] == "INVALID_SPEC"
        form = await house.http.put(path, content=b"{}", headers={"content-type": "text/plain"})
        assert (form.status_code, form.json()["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
        twice = b'{"cron":"* * * * *","cron":"@daily"}'
        headers = {"content-type": "application/json"}
        assert (await house.http.put(path, content=twice, headers=headers)).status_code == 400


@pytest.mark.req("SCH-6", "API-1")
async def test_a_change_can_name_the_revision_that_it_is_about() -> None:
    async with running() as house:
        await put(house)
        path, body = "/v1/schedules/nightly", {**NIGHTLY, "overlap": "queue"}
        late = await house.http.put(path, json=body, params={"if_revision": 0})
        assert (late.status_code, late.json()["code"]) == (409, "REVISION_CONFLICT")
        changed = await house.http.put(path, json=body, params={"if_revision": 1})
        assert (changed.status_code, changed.json()["revision"]) == (200, 2)


@pytest.mark.req("SCH-6", "API-1")
async def test_a_schedule_is_paused_resumed_and_fired_by_hand() -> None:
    async with running() as house:
        made = await put(house)
        path = "/v1/schedules/nightly"
        paused = (await house.http.post(f"{path}/pause")).json()
        assert (paused["paused"], paused["next_fire_at_ms"]) == (True, None)
        resumed = (await house.http.post(f"{path}/resume")).json()
        assert (resumed["paused"], resumed["next_fire_at_ms"]) == (False, made["next_fire_at_ms"])
        fired = await house.http.post(f"{path}/fire")
        assert (fired.status_code, fired.json()["result"]) == (202, "fired")
        again = (await house.http.post(f"{path}/fire")).json()
        assert (again["result"], again["job_id"]) == ("skipped", fired.json()["job_id"])
        for verb in ("pause", "resume", "fire"):
            unknown = await house.http.post(f"/v1/schedules/nobody/{verb}")
            assert unknown.json()["code"] == "NOT_FOUND"


@pytest.mark.req("SCH-6", "JOB-3", "API-1")
async def test_a_fire_under_a_used_key_is_told_of_the_first_job_and_makes_none() -> None:
    async with running() as house:
        await put(house)
        path, key = "/v1/schedules/nightly/fire", {"Idempotency-Key": "k-1"}
        first = await house.http.post(path, headers=key)
        assert (first.status_code, first.json()["duplicate"]) == (202, False)
        again = await house.http.post(path, headers=key)
        assert (again.status_code, again.json()) == (200, {**first.json(), "duplicate": True})
        await put(house, spec={**SPEC, "name": "another"})
        other = await house.http.post(path, headers=key)
        assert (other.status_code, other.json()["code"]) == (409, "IDEMPOTENCY_CONFLICT")
        digests = other.json()["details"]
        assert digests["digest"] != digests["other_digest"]
        shown = (await house.http.get("/v1/schedules/nightly")).json()
        assert shown["counts"] == {"fired": 1, "skipped": 0, "refused": 0, "missed": 0}
        for bad in ("", "a b", "k" * 201):
            refused = await house.http.post(path, headers={"Idempotency-Key": bad})
            assert (refused.status_code, refused.json()["code"]) == (400, "INVALID_REQUEST")


@pytest.mark.req("SCH-6", "ADM-1")
async def test_what_admission_refuses_to_a_fire_by_hand_is_told_as_at_every_door() -> None:
    async with running() as house:
        await put(house, overlap="queue")
        answers = [await house.http.post("/v1/schedules/nightly/fire") for _ in range(3)]
        assert [one.status_code for one in answers] == [202, 202, 429]
        assert answers[-1].json()["code"] == "QUEUE_FULL"
        shown = (await house.http.get("/v1/schedules/nightly")).json()
        assert shown["counts"] == {"fired": 2, "skipped": 0, "refused": 1, "missed": 0}
