"""One gateway for several shards: a token leads to its shard, a header names one, and nothing is mixed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from contracts.errors import ErrorCode, Unavailable
from contracts.tokens import Scope
from orch.core.asks import Ask
from orch.core.tokens import agent_token, token_text
from orch.store.leases import Instance
from orch.store.store import Store
from orch.system import secret_letters
from tests.actors.gateway.fake_store import FakeStore
from tests.actors.gateway.fortress import KEY, Fortress, fortress
from tests.actors.gateway.house import SPEC, Reading, running, wait_until

FURTHER = 7


async def ids_seen(house: Fortress, token: str | None, shard: object = None) -> set[str]:
    answer = await house.call("GET", "/v1/jobs", token, shard=shard)
    assert answer.status_code == 200, answer.text
    return {one["job_id"] for one in answer.json()["jobs"]}


@pytest.mark.req("DEP-2")
async def test_without_tokens_a_header_names_the_shard_and_none_means_the_first(
    tmp_path: Path,
) -> None:
    async with fortress(tmp_path, agent_key=None, shards=[FURTHER]) as house:
        here, there = await house.submit(), await house.submit(shard=FURTHER)
        assert await ids_seen(house, None) == await ids_seen(house, None, 0) == {here}
        assert await ids_seen(house, None, FURTHER) == {there}
        made = await house.call("POST", "/v1/jobs", None, SPEC, shard=FURTHER)
        assert (await house.of(FURTHER).reading.job(made.json()["job_id"])).state == "queued"


@pytest.mark.parametrize("named", ["8", "-1", "07", "x", "99999", ""])
async def test_a_shard_that_nobody_answers_for_is_refused_by_name(
    tmp_path: Path, named: str
) -> None:
    async with fortress(tmp_path, agent_key=None, shards=[FURTHER]) as house:
        for method, path in (("GET", "/v1/jobs"), ("POST", "/v1/jobs")):
            answer = await house.call(method, path, None, SPEC, shard=named)
            assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")
            assert answer.json()["details"]["path"] == "Orch-Shard"


@pytest.mark.req("DEP-2", "API-4")
async def test_a_tenants_token_leads_to_its_shard_and_to_no_other(tmp_path: Path) -> None:
    async with fortress(tmp_path, shards=[FURTHER]) as house:
        token = await house.token(tenant="acme", shard=FURTHER)
        elsewhere = await house.submit(tenant="acme")
        made = await house.call("POST", "/v1/jobs", token, {**SPEC, "tenant": "acme"})
        assert made.status_code == 202, made.text
        assert await ids_seen(house, token) == {made.json()["job_id"]}
        assert (await house.call("GET", f"/v1/jobs/{elsewhere}", token)).status_code == 404
        assert await ids_seen(house, token, FURTHER) == {made.json()["job_id"]}
        assert (await house.call("GET", "/v1/jobs", token, shard=0)).status_code == 403


@pytest.mark.req("DEP-2", "API-4")
async def test_who_may_see_everybody_names_the_shard(tmp_path: Path) -> None:
    async with fortress(tmp_path, shards=[FURTHER]) as house:
        here, there = await house.submit(), await house.submit(shard=FURTHER)
        for home in (0, FURTHER):
            token = await house.token(shard=home)
            assert await ids_seen(house, token, 0) == {here}
            assert await ids_seen(house, token, FURTHER) == {there}
            assert await ids_seen(house, token) == {here if home == 0 else there}


async def test_a_token_that_no_shard_knows_is_no_token(tmp_path: Path) -> None:
    async with fortress(tmp_path, shards=[FURTHER]) as house:
        stranger = token_text(secret_letters(10), secret_letters(52))
        assert (await house.call("GET", "/v1/jobs", stranger)).status_code == 401
        assert (await house.call("GET", "/v1/jobs", stranger, shard=FURTHER)).status_code == 401
        assert (await house.call("GET", "/v1/jobs")).status_code == 401


async def test_scopes_hold_on_every_shard(tmp_path: Path) -> None:
    async with fortress(tmp_path, shards=[FURTHER]) as house:
        token = await house.token(scopes=[Scope.READ])
        answer = await house.call("POST", "/v1/jobs", token, SPEC, shard=FURTHER)
        assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")


@pytest.mark.req("DEP-2", "SEC-2")
async def test_an_attempts_token_reads_its_job_on_its_shard(tmp_path: Path) -> None:
    async with fortress(tmp_path, shards=[FURTHER]) as house:
        job_id, claim = await claimed(house.of(FURTHER))
        key = await house.of(FURTHER).tokens.agent_key(KEY)
        token = agent_token(key, job_id, claim)
        assert (await house.call("GET", f"/v1/jobs/{job_id}", token)).status_code == 200
        assert (await house.call("GET", f"/v1/jobs/{job_id}", token, shard=0)).status_code == 403


async def claimed(store: Store) -> tuple[str, str]:
    """A job that a runner of this shard has, and its claim."""
    about = {"lease_ms": 60_000}
    await store.leases.register(Instance("r", "runner", about, pool="default", slots=1))
    await store.admission.admit([Ask(SPEC)])
    cycled = await store.claims.cycle("r", "default", number=1, free=1, random="x", endings=[])
    assert cycled is not None
    (offer,) = cycled.offers
    return offer.job_id, offer.claim


# ---------------------------------------------------------------- when a shard is away


class Guarded(FakeStore):
    """It asks for tokens, and knows none; it says so only while it is there."""

    async def find(self, token_id: str) -> None:
        self._called("find")


def states(answer: Any) -> tuple[int, Any]:
    return answer.status_code, answer.json()["checks"]


async def test_a_shard_that_is_away_takes_no_other_along() -> None:
    other = FakeStore()
    async with running(further={1: other}) as house:
        other.away = True
        status, checks = states(await house.http.get("/readyz"))
        assert status == 200
        assert checks["redis"] == "ok"
        assert checks["redis-1"] != "ok"
        await house.submit()
        answer = await house.http.get("/v1/jobs", headers={"Orch-Shard": "1"})
        assert answer.status_code == 503
        house.store.away = True
        assert states(await house.http.get("/readyz"))[0] == 503


async def test_a_stranger_hears_503_while_a_shard_cannot_be_asked() -> None:
    other = Guarded()
    async with running(further={1: other}, agent_key=KEY) as house:
        stranger = token_text(secret_letters(10), secret_letters(52))
        headers = {"Authorization": f"Bearer {stranger}"}
        assert (await house.http.get("/v1/jobs", headers=headers)).status_code == 401
        other.fault = Unavailable(ErrorCode.UNAVAILABLE, "away")
        another = token_text(secret_letters(10), secret_letters(52))
        headers = {"Authorization": f"Bearer {another}"}
        assert (await house.http.get("/v1/jobs", headers=headers)).status_code == 503


async def test_each_shard_has_a_feed_of_its_own() -> None:
    other = FakeStore()
    async with running(further={1: other}) as house:
        made = await house.http.post("/v1/jobs", json=SPEC, headers={"Orch-Shard": "1"})
        job_id, reading = made.json()["job_id"], Reading()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: house.follow(job_id, reading, headers={"Orch-Shard": "1"}))
            await wait_until(lambda: bool(reading.frames))
            told = (await house.http.get("/metrics")).text
            assert "orch_sse_watched_jobs 1.0" in told
            other.claim(job_id)
            other.settle(job_id)
        assert reading.closed
        assert reading.frames[-1].event == "end"
