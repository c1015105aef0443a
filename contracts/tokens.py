"""What a bearer token may do, what is stored of it, and what people see of it.

The token itself is shown once and kept nowhere: stored is its SHA-256. How its text is built and checked
is `orch.core.tokens`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from contracts.adapters import Id, Strict
from contracts.record import View


class Scope(StrEnum):
    """One kind of thing a caller may do. Scopes do not include one another."""

    SUBMIT = "submit"
    """Hand in jobs, replay dead letters."""
    READ = "read"
    """Look at jobs and at what they left."""
    STEER = "steer"
    """Cancel, pause, resume, answer."""
    CONTROL = "control"
    """Pools, drain, limits, metrics: what is of the house, not of a tenant."""
    ADMIN = "admin"
    """Tokens, webhooks."""


SCOPES: Final = frozenset(Scope)
"""Everything."""


class TokenRecord(Strict):
    """What is stored of a token, under its id."""

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$")]
    """Who the ledger says it was."""
    tenant: Id | None
    """Whose jobs it reaches; None: everybody's."""
    scopes: Annotated[
        list[Annotated[Scope, Field(strict=False)]], Field(min_length=1, max_length=len(Scope))
    ]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of the whole token."""
    created_at_ms: Annotated[int, Field(ge=0)]
    expires_at_ms: Annotated[int, Field(ge=0)] | None = None


class TokenView(View):
    """A token as `orch token list` shows it: everything but what could be used."""

    token_id: str
    name: str
    tenant: str | None
    scopes: list[Scope]
    created_at_ms: int
    expires_at_ms: int | None


class TokenList(View):
    """All tokens, oldest first."""

    tokens: list[TokenView]


class TokenMade(TokenView):
    """A new token. The only time that `token` is shown; None when it was written to a file."""

    token: str | None
