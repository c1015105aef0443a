"""Sessions over HTTP: the list, one of them, and a submission that its session refuses."""

from __future__ import annotations

import pytest

from contracts.errors import ErrorCode, Refused
from contracts.record import SessionJob, SessionRecord
from contracts.states import State
from tests.actors.gateway.house import running

CHAT = SessionRecord(
    session="chat",
    tenant="default",
    running="one",
    jobs=[
        SessionJob(
            job_id="one",
            name="a job",
            state=State.RUNNING,
            pool="default",
            priority="batch",
            created_at_ms=1,
        )
    ],
)


@pytest.mark.req("API-1")
async def test_a_session_is_shown_with_its_live_jobs() -> None:
    async with running() as house:
        house.store.sessions.known["default", "chat"] = CHAT
        answer = await house.http.get("/v1/sessions/chat")
        assert (answer.status_code, answer.json()) == (200, CHAT.model_dump(mode="json"))


@pytest.mark.req("API-1")
async def test_sessions_are_listed_by_tenant() -> None:
    async with running() as house:
        house.store.sessions.known["default", "chat"] = CHAT
        answer = await house.http.get("/v1/sessions", params={"tenant": "default"})
        assert answer.json()["sessions"] == [
            {"session": "chat", "tenant": "default", "live_jobs": 1, "running": "one"}
        ]
        other = await house.http.get("/v1/sessions", params={"tenant": "other"})
        assert other.json() == {"sessions": [], "next_cursor": None}


@pytest.mark.req("API-1")
@pytest.mark.parametrize(("path", "status"), [("nobody", 404), ("bad..id", 400)])
async def test_a_session_that_is_not_there_or_none(path: str, status: int) -> None:
    async with running() as house:
        assert (await house.http.get(f"/v1/sessions/{path}")).status_code == status


@pytest.mark.req("SCH-4", "API-3")
async def test_a_busy_session_is_a_conflict_that_names_the_live_job() -> None:
    async with running() as house:
        house.store.full = Refused(
            ErrorCode.SESSION_BUSY, "session chat has a live job", details={"job_id": "one"}
        )
        document = {"name": "a", "adapter": {"name": "command", "config": {"argv": ["true"]}}}
        answer = await house.http.post("/v1/jobs", json=document)
        assert (answer.status_code, answer.json()["code"]) == (409, "SESSION_BUSY")
        assert answer.json()["details"] == {"job_id": "one"}
