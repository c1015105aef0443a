"""Tokens as they are stored: a hash by id, and nothing that could be shown at a door (API-4)."""

from __future__ import annotations

import pytest

from contracts.errors import Corrupt, ErrorCode, Refused
from contracts.tokens import Scope, TokenRecord
from orch.core.tokens import digest_of, token_text, view_of
from tests.store.world import World

TEXT = token_text("a" * 10, "s" * 52)


def record(**changes: object) -> TokenRecord:
    made = TokenRecord(
        name="ci", tenant="acme", scopes=[Scope.READ], sha256=digest_of(TEXT), created_at_ms=5
    )
    return made.model_copy(update=changes)


@pytest.mark.req("API-4")
async def test_a_token_is_found_by_its_id_until_it_is_revoked(world: World) -> None:
    tokens = world.store.tokens
    await tokens.create("t1", record())
    await tokens.create("t0", record(created_at_ms=9))

    assert await tokens.find("t1") == record()
    assert list(await tokens.all()) == ["t1", "t0"], "oldest first"
    assert await tokens.revoke("t1") == record()
    assert (await tokens.find("t1"), await tokens.revoke("t1")) == (None, None)
    assert list(await tokens.all()) == ["t0"]


@pytest.mark.req("API-4", "SEC-2")
async def test_what_is_stored_could_not_be_shown_at_a_door(world: World) -> None:
    await world.store.tokens.create("t1", record())

    assert TEXT not in str(await world.contents())
    assert TEXT[-20:] not in str(await world.contents())
    assert "sha256" not in view_of("t1", record()).model_dump()


@pytest.mark.req("API-4")
async def test_a_record_that_cannot_be_read_lets_nobody_in_and_is_not_quoted(world: World) -> None:
    await world.redis("HSET", world.connection.keys.tokens, "t1", '{"name": "s3cret"}')

    with pytest.raises(Corrupt) as corrupt:
        await world.store.tokens.find("t1")
    assert "s3cret" not in str(corrupt.value.body())


@pytest.mark.req("LSE-5")
async def test_the_houses_key_is_made_once_and_stays(world: World) -> None:
    assert await world.store.tokens.agent_key("first") == "first"
    assert await world.store.tokens.agent_key("second") == "first"


@pytest.mark.req("API-4")
async def test_anothers_job_and_one_that_never_was_are_refused_alike(world: World) -> None:
    await world.pool()
    await world.submit("our-1", tenant="acme")
    reading = world.store.reading

    await reading.check_tenant("our-1", "acme")
    words = []
    for job_id, tenant in (("our-1", "evil"), ("our-1", ""), ("none", "evil"), ("none", "")):
        with pytest.raises(Refused) as refused:
            await reading.check_tenant(job_id, tenant)
        assert refused.value.code is ErrorCode.NOT_FOUND
        words.append(str(refused.value.body()).replace(job_id, "?"))
    assert len(set(words)) == 1
    assert await reading.claim_of("our-1") is None
