"""`python -m actors token …`: makes, lists and revokes the gateway's bearer tokens.

It writes to Redis itself, because the first token cannot come in through a door that asks for one. So it
is for whoever may reach the server: the home's owner (the private server's socket stands in the home) or
who knows ORCH_REDIS_URL. What it prints is for `orch token`, as JSON on a pipe.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
from pydantic import ValidationError

from actors.body import make_store
from contracts.errors import ErrorCode, OrchError, Refused, Unavailable
from contracts.limits import DAY_MS, HOUR_MS, MINUTE_MS
from contracts.record import View
from contracts.tokens import Scope, TokenList, TokenMade, TokenRecord
from orch.core.tokens import ID_CHARS, SECRET_CHARS, digest_of, token_text, view_of
from orch.settings import Settings
from orch.store.store import Store
from orch.system import SystemClock, secret_letters

_SPAN: Final = re.compile(r"\A([1-9][0-9]{0,5})([mhd])\Z")
_UNIT_MS: Final = {"m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS}
Work = Callable[[Store], Coroutine[Any, Any, View]]


def add_options(parser: argparse.ArgumentParser) -> None:
    """What follows `token`."""
    parser.add_argument("verb", choices=("create", "list", "revoke"))
    parser.add_argument("token_id", nargs="?")
    parser.add_argument("--name")
    parser.add_argument("--tenant")
    parser.add_argument("--scope", action="append", default=[])
    parser.add_argument("--expires")


def act(options: argparse.Namespace, settings: Settings, home: Path) -> int:
    """Does what the options say, and prints the answer or the error body; the exit code."""
    try:
        view = anyio.run(_done, _work(options), _with_server(settings, home))
    except OrchError as error:
        sys.stdout.write(json.dumps(error.body()) + "\n")
        return int(error.entry.exit_code)
    sys.stdout.write(view.model_dump_json() + "\n")
    return 0


def _work(options: argparse.Namespace) -> Work:
    match options.verb:
        case "create":
            return partial(_create, options)
        case "revoke":
            return partial(_revoke, str(options.token_id or ""))
        case _:
            return _list


async def _done(work: Work, settings: Settings) -> View:
    store = make_store(settings, actor="token")
    try:
        return await work(store)
    finally:
        await store.connection.aclose()


def _with_server(settings: Settings, home: Path) -> Settings:
    """The settings with a server: theirs, or that of the stack which runs in the home."""
    if settings.redis_url is not None:
        return settings
    try:
        url = json.loads((home / "endpoint.json").read_bytes())["redis_url"]
    except (OSError, ValueError, KeyError, TypeError):
        raise Unavailable(
            ErrorCode.UNAVAILABLE,
            f"no Orch runs in {home}, and no redis_url is set",
            hint="Start it with `orch up`, or set ORCH_REDIS_URL.",
        ) from None
    return replace(settings, redis_url=url)


def _expiry(span: str | None, now_ms: int) -> int | None:
    if span is None:
        return None
    match = _SPAN.match(span)
    if match is None:
        message = f"--expires takes a number and m, h or d, as 30d, not {span[:40]!r}"
        raise Refused(ErrorCode.INVALID_REQUEST, message)
    return now_ms + int(match[1]) * _UNIT_MS[match[2]]


def _record(options: argparse.Namespace, sha256: str) -> TokenRecord:
    now_ms = SystemClock().wall_ms()
    try:
        return TokenRecord(
            name=options.name or "",
            tenant=options.tenant,
            scopes=sorted(set(options.scope)),
            sha256=sha256,
            created_at_ms=now_ms,
            expires_at_ms=_expiry(options.expires, now_ms),
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        key = str(first["loc"][0])
        known = ", ".join(scope.value for scope in Scope)
        hint = f"Scopes are {known}." if key == "scopes" else "`orch token create --help` shows it."
        raise Refused(
            ErrorCode.INVALID_REQUEST, f"{key}: {first['msg']}", details={"path": key}, hint=hint
        ) from None


async def _create(options: argparse.Namespace, store: Store) -> View:
    token_id = secret_letters(ID_CHARS)
    text = token_text(token_id, secret_letters(SECRET_CHARS))
    record = _record(options, digest_of(text))
    await store.tokens.create(token_id, record)
    return TokenMade(token=text, **view_of(token_id, record).model_dump())


async def _list(store: Store) -> View:
    found = await store.tokens.all()
    return TokenList(tokens=[view_of(token_id, record) for token_id, record in found.items()])


async def _revoke(token_id: str, store: Store) -> View:
    record = await store.tokens.revoke(token_id)
    if record is None:
        message = f"there is no token {token_id}"
        raise Refused(ErrorCode.NOT_FOUND, message, hint="`orch token list` shows those that are.")
    return view_of(token_id, record)
