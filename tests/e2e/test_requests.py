"""The raw door: XADD on `requests`, the answer under `answer:<request_id>`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from contracts.states import State
from orch.store.keys import Keys
from orch.system import SystemIds
from tests.e2e.invariants import job_ids
from tests.e2e.specs import shell
from tests.e2e.stack import Stack, wait_until


def ask(stack: Stack, spec: object, **fields: Any) -> dict[str, Any]:
    """One raw request and its answer."""
    request_id = SystemIds().token()
    text = spec if isinstance(spec, str | bytes) else json.dumps(spec)
    stack.redis.xadd(Keys().requests, {"v": "1", "request_id": request_id, "spec": text, **fields})
    answer = wait_until(lambda: stack.redis.get(Keys().answer(request_id)), what="an answer")
    assert 0 < stack.redis.pttl(Keys().answer(request_id)) <= 600_000
    document: dict[str, Any] = json.loads(answer)
    return document


@pytest.mark.req("ADM-1")
def test_a_valid_request_becomes_a_job(stack: Stack) -> None:
    answer = ask(stack, shell("true"))
    assert answer.keys() == {
        "job_id",
        "state",
        "queue_position",
        "predicted_start_ms",
        "duplicate",
    }
    assert not answer["duplicate"]
    assert stack.client.wait(answer["job_id"], timeout_s=30).state is State.COMPLETED


@pytest.mark.req("ADM-1")
def test_a_request_with_the_id_of_another_job_is_its_duplicate_or_a_conflict(stack: Stack) -> None:
    first = ask(stack, shell("true", id="raw-1"))
    again = ask(stack, shell("true", id="raw-1"))
    other = ask(stack, shell("false", id="raw-1"))
    assert (first["duplicate"], again["duplicate"]) == (False, True)
    assert first["job_id"] == again["job_id"] == "raw-1"
    assert other["code"] == "IDEMPOTENCY_CONFLICT"
    assert {"digest", "other_digest"} <= other["details"].keys()


DEEP = '{"name":"x","adapter":{"name":"command","config":{"argv":["true"]}},"inputs":{"a":' + (
    "[" * 500 + "]" * 500 + "}}"
)
POISON: dict[str, tuple[str | bytes, str]] = {
    "no JSON": ("{", "INVALID_SPEC"),
    "an unknown key": (json.dumps({**shell("true"), "prio": 1}), "INVALID_SPEC"),
    "a key twice": ('{"name":"a","name":"b"}', "INVALID_SPEC"),
    "too large": (json.dumps({**shell("true"), "objective": "x" * 2**20}), "PAYLOAD_TOO_LARGE"),
    "invalid UTF-8": (b'{"name": "\xff\xfe"}', "INVALID_SPEC"),
    "invalid UTF-8 in a valid spec": (
        json.dumps(shell("true", name="N")).encode().replace(b'"N"', b'"\xff"'),
        "INVALID_SPEC",
    ),
    "half of a surrogate pair": ('{"\\ud800": 1}', "INVALID_SPEC"),
    "half of a surrogate pair in a value": (
        json.dumps(shell("true", name="N")).replace('"N"', '"\\ud800"'),
        "INVALID_SPEC",
    ),
    "an endless integer": ('{"name": ' + "9" * 5_000 + "}", "INVALID_SPEC"),
    "not a number": ('{"name": "x", "inputs": {"a": NaN}}', "INVALID_SPEC"),
    "nested without end": (DEEP, "INVALID_SPEC"),
    "nested beyond reason": ("[" * 100_000, "INVALID_SPEC"),
}


@pytest.mark.req("ADM-6", "SIM-5")
@pytest.mark.parametrize("what", POISON)
def test_a_poison_request_is_refused_and_holds_up_nobody(stack: Stack, what: str) -> None:
    text, code = POISON[what]
    before = set(job_ids(stack.redis))
    admission = stack.pids("admission")
    assert ask(stack, text)["code"] == code
    assert set(job_ids(stack.redis)) == before
    after = ask(stack, shell("true"))
    assert stack.client.wait(after["job_id"], timeout_s=30).state is State.COMPLETED
    assert stack.pids("admission") == admission
    wait_until(lambda: stack.redis.xlen(Keys().requests) == 0, what="no request is left")


@pytest.mark.req("ADM-6")
@pytest.mark.parametrize(
    "fields",
    [
        {"no": "fields of ours"},
        {"v": "2", "request_id": "two", "spec": "{}"},
        {"v": "1", "request_id": "../../x", "spec": json.dumps(shell("true", deadline_ms=1))},
        {"v": "1", "request_id": b"\xff", "spec": "{}"},
        {b"\xff": b"\xff"},
    ],
    ids=["foreign", "another version", "no legal place for the answer", "no UTF-8", "no names"],
)
def test_an_entry_nobody_can_answer_is_settled_all_the_same(
    stack: Stack, fields: dict[Any, Any]
) -> None:
    before = set(job_ids(stack.redis))
    admission = stack.pids("admission")
    stack.redis.xadd(Keys().requests, fields)
    wait_until(lambda: stack.redis.xlen(Keys().requests) == 0, what="it is settled")
    assert set(job_ids(stack.redis)) == before
    assert stack.pids("admission") == admission


@pytest.mark.req("ADM-6")
def test_a_hint_that_means_nothing_does_not_stop_fallback(stack: Stack) -> None:
    fallback = stack.pids("fallback")
    for fields in ({"j": "nothing"}, {"x": "y"}, {"j": "a:b:c"}, {"j": b"\xff:1"}):
        stack.redis.xadd(Keys().outcomes, fields)
    record = stack.run(shell('[ "$ORCH_ATTEMPT" = 2 ] || exit 75', retry={"backoff_ms": 10}))
    assert record.state is State.COMPLETED
    wait_until(lambda: stack.redis.xlen(Keys().outcomes) == 0, what="no hint is left")
    assert stack.pids("fallback") == fallback
