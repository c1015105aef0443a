"""Does the door of the running system bear what strangers send, and what others got wrong? (API-3, SEC-3)

Raw bytes against the gateway's own port, past every client; and defects that orchestrators are known to have
had: ids that nobody has answered as if they were there, reads that make things, places that no cancel frees.
"""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from typing import Any

import httpx2
import pytest

from contracts.errors import CATALOGUE, ErrorCode
from contracts.states import State
from orch.store.keys import Keys
from tests.contract.stories import read_stream
from tests.contract.test_openapi import operations
from tests.e2e.conftest import StartStack
from tests.e2e.invariants import job_ids
from tests.e2e.specs import command
from tests.e2e.stack import DEADLINE_S, Stack


def said_to(stack: Stack, sent: bytes) -> bytes:
    """What the gateway says until it closes, or has said a whole answer."""
    port = int(stack.url.rpartition(":")[2])
    said = b""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as knock,
        suppress(BrokenPipeError, ConnectionResetError),
    ):
        knock.sendall(sent.replace(b"PORT", str(port).encode()))
        if b"Connection: close" not in sent:
            knock.shutdown(socket.SHUT_WR)
        while piece := knock.recv(65_536):
            said += piece
    return said


def get(target: bytes, host: bytes = b"127.0.0.1:PORT") -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % (target, host)


HEAD = b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Type: application/json\r\n"
SPEC = json.dumps(command("true")).encode()
SIZED = b"Content-Length: %d\r\n" % len(SPEC)
HOSTILE = {
    "two lengths": HEAD + SIZED + b"Content-Length: 1\r\n\r\n" + SPEC,
    "a length and chunks": HEAD + SIZED + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SPEC,
    "a length below nothing": HEAD + b"Content-Length: -1\r\n\r\n" + SPEC,
    "a length of a thousand digits": HEAD + b"Content-Length: " + b"9" * 1_000 + b"\r\n\r\n",
    "a chunk of no size": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + SPEC,
    "an unknown coding": HEAD + b"Transfer-Encoding: gzip\r\n\r\n" + SPEC,
    "a folded header": HEAD + b"X-A: b\r\n c\r\n\r\n",
    "a header without a name": HEAD + b": b\r\n\r\n",
    "a zero byte in a header": HEAD + b"X-A: a\0b\r\n\r\n",
    "no host": b"GET /livez HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nHost: evil.example\r\n\r\n",
    "another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "redis": b"*1\r\n$7\r\nFLUSHALL\r\n\r\n",
    "a target of 100,000 bytes": get(b"/" + b"a" * 100_000),
    "a path with a zero byte": get(b"/v1/jobs/a%00b"),
    "a path upwards": get(b"/v1/jobs/..%2f..%2fetc"),
    "a path that is no text": get(b"/v1/jobs/%ff%fe"),
    "another host's address": get(b"http://evil.example/livez", b"evil.example"),
    "a name that was rebound": get(b"/livez", b"evil.example:PORT"),
}


@pytest.mark.req("API-3", "API-4", "SEC-3", "ADM-6", "SIM-5")
@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_bytes_are_refused_in_our_words_and_leave_nothing(what: str, stack: Stack) -> None:
    before = set(job_ids(stack.redis))
    head, _, body = said_to(stack, HOSTILE[what]).partition(b"\r\n\r\n")
    status = int(head.split()[1])
    assert 400 <= status < 500, head
    answer = json.loads(body)
    assert CATALOGUE[ErrorCode(answer["code"])].http_status == status
    assert f"x-correlation-id: {answer['request_id']}".encode() in head.lower()
    assert set(job_ids(stack.redis)) == before
    assert stack.answers()


def test_a_request_behind_another_is_answered_on_its_own(stack: Stack) -> None:
    """Two in one packet: no byte of one may be taken for the other."""
    one = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n"
    said = said_to(
        stack, one + b"\r\n" + one + b"X-Correlation-Id: second\r\nConnection: close\r\n\r\n"
    )
    assert said.count(b"HTTP/1.1 200") == 2
    assert said.lower().count(b"x-correlation-id: second") == 1


@pytest.fixture
def http(stack: Stack) -> Any:
    with httpx2.Client(base_url=stack.url, timeout=DEADLINE_S) as client:
        yield client


@pytest.mark.req("API-1", "API-3", "JOB-2", "SIM-5")
@pytest.mark.parametrize(
    ("method", "path"), sorted({one for one in operations().values() if "{job_id}" in one[1]})
)
def test_an_id_that_nobody_has_is_not_found_at_every_door_and_no_door_makes_it(
    method: str, path: str, stack: Stack, http: httpx2.Client
) -> None:
    where = path.replace("{job_id}", "nobody").replace("{sha256}", "0" * 64)
    body = {"question_id": "q", "value": 1} if path.endswith("answer") else None
    answer = http.request(method, where, json=body)
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
    assert [key for key in stack.redis.scan_iter() if "nobody" in key] == []


@pytest.mark.req("API-1", "EVT-2")
def test_a_stream_is_read_as_often_as_anybody_likes(stack: Stack) -> None:
    job_id = stack.run(command("true")).job_id
    assert read_stream(stack.url, job_id) == read_stream(stack.url, job_id)


@pytest.mark.req("API-1", "JOB-2")
def test_a_canceled_job_that_nobody_watched_leaves_only_its_record(stack: Stack) -> None:
    now_ms = int(stack.redis.time()[0]) * 1_000
    job_id = stack.client.submit(command("true", not_before_ms=now_ms + 3_600_000)).job_id
    assert stack.client.cancel(job_id).state is State.CANCELED
    keys, redis = Keys(), stack.redis
    assert [key for key in redis.scan_iter() if job_id in key] == [keys.job(job_id)]
    assert [entry for entry in redis.zrange(keys.due, 0, -1) if job_id in entry] == []
    assert "claim" not in stack.stored(job_id)


@pytest.mark.req("ADM-2")
def test_a_capacity_of_nothing_admits_nothing(start_stack: StartStack) -> None:
    stack = start_stack(queue_jobs_max=0)
    with httpx2.Client(base_url=stack.url, timeout=DEADLINE_S) as http:
        answer = http.post("/v1/jobs", json=command("true"))
    assert (answer.status_code, answer.json()["code"]) == (429, "QUEUE_FULL")
    assert job_ids(stack.redis) == []
