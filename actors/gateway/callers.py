"""Who calls? Asked once, before a route or anything of a body is looked at.

`Callers` is the ASGI middleware that finds out; `Caller` is what every route gets; `authorize` is the one
dependency of the whole application that judges scope and tenant by `permits.py`, so that no route can
forget it. A lookup is remembered for TOKEN_CACHE_MS: that long a revoked token may still be good.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from typing import Annotated, Final, Protocol, cast

from fastapi import Depends, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from actors.gateway.errors import REQUEST_ID, error_response
from actors.gateway.permits import OPEN_PATHS, Identity, Reach, check
from actors.gateway.refusals import Refusals
from actors.gateway.throttle import Throttle
from contracts.errors import ErrorCode, OrchError, Refused
from contracts.limits import TOKEN_CACHE_MS
from contracts.tokens import SCOPES, TokenRecord
from contracts.tokens import Scope as Permission
from orch.core.tokens import (
    agent_job_of,
    bearer_of,
    digest_of,
    is_agent_token,
    is_valid,
    token_id_of,
)
from orch.ports import Clock

CALLER: Final = "caller"
UNNAMED: Final = "http"
"""Who acted, as the ledger names it, where no tokens are asked for."""
REMEMBERED_MAX: Final = 10_000
_AUTHORIZATION: Final = b"authorization"


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


_NOBODY: Final = Identity(UNNAMED, None, frozenset(), "nobody")


@lru_cache(maxsize=1_024)
def _anybody(address: str) -> Identity:
    """Who calls from there, where nobody is asked for a token."""
    return Identity(UNNAMED, None, SCOPES, f"address:{address}")


class Door(Protocol):
    """What one gateway process shares, as far as it is asked for here."""

    @property
    def register(self) -> Register | None:
        """None: nobody is asked for a token."""
        ...

    @property
    def throttle(self) -> Throttle:
        """Requests by time."""
        ...

    @property
    def refusals(self) -> Refusals:
        """What operators hear."""
        ...


class Callers:
    """ASGI middleware between the guard and everything else."""

    def __init__(self, app: ASGIApp, *, gate: Door) -> None:
        self._app, self._gate = app, gate
        self._register, self._throttle = gate.register, gate.throttle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Find out who calls and count the request, or answer that it may not come in."""
        if scope["type"] == "http":
            try:
                scope["state"][CALLER] = await self._caller(scope)
            except OrchError as error:
                self._gate.refusals.note(error.code)
                response = error_response(error, scope["state"][REQUEST_ID])
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _caller(self, scope: Scope) -> Identity:
        client = scope.get("client")
        anybody = _anybody(client[0] if client else "local")
        if scope["path"] in OPEN_PATHS:
            return _NOBODY
        if self._register is None:
            self._throttle.spend(anybody.key)
            return anybody
        try:
            caller = await self._register.identity_of(header_of(scope))
        except Refused:
            self._throttle.spend(anybody.key)  # who guesses is slowed down as well
            raise
        self._throttle.spend(caller.key)
        return caller


def header_of(scope: Scope) -> str | None:
    """The Authorization header; None when there is none, or more than one."""
    found = [value for name, value in scope["headers"] if name == _AUTHORIZATION]
    return found[0].decode("latin-1") if len(found) == 1 else None


def caller_of(scope: Scope) -> Identity:
    """Who `Callers` found."""
    return cast("Identity", scope["state"][CALLER])


async def _caller(request: Request) -> Identity:
    return caller_of(request.scope)


Caller = Annotated[Identity, Depends(_caller)]


async def authorize(request: Request) -> None:
    """Judges the caller for the route at hand; a dependency of the whole application.

    Raises:
        Refused: FORBIDDEN; NOT_FOUND, the job of another tenant, in the words for one that never was.
    """
    caller = caller_of(request.scope)
    rule = check(caller, request.scope["route"].name)
    if rule.reach is Reach.JOB:
        await request.app.state.gateway.own(caller, request.path_params["job_id"])
