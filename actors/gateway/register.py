"""Tokens as one gateway process knows them, of one shard: asked of the store, remembered for a short time.

A lookup is remembered for TOKEN_CACHE_MS: that long a revoked token may still be good.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Protocol

from actors.gateway.permits import Identity
from contracts.errors import ErrorCode, Refused
from contracts.limits import TOKEN_CACHE_MS
from contracts.tokens import Scope as Permission
from contracts.tokens import TokenRecord
from orch.core.tokens import (
    agent_job_of,
    bearer_of,
    digest_of,
    is_agent_token,
    is_valid,
    token_id_of,
)
from orch.ports import Clock

REMEMBERED_MAX: Final = 10_000


class Tokens(Protocol):
    """What is stored of tokens."""

    async def find(self, token_id: str) -> TokenRecord | None:
        """The record of that id."""
        ...

    async def agent_key(self, fresh: str) -> str:
        """The house's key for attempts' tokens."""
        ...


class Jobs(Protocol):
    """The one thing to know of a job here."""

    async def claim_of(self, job_id: str) -> str | None:
        """The claim in force."""
        ...


def unauthenticated() -> Refused:
    """The refusal of whoever has no valid token; it never says why."""
    return Refused(ErrorCode.UNAUTHENTICATED, "a valid bearer token is needed")


class Register:
    """Tokens as this process knows them: asked of the store, remembered for a short time."""

    def __init__(self, tokens: Tokens, jobs: Jobs, clock: Clock, *, fresh_key: str) -> None:
        self._tokens, self._jobs, self._clock = tokens, jobs, clock
        self._fresh_key = fresh_key
        self._seen: OrderedDict[str, tuple[int, TokenRecord | None]] = OrderedDict()
        self._agent_key: tuple[int, str] = (-TOKEN_CACHE_MS, "")

    async def identity_of(self, header: str | None) -> Identity:
        """Who shows this Authorization header.

        Raises:
            Refused: UNAUTHENTICATED; LEASE_OVER, an attempt's token whose claim is over.
            Unavailable: the store cannot be asked; nobody is let in on memory alone.
        """
        text = bearer_of(header)
        if text is None:
            raise unauthenticated()
        job_id = agent_job_of(text)
        return await (self._owner(text) if job_id is None else self._attempt(text, job_id))

    async def _owner(self, text: str) -> Identity:
        token_id = token_id_of(text)
        record = None if token_id is None else await self._recall(token_id)
        is_good = record is not None and is_valid(
            record, digest=digest_of(text), now_ms=self._clock.wall_ms()
        )
        if token_id is None or record is None or not is_good:
            raise unauthenticated()
        return Identity(record.name, record.tenant, frozenset(record.scopes), f"token:{token_id}")

    async def _recall(self, token_id: str) -> TokenRecord | None:
        now_ms = self._clock.monotonic_ms()
        at_ms, record = self._seen.get(token_id, (-TOKEN_CACHE_MS, None))
        if now_ms - at_ms < TOKEN_CACHE_MS:
            return record
        record = await self._tokens.find(token_id)
        self._seen[token_id] = (now_ms, record)
        self._seen.move_to_end(token_id)
        if len(self._seen) > REMEMBERED_MAX:
            self._seen.popitem(last=False)
        return record

    async def _attempt(self, text: str, job_id: str) -> Identity:
        key = await self._key()
        claim = await self._jobs.claim_of(job_id)
        if claim is not None and is_agent_token(text, key=key, job_id=job_id, claim=claim):
            name = f"agent:{job_id}"
            return Identity(name, None, frozenset({Permission.READ}), f"job:{job_id}", job_id)
        # Also for a job that never was: it must not tell one from the other.
        raise Refused(
            ErrorCode.LEASE_OVER, "the claim that this token was made for is not in force"
        )

    async def _key(self) -> str:
        now_ms = self._clock.monotonic_ms()
        if now_ms - self._agent_key[0] >= TOKEN_CACHE_MS:
            self._agent_key = (now_ms, await self._tokens.agent_key(self._fresh_key))
        return self._agent_key[1]
