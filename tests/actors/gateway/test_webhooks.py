"""Webhooks over HTTP: every route keeps to the document, and only two answers hold a secret."""

from __future__ import annotations

from typing import Any

import pytest

from tests.actors.gateway.fake_webhooks import SECRET
from tests.actors.gateway.house import House, running

URL = "https://example.com/hook"


async def added(house: House, **wish: Any) -> dict[str, Any]:
    answer = await house.http.post("/v1/webhooks", json={"url": URL, **wish})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


@pytest.mark.req("EVT-4")
async def test_a_webhook_is_registered_with_all_events_and_its_secret_is_shown_once() -> None:
    async with running() as house:
        made = await added(house, tenant="acme", name="ci")
        webhook_id = made["webhook_id"]
        assert made["secret"] == SECRET
        assert sorted(made["events"]) == [
            "job.blocked", "job.canceled", "job.completed", "job.expired", "job.failed",
        ]  # fmt: skip
        await house.http.post(f"/v1/webhooks/{webhook_id}/test", json={})
        for path in ("", f"/{webhook_id}", f"/{webhook_id}/deliveries", "?tenant=acme"):
            answer = await house.http.get(f"/v1/webhooks{path}")
            assert answer.status_code == 200
            assert "canary" not in answer.text
            assert SECRET not in answer.text
        listed = (await house.http.get("/v1/webhooks", params={"tenant": "acme"})).json()
        assert [one["webhook_id"] for one in listed["webhooks"]] == [webhook_id]
        other = (await house.http.get("/v1/webhooks", params={"tenant": "other"})).json()
        assert other == {"webhooks": []}


@pytest.mark.req("EVT-4")
async def test_a_webhook_is_tested_rotated_resent_enabled_and_removed() -> None:
    async with running() as house:
        path = f"/v1/webhooks/{(await added(house))['webhook_id']}"
        tested = await house.http.post(f"{path}/test", json={})
        assert (tested.status_code, tested.json()) == (202, {"delivery_ids": ["msg_1"]})
        listed = (await house.http.get(f"{path}/deliveries")).json()["deliveries"]
        assert [one["delivery_id"] for one in listed] == ["msg_1"]
        rotated = await house.http.post(f"{path}/rotate", json={"overlap_ms": 7})
        assert (rotated.json()["secret"], rotated.json()["old_secret_until_ms"]) == (SECRET, 7)
        headers = {"content-type": "application/json"}
        assert (await house.http.post(f"{path}/rotate", headers=headers)).status_code == 200
        resent = await house.http.post(f"{path}/resend", json={"delivery_ids": ["msg_9"]})
        assert resent.json() == {"delivery_ids": ["msg_9"]}
        assert (await house.http.post(f"{path}/resend", json={})).json()["delivery_ids"] == [
            "msg_2"
        ]
        assert (await house.http.post(f"{path}/enable", json={})).status_code == 202
        assert (await house.http.delete(path)).json()["url"] == URL
        for verb, below in (("GET", ""), ("DELETE", ""), ("GET", "/deliveries")):
            gone = await house.http.request(verb, path + below)
            assert (gone.status_code, gone.json()["code"]) == (404, "NOT_FOUND")
        for below in ("/test", "/enable", "/rotate", "/resend"):
            assert (await house.http.post(path + below, json={})).status_code == 404


@pytest.mark.req("EVT-4", "ADM-6")
@pytest.mark.parametrize(
    ("wish", "path"),
    [
        ({"url": "http://example.com/"}, "url"),
        ({"url": "https://169.254.169.254/"}, "url"),
        ({"url": "https://localhost:8443/"}, "url"),
        ({"url": "https://me:pw@example.com/"}, "url"),
        ({"url": "x" * 2_001}, "url"),
        ({"url": URL, "events": []}, "events"),
        ({"url": URL, "events": ["job.queued"]}, "events.0"),
        ({"url": URL, "tenant": "a:b"}, "tenant"),
        ({"url": URL, "secret": "whsec_mine"}, "secret"),
        ({}, "url"),
    ],
)
async def test_a_bad_wish_gets_one_clear_error_and_nothing_is_registered(
    wish: dict[str, Any], path: str
) -> None:
    async with running() as house:
        answer = await house.http.post("/v1/webhooks", json=wish)
        assert answer.status_code == 400, answer.text
        assert answer.json()["details"]["path"] == path
        assert house.store.webhooks.hooks == {}


@pytest.mark.req("EVT-4")
async def test_what_the_setting_allows_may_be_registered() -> None:
    async with running(webhook_hosts=("127.0.0.0/8",)) as house:
        made = await added(house, url="http://127.0.0.1:8080/hook")
        assert made["url"] == "http://127.0.0.1:8080/hook"


@pytest.mark.req("EVT-4")
async def test_one_too_many_is_refused() -> None:
    async with running() as house:
        answer = await house.http.post("/v1/webhooks", json={"url": URL, "name": "full"})
        assert (answer.status_code, answer.json()["code"]) == (409, "LIMIT_REACHED")
