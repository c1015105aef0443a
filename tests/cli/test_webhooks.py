"""`orch webhook`, against a scripted gateway: what a program gets, and what a human reads."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.conftest import Orch
from tests.cli.fake_gateway import FakeGateway, Reply, ok

HOOK: dict[str, Any] = {
    "webhook_id": "wh_1",
    "tenant": "a",
    "name": "ours",
    "url": "https://example.com/hook",
    "events": ["job.failed"],
    "with_result": False,
    "created_at_ms": 1,
    "old_secret_until_ms": None,
    "off": None,
    "pending": 1,
    "delivered": 2,
    "failed_tries": 3,
    "dead": 4,
    "dropped": 5,
}
MADE = {**HOOK, "secret": "whsec_x"}
POSTED = {"delivery_ids": ["d1", "d2"]}
DELIVERIES = {
    "deliveries": [
        {
            "delivery_id": "d1",
            "state": "dead",
            "type": "job.failed",
            "job_id": "j1",
            "made_at_ms": 1,
            "tries": 10,
            "next_try_at_ms": None,
            "last_try_at_ms": 2,
            "status": 503,
            "error": "answered 503",
        }
    ]
}
CALLS: list[tuple[list[str], tuple[str, str], dict[str, Any], list[str]]] = [
    (["add", HOOK["url"]], ("POST", "/v1/webhooks"), MADE, ["wh_1", "whsec_x"]),
    (["test", "wh_1"], ("POST", "/v1/webhooks/wh_1/test"), POSTED, ["d1", "d2"]),
    (["rotate", "wh_1"], ("POST", "/v1/webhooks/wh_1/rotate"), MADE, ["whsec_x"]),
    (["resend", "wh_1"], ("POST", "/v1/webhooks/wh_1/resend"), POSTED, ["d1", "d2"]),
    (
        ["list"],
        ("GET", "/v1/webhooks"),
        {"webhooks": [HOOK]},
        [
            "WEBHOOK TENANT ON PENDING DELIVERED DEAD DROPPED URL NAME",
            "wh_1 a yes 1 2 4 5 https://example.com/hook ours",
        ],
    ),
    (
        ["deliveries", "wh_1"],
        ("GET", "/v1/webhooks/wh_1/deliveries"),
        DELIVERIES,
        [
            "DELIVERY STATE TYPE JOB TRIES MADE NEXT STATUS ERROR",
            "d1 dead job.failed j1 10 1970-01-01T00:00:00.001Z - 503 answered 503",
        ],
    ),
]


@pytest.mark.req("EVT-4", "CLI-2")
@pytest.mark.parametrize(
    ("words", "route", "body", "_read"), CALLS, ids=[words[0] for words, *_ in CALLS]
)
def test_json_is_the_body_as_it_came_also_of_a_newer_server(
    at_gateway: Orch,
    gateway: FakeGateway,
    words: list[str],
    route: tuple[str, str],
    body: dict[str, Any],
    _read: list[str],
) -> None:
    raw = json.dumps({**body, "a_field_of_a_newer_server": [1.0, "\N{SNOWMAN}"]}, indent=1)
    gateway.on(*route, Reply(200, raw.encode()))
    ended = at_gateway("webhook", *words, "--json")
    assert (ended.code, ended.out, ended.err) == (0, raw + "\n", "")


@pytest.mark.req("EVT-4")
@pytest.mark.parametrize(
    ("words", "route", "body", "read"), CALLS, ids=[words[0] for words, *_ in CALLS]
)
def test_a_human_reads_what_is_needed_next(
    at_gateway: Orch,
    gateway: FakeGateway,
    words: list[str],
    route: tuple[str, str],
    body: dict[str, Any],
    read: list[str],
) -> None:
    gateway.on(*route, ok(body))
    ended = at_gateway("webhook", *words)
    assert (ended.code, [" ".join(line.split()) for line in ended.out.splitlines()]) == (0, read)
