"""Who calls, and which shard is asked? Found out once, before a route or anything of a body is looked at.

`Callers` is the ASGI middleware that finds out; `Caller` is what every route gets; `authorize` is the one
dependency of the whole application that judges scope and tenant by `permits.py`, so that no route can
forget it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Final, cast

from fastapi import Depends, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from actors.gateway.errors import REQUEST_ID, error_response
from actors.gateway.permits import OPEN_PATHS, Identity, Reach, check
from actors.gateway.services import Gateway
from actors.gateway.shards import Shards, shard_named
from contracts.errors import OrchError, Refused
from contracts.tokens import SCOPES

CALLER: Final = "caller"
GATE: Final = "gate"
UNNAMED: Final = "http"
"""Who acted, as the ledger names it, where no tokens are asked for."""
_AUTHORIZATION: Final = b"authorization"
_NOBODY: Final = Identity(UNNAMED, None, frozenset(), "nobody")


@lru_cache(maxsize=1_024)
def _anybody(address: str) -> Identity:
    """Who calls from there, where nobody is asked for a token."""
    return Identity(UNNAMED, None, SCOPES, f"address:{address}")


class Callers:
    """ASGI middleware between the guard and everything else."""

    def __init__(self, app: ASGIApp, *, shards: Shards) -> None:
        self._app, self._shards = app, shards
        self._throttle = shards.commons.throttle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Find out who calls and count the request, or answer that it may not come in."""
        if scope["type"] == "http":
            try:
                scope["state"][CALLER], scope["state"][GATE] = await self._entering(scope)
            except OrchError as error:
                self._shards.commons.refusals.note(error.code)
                response = error_response(error, scope["state"][REQUEST_ID])
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _entering(self, scope: Scope) -> tuple[Identity, Gateway]:
        client = scope.get("client")
        anybody = _anybody(client[0] if client else "local")
        if scope["path"] in OPEN_PATHS:
            return _NOBODY, self._shards.first
        if not self._shards.asks_for_tokens:
            self._throttle.spend(anybody.key)
            return anybody, self._shards.gate(shard_named(scope))
        try:
            caller, gate = await self._shards.known(header_of(scope), shard_named(scope))
        except Refused:
            self._throttle.spend(anybody.key)  # who guesses is slowed down as well
            raise
        self._throttle.spend(caller.key)
        return caller, gate


def header_of(scope: Scope) -> str | None:
    """The Authorization header; None when there is none, or more than one."""
    found = [value for name, value in scope["headers"] if name == _AUTHORIZATION]
    return found[0].decode("latin-1") if len(found) == 1 else None


def caller_of(scope: Scope) -> Identity:
    """Who `Callers` found."""
    return cast("Identity", scope["state"][CALLER])


def gate_of(scope: Scope) -> Gateway:
    """The shard that `Callers` found."""
    return cast("Gateway", scope["state"][GATE])


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
        await gate_of(request.scope).own(caller, request.path_params["job_id"])
