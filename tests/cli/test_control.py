"""`orch control` and `orch pools`: what they send, print and exit with (CLI-1, CLI-2)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.conftest import Orch
from tests.cli.fake_gateway import FakeGateway, Reply

COMMANDED = {
    "command_id": "c1", "command": "drain", "target": "*", "args": {}, "by": "http", "status": "done",
    "revision": 1, "expected": ["r1"], "acked": ["r1"], "waiting": [], "outcome": None, "error": None,
    "at_ms": 1, "applied_at_ms": 2, "ended_at_ms": 3,
}  # fmt: skip
NOT_THERE = {
    "code": "NOT_FOUND", "message": "m", "hint": "h", "retriable": False, "request_id": "",
}  # fmt: skip


@pytest.mark.req("CLI-2")
@pytest.mark.parametrize(
    ("words", "path", "body"),
    [
        (["pools"], "/v1/pools", {"pools": []}),
        (["control", "list"], "/v1/control", {"commands": [], "revision": 0}),
        (["control", "status", "c1"], "/v1/control/c1", COMMANDED),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else None,
)
def test_json_prints_the_body_as_it_came(
    at_gateway: Orch, gateway: FakeGateway, words: list[str], path: str, body: Any
) -> None:
    raw = json.dumps({**body, "a_field_of_a_newer_server": 1}, indent=1)
    gateway.on("GET", path, Reply(200, raw.encode()))
    ended = at_gateway(*words, "--json")
    assert (ended.code, ended.out, ended.err) == (0, raw + "\n", "")


def commanded(status: str, **fields: Any) -> Reply:
    return Reply(200, json.dumps({**COMMANDED, "status": status, **fields}).encode())


@pytest.mark.req("CTL-2", "CLI-1")
@pytest.mark.parametrize(
    ("status", "fields", "code"),
    [
        ("done", {}, 0),
        ("failed", {"outcome": {"result": "rolled_back"}}, 1),
        ("refused", {"error": NOT_THERE}, 6),
        ("applied", {"waiting": ["r1"]}, 1),
    ],
)  # fmt: skip
def test_a_command_that_is_waited_for_exits_as_it_ended(
    at_gateway: Orch, gateway: FakeGateway, status: str, fields: dict[str, Any], code: int
) -> None:
    gateway.on("POST", "/v1/control", Reply(202, b'{"command_id": "c1"}'))
    gateway.on("GET", "/v1/control/c1", commanded(status, **fields))
    ended = at_gateway("control", "drain", "*", "--wait", "--timeout", "0.2")
    assert ended.code == code, ended.err


@pytest.mark.req("CTL-1", "CLI-1")
@pytest.mark.parametrize(
    ("words", "document"),
    [
        (["drain", "pool:x", "--deadline-ms", "5"], ("drain", "pool:x", {"deadline_ms": 5})),
        (["undrain", "*"], ("undrain", "*", {})),
        (["pause", "tenant:t", "--what", "intake"], ("pause", "tenant:t", {"what": "intake"})),
        (["resume", "*"], ("resume", "*", {"what": "both"})),
        (["reload"], ("reload", "*", {})),
        (
            ["cancel", "--label", "a=b", "--dry-run"],
            ("cancel", "*", {"filter": {"label": "a=b"}, "dry_run": True}),
        ),
        (
            ["set-limit", "tenant:t", "rate", "0.5"],
            ("set-limit", "tenant:t", {"limit": "rate", "value": 0.5}),
        ),
        (
            ["set-limit", "pool:x", "full_policy", "null"],
            ("set-limit", "pool:x", {"limit": "full_policy", "value": None}),
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_each_command_is_sent_as_the_stream_takes_it(
    at_gateway: Orch, gateway: FakeGateway, words: list[str], document: Any
) -> None:
    gateway.on("POST", "/v1/control", Reply(202, b'{"command_id": "c1"}'))
    ended = at_gateway("control", *words, "--id", "mine", "--if-revision", "3")
    assert (ended.code, ended.out, ended.err) == (0, "c1\n", "")
    name, target, args = document
    sent = json.loads(gateway.asked[-1].body)
    assert sent == {
        "command": name, "target": target, "args": args, "id": "mine", "if_revision": 3
    }  # fmt: skip
