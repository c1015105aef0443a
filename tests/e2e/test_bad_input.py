"""Bad input at both front doors: one typed error, nothing half-written, everything else keeps running."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from contracts.states import State
from orch.store.keys import Keys
from tests.e2e.specs import command, shell
from tests.e2e.stack import Stack


def post(
    stack: Stack, path: str, body: bytes, kind: str = "application/json", **headers: str
) -> tuple[int, dict[str, Any]]:
    """One POST below every client of ours: the paths and bytes of a stranger."""
    parts = urlsplit(stack.url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.request("POST", path, body, {"Content-Type": kind, **headers})
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


def get(stack: Stack, path: str) -> tuple[int, dict[str, Any]]:
    parts = urlsplit(stack.url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


def writings(stack: Stack) -> dict[str, Any]:
    """Everything about jobs that is stored, without the one that runs meanwhile."""
    keys = Keys()
    return {
        "jobs": stack.redis.zcard(keys.jobs("default")),
        "keys": sorted(
            key for key in stack.redis.scan_iter(count=1_000) if ":job:" in key or ":idem:" in key
        ),
        "arrivals": stack.redis.hget(keys.meta, "arrivals"),
        "tenants": stack.redis.smembers(keys.tenants),
        "pools": stack.redis.smembers(keys.pools),
        "due": stack.redis.zcard(keys.due),
        "requests": stack.redis.xlen(keys.requests),
    }


@pytest.fixture(scope="module")
def bystander(stack: Stack) -> Iterator[str]:
    """A job that runs while all this happens, and is none the worse for it."""
    go = stack.root / "go"
    job_id = stack.client.submit(shell(f"while [ ! -e {go} ]; do sleep 0.1; done")).job_id
    stack.wait_for_state(job_id, State.RUNNING)
    yield job_id
    go.touch()
    record = stack.client.wait(job_id, timeout_s=30)
    assert (record.state, record.attempt) == (State.COMPLETED, 1)


def spec_with(**more: Any) -> bytes:
    return json.dumps({**shell("true"), **more}).encode()


def adapter(name: str, **config: Any) -> bytes:
    return json.dumps({"name": "x", "adapter": {"name": name, "config": config}}).encode()


NESTED = json.loads("[" * 200 + "]" * 200)
IN_CONFIG = "adapter.config"
SPECS: dict[str, tuple[bytes, int, str, str | None]] = {
    "no JSON": (b"{", 400, "INVALID_SPEC", "$"),
    "no UTF-8": (b'{"name": "\xff"}', 400, "INVALID_SPEC", "$"),
    "no object": (b"[1]", 400, "INVALID_SPEC", "$"),
    "nothing": (b"", 400, "INVALID_SPEC", "$"),
    "no adapter": (b'{"name": "x"}', 400, "INVALID_SPEC", "adapter"),
    "an unknown key": (spec_with(prio="high"), 400, "INVALID_SPEC", "prio"),
    "an unknown key below": (
        adapter("command", argv=["true"], shell=True),
        400,
        "INVALID_SPEC",
        f"{IN_CONFIG}.shell",
    ),
    "an unknown adapter": (adapter("magic"), 400, "INVALID_SPEC", "adapter.name"),
    "a wrong type": (spec_with(deadline_ms="soon"), 400, "INVALID_SPEC", "deadline_ms"),
    "an unknown pool": (spec_with(pool="nowhere"), 400, "INVALID_SPEC", "pool"),
    "an unknown class": (spec_with(priority="urgent"), 400, "INVALID_SPEC", "priority"),
    "an id with ../": (spec_with(id="../../etc"), 400, "INVALID_SPEC", "id"),
    "no argv": (adapter("command", argv=[]), 400, "INVALID_SPEC", f"{IN_CONFIG}.argv"),
    "a zero byte": (
        adapter("command", argv=["a\0b"]),
        400,
        "INVALID_SPEC",
        f"{IN_CONFIG}.argv.0",
    ),
    "a key twice": (b'{"name": "a", "name": "b"}', 400, "INVALID_SPEC", "$"),
    "NaN": (spec_with(inputs={"x": float("nan")}), 400, "INVALID_SPEC", "$"),
    "half a character": (b'{"name": "\\ud800"}', 400, "INVALID_SPEC", "$"),
    "beyond 2**53": (spec_with(inputs={"x": 2**53 + 1}), 400, "INVALID_SPEC", "$"),
    "nested without end": (spec_with(inputs={"x": NESTED}), 400, "INVALID_SPEC", "$"),
    "above 1 MiB": (spec_with(inputs={"x": "x" * 2**20}), 413, "PAYLOAD_TOO_LARGE", None),
    "10 MB": (spec_with(objective="x" * 10_000_000), 413, "PAYLOAD_TOO_LARGE", None),
}


@pytest.mark.req("ADM-6", "API-3", "SIM-5")
@pytest.mark.parametrize("what", SPECS)
def test_a_bad_spec_over_http_is_one_typed_error(stack: Stack, bystander: str, what: str) -> None:
    body, status, code, path = SPECS[what]
    before = writings(stack)
    answered, error = post(stack, "/v1/jobs", body)
    assert (answered, error["code"]) == (status, code)
    assert error.keys() >= {"code", "message", "hint", "retriable", "request_id"}
    assert error["retriable"] is False
    if path is not None:
        assert error["details"]["path"] == path
    assert len(json.dumps(error)) < 2_000, "it does not echo the payload"
    assert writings(stack) == before
    assert stack.client.job(bystander).state is State.RUNNING


@pytest.mark.req("ADM-6", "SIM-5")
def test_in_a_batch_only_the_bad_items_are_refused(stack: Stack, bystander: str) -> None:
    items = [shell("true"), {"name": "x"}, shell("true", pool="nowhere"), shell("true")]
    answer = stack.client.submit_batch(items)
    codes = [None if item.error is None else item.error.code.value for item in answer.items]
    assert codes == [None, "INVALID_SPEC", "INVALID_SPEC", None]
    for item in answer.items:
        if item.job is not None:
            assert stack.client.wait(item.job.job_id, timeout_s=30).state is State.COMPLETED


@pytest.mark.req("API-3", "SEC-3", "SIM-5")
@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/jobs/..%2F..%2Fetc", 404, "NOT_FOUND"),
        ("/v1/jobs/a..b", 400, "INVALID_ID"),
        ("/v1/jobs/nobody", 404, "NOT_FOUND"),
        ("/v1/jobs/nobody/ledger", 404, "NOT_FOUND"),
        ("/v1/nothing", 404, "NOT_FOUND"),
    ],
)
def test_a_path_that_names_no_job_is_one_typed_error(
    stack: Stack, path: str, status: int, code: str
) -> None:
    answered, error = get(stack, path)
    assert (answered, error["code"]) == (status, code)


@pytest.mark.req("API-3", "SIM-5")
@pytest.mark.parametrize(
    ("kind", "headers", "status", "code"),
    [
        ("text/plain", {}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("application/json", {"Origin": "http://evil.example"}, 403, "FORBIDDEN"),
        ("application/json", {"Host": "evil.example"}, 403, "FORBIDDEN"),
    ],
)
def test_a_web_page_cannot_submit_jobs(
    stack: Stack, kind: str, headers: dict[str, str], status: int, code: str
) -> None:
    before = writings(stack)
    answered, error = post(stack, "/v1/jobs", spec_with(), kind, **headers)
    assert (answered, error["code"]) == (status, code)
    assert writings(stack) == before


FILES: dict[str, tuple[str, str]] = {
    "no YAML": ("a: [", "INVALID_SPEC"),
    "an unknown key": (json.dumps({**shell("true"), "prio": 1}), "INVALID_SPEC"),
    "a key twice": ("name: a\nname: b\n", "INVALID_SPEC"),
    "an unknown pool": (json.dumps(shell("true", pool="nowhere")), "INVALID_SPEC"),
    "an id with ../": (json.dumps(shell("true", id="../x")), "INVALID_SPEC"),
    "10 MB": (json.dumps(shell("true", objective="x" * 10_000_000)), "PAYLOAD_TOO_LARGE"),
}


@pytest.mark.req("CLI-2", "ADM-6", "SIM-5")
@pytest.mark.parametrize("what", FILES)
def test_a_bad_file_at_the_command_line_is_one_typed_error(
    stack: Stack, bystander: str, what: str
) -> None:
    text, code = FILES[what]
    before = writings(stack)
    machine = stack.orch("submit", "-", "--json", stdin=text)
    assert (machine.code, machine.document["code"], machine.err) == (6, code, "")
    assert writings(stack) == before


@pytest.mark.req("CLI-2", "SIM-5")
@pytest.mark.parametrize("verb", ["status", "cancel", "events", "logs", "wait"])
def test_a_bad_id_at_the_command_line_is_one_typed_error(stack: Stack, verb: str) -> None:
    for job_id, code in (("../x", "INVALID_ID"), ("nobody", "NOT_FOUND")):
        human = stack.orch(verb, job_id)
        assert (human.code, human.out) == (6, "")
        assert human.err.startswith(f"{code}: ")
        assert len(human.err.splitlines()) == 2


@pytest.mark.req("CLI-2", "FBK-1", "SIM-5")
def test_a_program_that_does_not_exist_fails_its_job_and_says_which(
    stack: Stack, bystander: str
) -> None:
    ended = stack.orch("submit", "-", "--wait", "--json", stdin=json.dumps(command("no-such-x")))
    assert (ended.code, ended.document["state"]) == (1, "failed")
    (attempt,) = ended.document["attempts"]
    assert (attempt["outcome"], attempt["reason"]) == ("environment", "not_found")
    human = stack.orch("events", ended.document["job_id"])
    assert "no such program: no-such-x" in human.out


@pytest.mark.req("RUN-2", "JOB-5", "SIM-5")
def test_a_step_that_prints_100_mb_is_kept_whole_and_disturbs_nobody(
    stack: Stack, bystander: str
) -> None:
    job_id = stack.client.submit(
        shell("yes 0123456789abcdef0123456789abcdef | head -c 100000000")
    ).job_id
    stack.wait_for_output(job_id)
    assert stack.run(shell("echo meanwhile")).state is State.COMPLETED
    record = stack.client.wait(job_id, timeout_s=50)
    assert record.state is State.COMPLETED
    assert record.result["output"]["bytes"] == 100_000_000
    assert stack.redis.memory_usage(Keys().output(job_id)) < 40_000_000


@pytest.mark.req("RUN-2", "SIM-5")
def test_invalid_utf8_is_shown_replaced_and_kept_as_it_was(stack: Stack, bystander: str) -> None:
    record = stack.run(shell(r"printf 'a\377b\n'; printf '\303' >&2"))
    assert record.state is State.COMPLETED
    lines = {(line.stream, line.text) for line in stack.client.logs(record.job_id).lines}
    assert lines == {("stdout", "a\ufffdb\n"), ("stderr", "\ufffd")}
