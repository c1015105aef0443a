"""Who a token stands for: what it admits, whose name the ledger gets, and how soon it is over (API-4)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors.gateway.permits import Identity
from actors.gateway.register import Register
from contracts.errors import ErrorCode, Refused, Unavailable
from contracts.limits import TOKEN_CACHE_MS
from contracts.tokens import Scope, TokenRecord
from orch.core.asks import JobFilter
from orch.core.tokens import (
    agent_job_of,
    agent_token,
    bearer_of,
    digest_of,
    is_agent_token,
    token_id_of,
    token_text,
)
from orch.system import secret_letters
from tests.actors.gateway.fortress import KEY, Fortress, fortress
from tests.actors.gateway.house import SPEC

ID, SECRET = "a" * 10, "s" * 52


class Clock:
    def __init__(self) -> None:
        self.now_ms = 1_000_000

    def monotonic_ms(self) -> int:
        return self.now_ms

    def wall_ms(self) -> int:
        return self.now_ms

    async def sleep_ms(self, duration_ms: float) -> None:
        raise AssertionError(duration_ms)


class Stored:
    """What the store says of tokens and claims, and how often it was asked."""

    def __init__(self) -> None:
        self.records: dict[str, TokenRecord] = {}
        self.claims: dict[str, str] = {}
        self.asked = 0
        self.away = False

    async def find(self, token_id: str) -> TokenRecord | None:
        self.asked += 1
        if self.away:
            raise Unavailable(ErrorCode.UNAVAILABLE, "away")
        return self.records.get(token_id)

    async def agent_key(self, fresh: str) -> str:
        return fresh

    async def claim_of(self, job_id: str) -> str | None:
        return self.claims.get(job_id)

    def issue(self, **changes: Any) -> str:
        text = token_text(ID, SECRET)
        record = TokenRecord(
            name="ci", tenant="acme", scopes=[Scope.READ], sha256=digest_of(text), created_at_ms=1
        )
        self.records[ID] = record.model_copy(update=changes)
        return f"Bearer {text}"


def register(stored: Stored, clock: Clock) -> Register:
    return Register(stored, stored, clock, fresh_key=KEY)


async def refusal(known: Register, header: str | None) -> ErrorCode:
    with pytest.raises(Refused) as refused:
        await known.identity_of(header)
    assert refused.value.details is None, "it never says why"
    return refused.value.code


@pytest.mark.req("API-4")
async def test_a_token_is_asked_for_once_in_a_while_and_over_within_that_time() -> None:
    stored, clock = Stored(), Clock()
    known, header = register(stored, clock), stored.issue()

    for _ in range(3):
        found = await known.identity_of(header)
        assert found == Identity("ci", "acme", frozenset({Scope.READ}), f"token:{ID}")
    assert stored.asked == 1

    del stored.records[ID]
    clock.now_ms += TOKEN_CACHE_MS
    assert await refusal(known, header) is ErrorCode.UNAUTHENTICATED
    assert stored.asked == 2


@pytest.mark.req("API-4")
async def test_expiry_needs_no_question() -> None:
    stored, clock = Stored(), Clock()
    known, header = register(stored, clock), stored.issue(expires_at_ms=clock.now_ms + 5)

    await known.identity_of(header)
    clock.now_ms += 5

    assert await refusal(known, header) is ErrorCode.UNAUTHENTICATED


@pytest.mark.req("API-4")
async def test_without_redis_nobody_is_let_in_on_memory() -> None:
    stored, clock = Stored(), Clock()
    known, header = register(stored, clock), stored.issue()
    await known.identity_of(header)
    stored.away = True
    clock.now_ms += TOKEN_CACHE_MS

    with pytest.raises(Unavailable):
        await known.identity_of(header)


@pytest.mark.req("API-4")
async def test_what_is_no_token_of_ours_costs_no_question() -> None:
    stored = Stored()
    known, good = register(stored, Clock()), stored.issue()
    text = good.removeprefix("Bearer ")
    for header in (
        *(None, "", "Bearer", "Bearer x", f"Basic {text}", text, f"Bearer {text[:-1]}"),
        *(f"{good} {text}", f"Bearer\t{text}", f"Bearer {text.upper()}", "Bearer orcha_x_y"),
        f"Bearer {text.replace('s', 't', 1)}",
    ):
        assert await refusal(known, header) is ErrorCode.UNAUTHENTICATED, header
    assert stored.asked == 0

    assert await known.identity_of(f"bearer   {text} ") is not None


@pytest.mark.req("API-4")
async def test_a_sound_token_with_another_secret_is_not_the_one_stored() -> None:
    stored = Stored()
    known = register(stored, Clock())
    stored.issue()

    assert await refusal(known, f"Bearer {token_text(ID, 't' * 52)}") is ErrorCode.UNAUTHENTICATED
    assert stored.asked == 1


def test_a_token_has_260_random_bits_a_prefix_and_a_check() -> None:
    text = token_text(ID, SECRET)

    assert text.startswith("orch_aaaaaaaaaa_")
    assert token_id_of(text) == ID
    assert len(SECRET) * 5 >= 256
    assert len({secret_letters(52) for _ in range(100)}) == 100
    for at in range(len(text)):
        changed = text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :]
        assert token_id_of(changed) is None, changed
    assert bearer_of("Bearer " + "x" * 513) is None


@pytest.mark.req("LSE-5")
async def test_an_attempts_token_is_good_while_its_claim_is_in_force() -> None:
    stored = Stored()
    known = register(stored, Clock())
    stored.claims["job_1"] = "1.2.abc"
    header = f"Bearer {agent_token(KEY, 'job_1', '1.2.abc')}"

    found = await known.identity_of(header)
    assert found == Identity("agent:job_1", None, frozenset({Scope.READ}), "job:job_1", "job_1")

    for claim in ("1.3.abc", None):
        if claim is None:
            del stored.claims["job_1"]
        else:
            stored.claims["job_1"] = claim
        assert await refusal(known, header) is ErrorCode.LEASE_OVER


@pytest.mark.req("LSE-5")
def test_an_attempts_token_is_bound_to_its_job_its_claim_and_the_houses_key() -> None:
    text = agent_token(KEY, "a_b.c-d", "1.2.x")

    assert agent_job_of(text) == "a_b.c-d"
    assert is_agent_token(text, key=KEY, job_id="a_b.c-d", claim="1.2.x")
    for key, job_id, claim in (
        ("l" * 52, "a_b.c-d", "1.2.x"),
        (KEY, "other", "1.2.x"),
        (KEY, "a_b.c-d", "1.2.y"),
    ):
        assert not is_agent_token(text, key=key, job_id=job_id, claim=claim)
    for text in ("orcha__" + "0" * 64, "orcha_a..b_" + "0" * 64, "orcha_a_" + "0" * 63):
        assert agent_job_of(text) is None


async def posted(house: Fortress, token: str, **changes: Any) -> tuple[int, dict[str, Any]]:
    answer = await house.call("POST", "/v1/jobs", token, {**SPEC, **changes})
    return answer.status_code, answer.json()


@pytest.mark.req("API-4")
async def test_a_spec_takes_the_tokens_tenant_and_no_other(tmp_path: Path) -> None:
    async with fortress(tmp_path) as house:
        acme, all_ = await house.token(tenant="acme"), await house.token()
        for changes in ({}, {"tenant": "acme"}):
            status, job = await posted(house, acme, **changes)
            assert status == 202
            assert (await house.store.reading.job(job["job_id"])).tenant == "acme"
        before = await house.contents()
        for tenant in ("evil", "default"):
            status, error = await posted(house, acme, tenant=tenant)
            assert (status, error["code"]) == (403, "TENANT_MISMATCH")
        status, error = await posted(house, acme, tenant=None)
        assert (status, error["code"]) == (400, "INVALID_SPEC")
        assert await house.contents() == before

        status, job = await posted(house, all_)
        assert (await house.store.reading.job(job["job_id"])).tenant == "default"


@pytest.mark.req("API-4", "ADM-6")
async def test_in_a_batch_only_the_items_of_other_tenants_are_refused(tmp_path: Path) -> None:
    async with fortress(tmp_path) as house:
        token = await house.token(tenant="acme")
        specs = [SPEC, {**SPEC, "tenant": "evil"}, {**SPEC, "tenant": "acme"}, 7]
        answer = await house.call("POST", "/v1/jobs:batch", token, {"items": specs})

        items = answer.json()["items"]
        codes = [item["error"]["code"] if "error" in item else None for item in items]
        assert codes == [None, "TENANT_MISMATCH", None, "INVALID_SPEC"]
        page = await house.store.reading.jobs(JobFilter(tenant="acme"), limit=9, cursor=None)
        assert len(page.jobs) == 2


@pytest.mark.req("API-4")
async def test_an_id_that_another_tenant_took_is_taken_and_no_more_is_said(tmp_path: Path) -> None:
    async with fortress(tmp_path) as house:
        await house.submit(id="mine", tenant="acme")
        evil, acme = await house.token(tenant="evil"), await house.token(tenant="acme")

        asked: list[tuple[str, dict[str, Any]]] = [
            ("/v1/jobs", {**SPEC, "id": "mine"}),
            ("/v1/jobs:batch", {"items": [{**SPEC, "id": "mine"}]}),
        ]
        for path, body in asked:
            answer = (await house.call("POST", path, evil, body)).json()
            error = answer["items"][0]["error"] if "items" in answer else answer
            assert error["code"] == "IDEMPOTENCY_CONFLICT"
            assert error["details"] == {"path": "id"}
        _, error = await posted(house, acme, id="mine", objective="other")
        assert {"digest", "other_digest"} <= error["details"].keys(), "its owner sees both digests"


@pytest.mark.req("API-4")
async def test_idempotency_keys_of_two_tenants_never_meet(tmp_path: Path) -> None:
    async with fortress(tmp_path) as house:
        for tenant in ("acme", "evil"):
            token = await house.token(tenant=tenant)
            status, job = await posted(house, token, idempotency_key="k", name=tenant)
            assert (status, job["duplicate"]) == (202, False)


@pytest.mark.req("API-4", "JOB-4")
async def test_the_ledger_names_the_token_that_steered(tmp_path: Path) -> None:
    async with fortress(tmp_path) as house:
        job_id = await house.submit(tenant="acme")
        token = await house.token(tenant="acme", name="night-shift")
        assert (await house.call("POST", f"/v1/jobs/{job_id}/cancel", token)).status_code == 202

        events = await house.store.reading.ledger(job_id, after=0, limit=9)
        assert events[-1].payload["by"] == "night-shift"


@pytest.mark.req("API-4", "FBK-4")
async def test_a_foreign_dead_letter_is_replayed_by_nobody_else(tmp_path: Path) -> None:
    async with fortress(tmp_path) as house:
        foreign = await house.submit(tenant="acme")
        token = await house.token(tenant="evil")
        before = await house.contents()
        for dry_run in (True, False):
            body = {"job_ids": [foreign, "unknown"], "dry_run": dry_run}
            answer = await house.call("POST", "/v1/dead-letters/replay", token, body)
            errors = [letter["error"] for letter in answer.json()["letters"]]
            assert [error["code"] for error in errors] == ["NOT_FOUND", "NOT_FOUND"]
            texts = {json.dumps(e).replace(foreign, "?").replace("unknown", "?") for e in errors}
            assert len(texts) == 1
        of_acme = {"filter": {"tenant": "acme"}}
        answer = await house.call("POST", "/v1/dead-letters/replay", token, of_acme)
        assert (answer.status_code, answer.json()["code"]) == (403, "TENANT_MISMATCH")
        assert await house.contents() == before


@pytest.mark.req("API-4")
async def test_a_revoked_token_is_refused_and_its_open_stream_ends(tmp_path: Path) -> None:
    async with fortress(tmp_path) as house:
        job_id = await house.submit(tenant="acme")
        token = await house.token(tenant="acme")
        (token_id,) = await house.store.tokens.all()
        headers = {"Authorization": f"Bearer {token}"}
        path = f"/v1/jobs/{job_id}/events"
        async with house.http.stream("GET", path, headers=headers) as stream:
            lines = stream.aiter_lines()
            assert await anext(lines) == "event: started"
            await house.store.tokens.revoke(token_id)
            with anyio.fail_after(2 * TOKEN_CACHE_MS / 1_000):
                while (await house.call("GET", f"/v1/jobs/{job_id}", token)).status_code == 200:
                    await anyio.sleep(0.05)
                await house.store.steering.pause(job_id, by="me")  # news, that it must not get
                rest = [line async for line in lines]
        assert rest[-4] == "event: error"
        assert json.loads(rest[-2].removeprefix("data: "))["code"] == "UNAUTHENTICATED"
        assert not any("paused" in line for line in rest)


@pytest.mark.req("LSE-5")
async def test_an_attempt_may_read_its_own_job_and_nothing_else(tmp_path: Path) -> None:
    async with fortress(tmp_path) as house:
        ours, other = await house.submit(), await house.submit()
        await house.store.connection.execute(
            "HSET", house.store.connection.keys.job(ours), "claim", "1.1.x"
        )
        token = agent_token(KEY, ours, "1.1.x")

        assert (await house.call("GET", f"/v1/jobs/{ours}/ledger", token)).status_code == 200
        assert (await house.call("GET", f"/v1/jobs/{other}", token)).status_code == 404
        assert (await house.call("GET", "/v1/jobs/unknown", token)).status_code == 404
        for method, path in (
            ("POST", f"/v1/jobs/{ours}/cancel"),
            ("GET", "/v1/jobs"),
            ("GET", "/metrics"),
            ("POST", "/v1/jobs"),
        ):
            refused = await house.call(method, path, token, {"a": 1} if method == "POST" else None)
            assert refused.status_code == 403, path
        over = await house.call("GET", f"/v1/jobs/{ours}", agent_token(KEY, ours, "1.0.x"))
        assert (over.status_code, over.json()["code"]) == (409, "LEASE_OVER")
