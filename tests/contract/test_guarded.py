"""Does a gateway that asks for tokens keep its contract, whoever calls? (API-2, API-4)

The same client and document as in `test_openapi.py`, by four callers: one who may do everything that a tenant
may, one who shows no token, one whose tokens lack the scope, and one who names what another tenant has. Here
it asks in sound ways only, and with ORCH_CONTRACT_EXAMPLES set it also draws at random.
"""

from __future__ import annotations

import base64
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from actors.body import make_store
from actors.gateway.permits import RULES, Reach
from contracts.tokens import SCOPES, Scope, TokenRecord
from orch.client import Endpoint, OrchSync, calls_webhooks
from orch.core.tokens import digest_of, token_text
from orch.settings import settings_of
from orch.store.keys import Keys
from tests.contract.test_openapi import TIMEOUT_S, operations, schemathesis
from tests.e2e.invariants import job_ids
from tests.e2e.specs import command
from tests.e2e.stack import Stack, a_stack

PHASES: Final = "coverage,fuzzing" if os.environ.get("ORCH_CONTRACT_EXAMPLES") else "coverage"
CHECKS: Final = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance"
)
CLOSED: Final = {name for name, rule in RULES.items() if not rule.is_open}
HOUSE: Final = {name for name, rule in RULES.items() if rule.reach is Reach.HOUSE}
FOR_ANY: Final = {name for name in CLOSED if RULES[name].scopes == SCOPES}
OF_A_TENANT: Final = ("job_id", "schedule_id", "session", "webhook_id")
"""Ids in paths that a tenant has."""

Answers = Mapping[str, set[tuple[int, str]]]
"""By operation: each status with the code of its error body, if it has one."""


@dataclass
class Guarded:
    """A stack that asks for tokens, with one tenant who calls and one who has something."""

    stack: Stack
    root: Path
    tokens: dict[tuple[str, frozenset[Scope]], str] = field(default_factory=dict)

    def token(self, tenant: str, scopes: Iterable[Scope] = SCOPES) -> str:
        """One that may do this; made once."""
        key = tenant, frozenset(scopes)
        if key not in self.tokens:
            token_id = f"{len(self.tokens):010}"
            text = token_text(token_id, "s" * 52)
            record = TokenRecord(
                name="caller",
                tenant=tenant,
                scopes=sorted(key[1]),
                sha256=digest_of(text),
                created_at_ms=1,
            )
            anyio.run(_keep, self.stack.redis_url, token_id, record)
            self.tokens[key] = text
        return self.tokens[key]

    def possessions(self, tenant: str) -> dict[str, str]:
        """One thing of each kind that the tenant has from now on, by what its id is called in a path."""
        with OrchSync(Endpoint(self.stack.url, token=self.token(tenant))) as orch:
            spec = command("true", session="chat", not_before_ms=4_000_000_000_000)
            job = orch.submit(spec).job_id
            nightly = {"schedule_id": "nightly", "cron": "@yearly", "spec": command("true")}
            orch.put_schedule(nightly)
            hook = orch.run(calls_webhooks.add("https://example.org/hook")).webhook_id
        return {"job_id": job, "schedule_id": "nightly", "session": "chat", "webhook_id": hook}

    def asked(
        self,
        tokens: Mapping[str, str],
        *words: str,
        ids: Mapping[str, str] | None = None,
        tenant: str | None = None,
    ) -> Answers:
        """What the client was answered, who holds each answer against the document."""
        callers = {"tokens": tokens, "ids": ids or {}, "tenant": tenant}
        env = {
            "SCHEMATHESIS_HOOKS": "tests.contract.callers",
            "CALLERS": json.dumps(callers),
            "SEED_JOB": "nobody",
            "SEED_SHA256": "0" * 64,
        }
        asking = ("--phases", PHASES, "--mode", "positive", "--checks", CHECKS)
        _, events = schemathesis(self.stack, env, self.root, *asking, *words)
        return _answers(events)

    def stored(self) -> dict[str, Any]:
        """Everything of anybody that a request could have made or changed."""
        redis = self.stack.redis
        names = {name for name in redis.scan_iter() if name.split(":", 2)[2].startswith(KINDS)}
        return {name: redis.dump(name) for name in sorted(names)}


KINDS: Final = (
    "job:", "jobs:", "idem:", "session", "schedule", "hook", "requests", "control", "command",
    "desired", "dead:",
)  # fmt: skip


async def _keep(redis_url: str, token_id: str, record: TokenRecord) -> None:
    store = make_store(settings_of({"redis_url": redis_url}), actor="test")
    try:
        await store.tokens.create(token_id, record)
    finally:
        await store.connection.aclose()


