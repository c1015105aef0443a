"""Every operation of contracts/openapi.json, called by those who may not (API-4).

A new route fails here until REQUESTS says how it is called; so nobody can add one that is not tried.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from actors.gateway.app import create_app
from actors.gateway.app import operations as served
from actors.gateway.permits import RULES, gaps
from contracts.tokens import Scope
from tests.actors.gateway.fake_store import FakeStore
from tests.actors.gateway.fortress import Fortress, fortress
from tests.actors.gateway.house import SPEC, services_over

DOCUMENT: Final = json.loads((Path(__file__).parents[3] / "contracts/openapi.json").read_bytes())
VARYING: Final = {"date", "x-correlation-id"}
UNKNOWN: Final = "00000000000000000000"


@dataclass(frozen=True)
class Asked:
    """How an operation is called well."""

    body: Any = None
    path: dict[str, str] = field(default_factory=dict)


DIGEST: Final = Asked(path={"sha256": "0" * 64})
PLAIN: Final = Asked()
SCHEDULE: Final = Asked(path={"schedule_id": "nightly"})
HOOK: Final = Asked(path={"webhook_id": "w1"})
POOL: Final = Asked(path={"pool": "default"})
STEER: Final = Asked({"reason": "because"})
REQUESTS: Final[dict[str, Asked]] = {
    "submit_job": Asked(SPEC),
    "submit_batch": Asked({"items": [SPEC]}),
    "list_jobs": PLAIN,
    "get_job": PLAIN,
    "cancel_job": STEER,
    "pause_job": STEER,
    "resume_job": STEER,
    "answer_question": Asked({"question_id": "q1", "value": "yes"}),
    "get_ledger": PLAIN,
    "get_logs": PLAIN,
    "watch_job": PLAIN,
    "list_artifacts": PLAIN,
    "get_artifact": DIGEST,
    "explain_job": PLAIN,
    "list_dead_letters": PLAIN,
    "replay_dead_letters": Asked({"filter": {}, "dry_run": True}),
    "put_schedule": Asked({"cron": "0 0 1 1 *", "spec": SPEC}, {"schedule_id": "nightly"}),
    "fire_schedule": SCHEDULE,
    "list_schedules": PLAIN,
    "get_schedule": SCHEDULE,
    "delete_schedule": SCHEDULE,
    "pause_schedule": SCHEDULE,
    "resume_schedule": SCHEDULE,
    "list_sessions": PLAIN,
    "get_session": Asked(path={"session": "chat-1"}),
    "list_pools": PLAIN,
    "get_pool_health": POOL,
    "list_replica_sets": PLAIN,
    "get_scale": POOL,
    "list_commands": PLAIN,
    "get_command": Asked(path={"command_id": "c-1"}),
    "command": Asked({"command": "pause", "target": "pool:default"}),
    "drain_pool": POOL,
    "undrain_pool": POOL,
    "pause_pool": POOL,
    "resume_pool": POOL,
    "reload_pool": POOL,
    "add_webhook": Asked({"url": "https://example.org/hook"}),
    "list_webhooks": PLAIN,
    "get_webhook": HOOK,
    "remove_webhook": HOOK,
    "test_webhook": HOOK,
    "enable_webhook": HOOK,
    "rotate_webhook": HOOK,
    "list_deliveries": HOOK,
    "resend_deliveries": HOOK,
    "get_capabilities": PLAIN,
    "get_liveness": PLAIN,
    "get_readiness": PLAIN,
    "get_metrics": PLAIN,
}


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


CLOSED: Final = [one for one in operations() if one[2]["security"]]
OF_A_JOB: Final = [one for one in CLOSED if "{job_id}" in one[1]]


def target(path: str, operation: dict[str, Any], job_id: str) -> str:
    values = {**REQUESTS[operation["operationId"]].path, "job_id": job_id}
    return re.sub(r"\{(\w+)\}", lambda found: values[found[1]], path)


def told(answer: httpx2.Response, job_id: str) -> tuple[Any, ...]:
    """Everything that a caller sees, but for the id that it named itself."""
    headers = {name: value for name, value in answer.headers.items() if name not in VARYING}
    body = re.sub(r'"request_id":"[^"]*"', '"request_id":"?"', answer.text)
    return answer.status_code, headers, body.replace(job_id, "<the job>")


def test_every_operation_of_the_contract_is_tried_here_and_has_a_rule() -> None:
    names = {operation["operationId"] for _, _, operation in operations()}

    assert names == set(REQUESTS)
    assert names == set(RULES)
    assert names == set(served())


def test_a_new_route_without_a_rule_or_with_an_unknown_id_cannot_be_served() -> None:
    assert gaps({"get_job": frozenset({"job_id"})}) == []
    assert gaps({"get_secrets": frozenset()}) == ["get_secrets: no rule in permits.RULES"]
    assert gaps({"get_job": frozenset({"job_id", "hook_id"})}) != []
    assert gaps({"get_job": frozenset()}) != [], "its rule says that a job is in the path"
    assert gaps({"list_jobs": frozenset({"job_id"})}) != [], "its rule says that none is"


@pytest.mark.req("API-4")
async def test_another_tenants_job_is_to_every_operation_one_that_never_was(tmp_path: Path) -> None:
    assert len(OF_A_JOB) >= 11
    async with fortress(tmp_path) as house:
        foreign = await house.submit(tenant="acme")
        token = await house.token(tenant="evil")
        before = await house.contents()

        for method, path, operation in OF_A_JOB:
            body = REQUESTS[operation["operationId"]].body
            hidden = await house.call(method, target(path, operation, foreign), token, body)
            unknown = await house.call(method, target(path, operation, UNKNOWN), token, body)

            assert hidden.status_code == 404, operation["operationId"]
            assert hidden.json()["code"] == "NOT_FOUND"
            assert told(hidden, foreign) == told(unknown, UNKNOWN), operation["operationId"]
        assert await house.contents() == before


@pytest.mark.req("API-4")
async def test_bad_queries_and_bodies_tell_nothing_of_another_tenants_job(tmp_path: Path) -> None:
    async with fortress(tmp_path) as house:
        foreign = await house.submit(tenant="acme")
        token = await house.token(tenant="evil")

        for method, path, operation in OF_A_JOB:
            for query, body in (("?limit=x&after=-1", None), ("", {"nonsense": 1})):
                if body is not None and method == "GET":
                    continue
                hidden = await house.call(
                    method, target(path, operation, foreign) + query, token, body
                )
                unknown = await house.call(
                    method, target(path, operation, UNKNOWN) + query, token, body
                )
                assert told(hidden, foreign) == told(unknown, UNKNOWN), operation["operationId"]
                assert hidden.status_code == 404


@pytest.mark.req("API-4")
async def test_another_tenants_session_is_one_that_never_was(tmp_path: Path) -> None:
    async with fortress(tmp_path) as house:
        await house.submit(tenant="acme", session="chat-1")
        own, foreign = await house.token(tenant="acme"), await house.token(tenant="evil")

        assert (await house.call("GET", "/v1/sessions/chat-1", own)).status_code == 200
        hidden = await house.call("GET", "/v1/sessions/chat-1", foreign)
        unknown = await house.call("GET", "/v1/sessions/chat-2", foreign)
        assert hidden.json()["code"] == "NOT_FOUND"
        assert told(hidden, "chat-1") == told(unknown, "chat-2")
        assert (await house.call("GET", "/v1/sessions", foreign)).json()["sessions"] == []
        for path in ("/v1/sessions?tenant=acme", "/v1/sessions/chat-1?tenant=acme"):
            asked = await house.call("GET", path, foreign)
            assert (asked.status_code, asked.json()["code"]) == (403, "TENANT_MISMATCH")


@pytest.mark.req("API-4")
async def test_the_same_job_is_there_for_its_own_tenant_and_for_a_token_of_all(
    tmp_path: Path,
) -> None:
    async with fortress(tmp_path) as house:
        for tenant in ("acme", None):
            token = await house.token(tenant=tenant)
            for method, path, operation in OF_A_JOB:
                job_id = await house.submit(tenant="acme")
                name = operation["operationId"]
                if name == "watch_job":
                    await house.store.steering.cancel(job_id, by="me")  # else it streams for ever
                answer = await house.call(
                    method, target(path, operation, job_id), token, REQUESTS[name].body
                )
                if name == "get_artifact":
                    assert answer.json()["message"] == "this job has no artifact of that digest"
                else:
                    assert answer.status_code in {200, 202, 409}, (name, answer.text)


@pytest.mark.req("API-4", "API-3")
async def test_without_a_valid_token_every_operation_says_401_and_nothing_else(
    tmp_path: Path,
) -> None:
    async with fortress(tmp_path) as house:
        job_id = await house.submit(tenant="acme")
        good = await house.token()
        expired = await house.token(expires_at_ms=1)
        mistyped = good[:-1] + ("0" if good[-1] != "0" else "1")
        strangers = [None, "x", mistyped, expired, good.upper(), good[:-9], f"{good} {good}"]
        before = await house.contents()
        said = set()

        for method, path, operation in CLOSED:
            for stranger in strangers:
                body = REQUESTS[operation["operationId"]].body
                answer = await house.call(method, target(path, operation, job_id), stranger, body)
                assert answer.status_code == 401, (operation["operationId"], stranger)
                assert answer.headers["www-authenticate"] == "Bearer"
                said.add(told(answer, job_id)[2])
        assert len(said) == 1, "it never says why"
        assert await house.contents() == before


@pytest.mark.req("API-4")
async def test_without_the_scope_every_operation_says_403_and_names_it(tmp_path: Path) -> None:
    async with fortress(tmp_path) as house:
        job_id = await house.submit(tenant="acme")
        before = None
        for method, path, operation in CLOSED:
            needed = {scope for way in operation["security"] for scope in way["bearer"]}
            others = [scope for scope in Scope if scope not in needed]
            if not others:
                continue  # any token may
            for tenant in ("acme", "evil", None):
                token = await house.token(tenant=tenant, scopes=others)
                before = await house.contents()
                answer = await house.call(
                    method,
                    target(path, operation, job_id),
                    token,
                    REQUESTS[operation["operationId"]].body,
                )
                assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")
                assert all(scope in answer.json()["message"] for scope in needed)
                assert await house.contents() == before
        assert before is not None


@pytest.mark.req("API-4")
async def test_probes_need_no_token_and_unknown_paths_and_methods_do(tmp_path: Path) -> None:
    async with fortress(tmp_path) as house:
        token = await house.token()
        for path in ("/livez", "/readyz"):
            assert (await house.call("GET", path)).status_code == 200
        for method, path in (("GET", "/v1/nothing"), ("DELETE", "/v1/jobs"), ("PUT", "/v1/jobs/x")):
            assert (await house.call(method, path)).status_code == 401
            assert (await house.call(method, path, token)).status_code in {404, 405}


@pytest.mark.req("API-4")
async def test_the_houses_own_numbers_are_not_for_a_tenant(tmp_path: Path) -> None:
    async with fortress(tmp_path) as house:
        ours = await house.token(scopes=[Scope.CONTROL])
        theirs = await house.token(scopes=[Scope.CONTROL], tenant="acme")

        assert (await house.call("GET", "/metrics", ours)).status_code == 200
        assert (await house.call("GET", "/metrics", theirs)).status_code == 403


def test_a_gateway_without_tokens_asks_nobody() -> None:
    app = create_app(services_over(FakeStore()))

    assert app.state.shards.first.register is None


async def listed(house: Fortress, path: str, token: str) -> set[str]:
    answer = await house.call("GET", path, token)
    assert answer.status_code == 200, answer.text
    page = answer.json()
    return {one["job_id"] for one in page.get("jobs", page.get("dead_letters"))}


@pytest.mark.req("API-4")
async def test_lists_show_a_tenant_its_own_and_refuse_to_be_asked_for_anothers(
    tmp_path: Path,
) -> None:
    async with fortress(tmp_path) as house:
        ours, theirs = await house.submit(tenant="acme"), await house.submit(tenant="evil")
        acme, all_ = await house.token(tenant="acme"), await house.token()

        assert await listed(house, "/v1/jobs", acme) == {ours}
        assert await listed(house, "/v1/jobs?tenant=acme&state=queued", acme) == {ours}
        assert await listed(house, "/v1/jobs", all_) == {ours, theirs}
        named = [
            path
            for method, path, operation in CLOSED
            if method == "GET"
            and any(one["name"] == "tenant" for one in operation.get("parameters", ()))
        ]
        assert set(named) >= {"/v1/jobs", "/v1/dead-letters", "/v1/schedules"}
        for path in named:
            for tenant in ("evil", "nobody"):
                where = path.replace("{schedule_id}", "nightly")
                refused = await house.call("GET", f"{where}?tenant={tenant}", acme)
                assert (refused.status_code, refused.json()["code"]) == (403, "TENANT_MISMATCH")
        assert await listed(house, "/v1/dead-letters", acme) == set()


@pytest.mark.req("API-4", "SCH-6")
async def test_another_tenants_schedule_is_one_that_never_was(tmp_path: Path) -> None:
    named = [
        one
        for one in CLOSED
        if "{schedule_id}" in one[1] and one[2]["operationId"] != "put_schedule"
    ]
    assert len(named) >= 5
    put = REQUESTS["put_schedule"].body
    async with fortress(tmp_path) as house:
        acme, evil = await house.token(tenant="acme"), await house.token(tenant="evil")
        made = await house.call("PUT", "/v1/schedules/nightly", acme, put)
        assert (made.status_code, made.json()["spec"]["tenant"]) == (200, "acme"), made.text
        before = await house.contents()

        for method, path, operation in named:
            body = REQUESTS[operation["operationId"]].body
            hidden = await house.call(method, target(path, operation, ""), evil, body)
            unknown = path.replace("{schedule_id}", "unknown")
            never = await house.call(method, unknown, evil, body)
            assert hidden.status_code == 404, operation["operationId"]
            assert told(hidden, "nightly") == told(never, "unknown")
            asked = await house.call(
                method, f"{target(path, operation, '')}?tenant=acme", evil, body
            )
            assert (asked.status_code, asked.json()["code"]) == (403, "TENANT_MISMATCH")
        foreign = await house.call(
            "PUT", "/v1/schedules/nightly", evil, {**put, "spec": {**SPEC, "tenant": "acme"}}
        )
        assert (foreign.status_code, foreign.json()["code"]) == (403, "TENANT_MISMATCH")
        assert await house.contents() == before
