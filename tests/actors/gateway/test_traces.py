"""What does a hostile request leave behind? One error body, one line for operators, and nothing else.

Each carries a canary, which may stand in no answer, in no line of the log and in nothing that is stored.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from contracts import limits
from contracts.errors import CATALOGUE, ErrorCode
from contracts.record import ErrorBody, Submitted
from orch.core.asks import Ask, JobFilter, LetterFilter
from orch.store.cursors import cursor_out
from tests.actors.gateway.house import SPEC, wait_until
from tests.actors.gateway.process import body_of, status_of
from tests.actors.gateway.test_attacks import Target, spec, target

CANARY: Final = "c4n4ry5ecret"
SECRET: Final = CANARY.encode()
DOORS: Final = (
    ("POST", "/v1/jobs"),
    ("POST", "/v1/jobs:batch"),
    ("PUT", "/v1/schedules/nightly"),
    ("POST", "/v1/webhooks"),
    ("POST", "/v1/dead-letters/replay"),
)
BODIES: Final = {
    "deep": b'{"inputs":' + b"[" * 100_000 + b'"%b"' % SECRET + b"]" * 100_000 + b"}",
    "deep objects": b'{"a":' * 50_000 + b'"%b"' % SECRET + b"}" * 50_000,
    "a key twice": b'{"name":"%b","name":"b"}' % SECRET,
    "a key twice, far below": spec(name=CANARY, inputs={"x": 1}).replace(b'"x"', b'"x":0,"x"'),
    "NUL": spec(id=f"{CANARY}\0"),
    "NUL as it is": b'{"name":"%b\0"}' % SECRET,
    "half a character": b'{"name":"%b\\ud800"}' % SECRET,
    "half a character as a key": b'{"%b\\udfff":1}' % SECRET,
    "no UTF-8": b'{"name":"%b\xed\xa0\x80"}' % SECRET,
    "not JSON": b'{"name": %b' % SECRET,
    "another kind": b'"%b"' % SECRET,
}
"""Refused with 400 wherever a body is read."""


@dataclass
class Attack:
    """A gateway that is asked; what was refused so far."""

    it: Target
    codes: set[str] = field(default_factory=set)

    async def refused(self, said: bytes, status: int, *codes: ErrorCode, what: str = "") -> None:
        """This is the one error body, with one of these codes, and does not say the canary."""
        assert said, what
        error = ErrorBody.model_validate(body_of(said))
        assert (status_of(said), CATALOGUE[error.code].http_status) == (status, status), what
        assert error.code in codes, what
        assert f"x-correlation-id: {error.request_id}".encode() in said.lower(), what
        assert SECRET not in said, what
        self.codes.add(error.code)

    async def send(self, method: str, path: str, body: bytes) -> bytes:
        head = self.it.process.head(
            f"{method} {path}",
            self.it.auth,
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            f"X-Planted: {CANARY}",
            "Connection: close",
        )
        return await self.it.process.knock(head + body)

    async def get(self, path: str) -> bytes:
        return await self.it.get(path, f"X-Planted: {CANARY}")

    async def everything(self) -> dict[str, Any]:
        """What is stored, and how many jobs ever came."""
        arrivals = await self.it.store.connection.execute("HGET", "{orch:0}:meta", "arrivals")
        return {**await self.it.contents(), "arrivals": arrivals}

    def told(self) -> list[dict[str, Any]]:
        """What operators read of refusals."""
        lines = (json.loads(line) for line in self.it.process.log.splitlines())
        return [line for line in lines if line["event"] == "refused_at_the_door"]


@asynccontextmanager
async def attack(home: Path) -> AsyncIterator[Attack]:
    """Nothing may be stored meanwhile, each code is told, and nobody reads what was sent."""
    async with target(home) as it:
        one = Attack(it)
        mine, theirs = await it.store.admission.admit([
            Ask({**SPEC, "tenant": "evil"}), Ask({**SPEC, "tenant": "acme", "id": "foreign"})
        ])  # fmt: skip
        assert isinstance(mine, Submitted), mine
        assert isinstance(theirs, Submitted), theirs
        before = await one.everything()
        yield one
        assert await one.everything() == before
        await wait_until(lambda: one.codes <= {line["code"] for line in one.told()})
        for line in one.told():
            assert line.keys() - {"correlation_id"} == {
                "event", "code", "count", "level", "timestamp", "actor",
            }  # fmt: skip
    assert CANARY not in it.process.log


@pytest.mark.req("API-3", "API-4", "SEC-2", "ADM-6")
async def test_a_hostile_body_leaves_one_line_at_every_door_that_reads_one(tmp_path: Path) -> None:
    async with attack(tmp_path) as it:
        for what, body in BODIES.items():
            for method, path in DOORS:
                said = await it.send(method, path, body)
                codes = ErrorCode.INVALID_SPEC, ErrorCode.INVALID_REQUEST
                await it.refused(said, 400, *codes, what=f"{what}, {method} {path}")
        assert it.codes == {"INVALID_SPEC", "INVALID_REQUEST"}


@pytest.mark.req("API-3", "API-4", "SEC-2", "ADM-6")
async def test_what_is_too_large_leaves_one_line(tmp_path: Path) -> None:
    async with attack(tmp_path) as it:
        fat = spec(inputs={"fat": CANARY * (limits.SPEC_BYTES_MAX // len(CANARY))})
        await it.refused(await it.send("POST", "/v1/jobs", fat), 413, ErrorCode.PAYLOAD_TOO_LARGE)
        chunk = SECRET * (limits.MIB // len(SECRET))
        said = await it.it.post(chunk, *([chunk] * 100), length=101 * len(chunk))
        # Who goes on sending is cut off, and may not get to read why.
        if said:
            await it.refused(said, 413, ErrorCode.PAYLOAD_TOO_LARGE)


@pytest.mark.req("API-3", "API-4", "SEC-2")
async def test_foreign_ids_and_ids_that_are_none_leave_one_line(tmp_path: Path) -> None:
    async with attack(tmp_path) as it:
        body = json.dumps({"reason": CANARY}).encode()
        for where in ("foreign", CANARY):
            for method, verb in (("GET", ""), ("GET", "/events"), ("POST", "/cancel")):
                said = await it.send(method, f"/v1/jobs/{where}{verb}", body if verb else b"")
                error = ErrorCode.NOT_FOUND
                if where == CANARY:  # the id that was asked for may be said
                    said = said.replace(SECRET, b"it")
                await it.refused(said, 404, error, what=where + verb)
        for path in (f"/v1/jobs/{CANARY}%00", f"/v1/jobs/{CANARY}%ff", f"/v1/jobs/{CANARY}%2f.."):
            said = (await it.get(path)).replace(SECRET, b"it")
            assert status_of(said) in {400, 404}, path
            await it.refused(said, status_of(said), ErrorCode.INVALID_ID, ErrorCode.NOT_FOUND)
        asked = await it.get("/v1/jobs?tenant=acme")
        await it.refused(asked, 403, ErrorCode.TENANT_MISMATCH)


@pytest.mark.req("API-3", "API-4", "SEC-2")
async def test_cursors_that_expired_and_cursors_that_are_none_leave_one_line(
    tmp_path: Path,
) -> None:
    async with attack(tmp_path) as it:
        lost = {
            "/v1/jobs": cursor_out(JobFilter(tenant="evil"), 10**9),
            "/v1/dead-letters": cursor_out(LetterFilter(tenant="evil"), 10**9),
        }
        for path, cursor in lost.items():
            said = await it.get(f"{path}?cursor={cursor}")
            await it.refused(said, 400, ErrorCode.EXPIRED_CURSOR, what=path)
        for path in (*lost, "/v1/schedules", "/v1/sessions"):
            for cursor in (CANARY, lost["/v1/jobs"][:-2], CANARY * 20, f"{CANARY}%00"):
                said = await it.get(f"{path}?name={CANARY}&cursor={cursor}")
                await it.refused(said, 400, ErrorCode.INVALID_REQUEST, what=path)


@pytest.mark.req("API-3", "API-4", "SEC-2", "SIM-5")
async def test_a_head_that_never_ends_leaves_one_line(tmp_path: Path) -> None:
    async with attack(tmp_path) as it:
        head = b"GET /v1/jobs/%b HTTP/1.1\r\nX-Planted: %b\r\n" % (SECRET, SECRET)
        said = await it.it.process.knock(head, within_s=15)
        await it.refused(said, 400, ErrorCode.INVALID_REQUEST)
        assert body_of(said)["message"] == "the request did not arrive in time"