def _answers(events: list[dict[str, Any]]) -> Answers:
    by_label = {f"{method} {path}": name for name, (method, path) in operations().items()}
    found: dict[str, set[tuple[int, str]]] = defaultdict(set)
    for event in events:
        recorder = event.get("ScenarioFinished", {}).get("recorder", {"interactions": {}})
        for interaction in recorder["interactions"].values():
            answer = interaction["response"]
            said = base64.b64decode((answer.get("content") or {}).get("$base64", ""))
            code = json.loads(said)["code"] if answer["status_code"] >= 400 else ""
            found[by_label[recorder["label"]]].add((answer["status_code"], code))
    return found


def _all(names: Iterable[str], status: int, code: str) -> Answers:
    """Each of them says this and nothing else."""
    return {name: {(status, code)} for name in names}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    root = tmp_path_factory.mktemp("guarded")
    with a_stack(root, auth="tokens") as stack:
        yield Guarded(stack, root)


@pytest.mark.timeout(TIMEOUT_S)
@pytest.mark.req("API-2", "API-4")
def test_who_may_do_all_that_a_tenant_may_gets_only_declared_answers(guarded: Guarded) -> None:
    ids = guarded.possessions("mine")
    before = set(job_ids(guarded.stack.redis))
    tokens = dict.fromkeys(operations(), guarded.token("mine"))

    answers = guarded.asked(tokens, ids=ids, tenant="mine")

    assert answers.keys() == operations().keys()
    assert {name: answers[name] for name in HOUSE} == _all(HOUSE, 403, "FORBIDDEN")
    for name in CLOSED - HOUSE:
        said = {code for _, code in answers[name]}
        assert said - {"TENANT_MISMATCH"}, f"{name} was let in"
        assert not said & {"UNAUTHENTICATED", "FORBIDDEN", "LEASE_OVER"}, name
    assert {name for name in CLOSED - HOUSE if any(s < 300 for s, _ in answers[name])} >= {
        "submit_job", "submit_batch", "list_jobs", "get_job", "cancel_job", "put_schedule",
        "fire_schedule", "get_schedule", "list_sessions", "list_webhooks", "get_webhook",
    }  # fmt: skip
    made = set(job_ids(guarded.stack.redis)) - before
    assert made
    assert {guarded.stack.redis.hget(Keys().job(one), "tenant") for one in made} == {"mine"}


@pytest.mark.timeout(TIMEOUT_S)
@pytest.mark.req("API-2", "API-4")
def test_without_a_token_everything_says_401_and_nothing_else(guarded: Guarded) -> None:
    before = guarded.stored()
    answers = guarded.asked({})
    assert {name: answers[name] for name in CLOSED} == _all(CLOSED, 401, "UNAUTHENTICATED")
    assert answers["get_liveness"] == {(200, "")}
    assert guarded.stored() == before


@pytest.mark.timeout(TIMEOUT_S)
@pytest.mark.req("API-2", "API-4")
def test_a_token_without_the_scope_is_told_403_and_nothing_else(guarded: Guarded) -> None:
    narrow = {name: SCOPES - RULES[name].scopes for name in CLOSED - FOR_ANY}
    tokens = {name: guarded.token("mine", scopes) for name, scopes in narrow.items()}
    before = guarded.stored()
    answers = guarded.asked(tokens)
    assert {name: answers[name] for name in narrow} == _all(narrow, 403, "FORBIDDEN")
    assert guarded.stored() == before


@pytest.mark.timeout(TIMEOUT_S)
@pytest.mark.req("API-2", "API-4")
def test_what_another_tenant_has_is_404_at_every_door_and_stays_as_it_is(guarded: Guarded) -> None:
    foreign = guarded.possessions("theirs")
    before = guarded.stored()
    named = {
        name
        for name, (_, path) in operations().items()
        if any(f"{{{one}}}" in path for one in OF_A_TENANT)
    } - {"put_schedule"}  # which makes one of the caller's own
    tokens = dict.fromkeys(named, guarded.token("stranger"))

    only = [word for name in sorted(named) for word in ("--include-operation-id", name)]
    answers = guarded.asked(tokens, *only, ids=foreign, tenant="stranger")

    assert answers.keys() == named
    for name, said in answers.items():
        # Who names the other tenant is told that, and who leaves it away that there is no such thing.
        assert (404, "NOT_FOUND") in said, name
        assert {code for _, code in said} <= {"NOT_FOUND", "TENANT_MISMATCH"}, name
    assert guarded.stored() == before
