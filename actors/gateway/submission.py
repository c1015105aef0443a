"""How does a submission come in by the thousand?

`submit` is what the route does. `Express` calls it for POST /v1/jobs before the framework looks for the
route, its parameters and their models, which would take longer than everything else. Any other request,
and one whose Idempotency-Key is not plainly good, goes on to the routes. Both say the same.
"""

from __future__ import annotations

import re
from typing import Final

from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from actors.gateway.answers import json_answer
from actors.gateway.body import parse_json, read_body
from actors.gateway.callers import caller_of, gate_of
from actors.gateway.errors import (
    IS_GIVEN,
    REQUEST_ID,
    TRACEPARENT,
    error_response,
    request_id_of,
)
from actors.gateway.permits import Identity, check
from actors.gateway.services import Gateway
from contracts.errors import ErrorCode, OrchError, Refused
from orch.core.asks import Ask
from orch.telemetry.submitting import Submitting, submitting

PATH: Final = "/v1/jobs"
OPERATION: Final = "submit_job"
KEY_HEADER: Final = b"idempotency-key"
_GOOD_KEY: Final = re.compile(rb"[\x21-\x7e]{1,200}")


def _spec_in(body: bytes) -> object:
    """The document, or the refusal that every door gives to a spec it cannot read (ADM-1)."""
    try:
        return parse_json(body)
    except Refused as error:
        raise Refused(
            ErrorCode.INVALID_SPEC,
            f"$: {error.message}",
            details={"path": "$", **(error.details or {})},
        ) from None


def _key_of(document: object, header: str | None) -> str | None:
    """The key to submit under; the header and the spec may both name it, but not differently."""
    inside = document.get("idempotency_key") if isinstance(document, dict) else None
    if header is not None and inside is not None and header != inside:
        raise Refused(
            ErrorCode.INVALID_REQUEST,
            "the header Idempotency-Key and the spec's idempotency_key differ",
        )
    return header


async def submit(gate: Gateway, caller: Identity, request: Request, key: str | None) -> Response:
    """The answer to a submission under the key of its header.

    Raises:
        Refused: what admission refused, or a body that is no document.
    """
    going = submitting_of(gate, request)
    if going is None:
        return await _submit(gate, caller, request, key, None)
    with going:
        return await _submit(gate, caller, request, key, going)


async def _submit(
    gate: Gateway, caller: Identity, request: Request, key: str | None, going: Submitting | None
) -> Response:
    body = await read_body(request, wait_ms=gate.services.timing.body_wait_ms)
    document = _spec_in(body)
    ask = Ask(
        document,
        _key_of(document, key),
        job_id=gate.services.ids.job_id(),
        tenant=caller.tenant,
        carried=None if going is None else going.carried(),
    )
    answer = await gate.told_to(caller, await gate.gathering.admit(ask, size=len(body)))
    if going is not None:
        going.told([answer])
    if isinstance(answer, Refused):
        raise answer
    return json_answer(
        answer,
        status=200 if answer.duplicate else 202,
        headers={"Location": f"{PATH}/{answer.job_id}"},
    )


def submitting_of(gate: Gateway, request: Request) -> Submitting | None:
    """The trace of a request that submits; None for nearly all where nobody traces."""
    state = request.scope["state"]
    going = submitting(
        gate.services.traces,
        traceparent=state[TRACEPARENT],
        correlation_id=state[REQUEST_ID],
        is_given=state[IS_GIVEN],
    )
    if going is not None:
        # What the guard counts and logs of this request belongs to the span that begins here.
        state[TRACEPARENT] = going.traceparent
    return going


class Express:
    """ASGI middleware, inside of the guard."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Submit, or pass on."""
        keys = _keys_in(scope)
        if keys is None:
            await self._app(scope, receive, send)
            return
        request, gate = Request(scope, receive), gate_of(scope)
        try:
            caller = caller_of(scope)
            check(caller, OPERATION)
            response = await submit(gate, caller, request, keys[0] if keys else None)
        except OrchError as error:
            if isinstance(error, Refused):
                gate.refusals.note(error.code)
            response = error_response(error, request_id_of(request))
        await response(scope, receive, send)


def _keys_in(scope: Scope) -> list[str] | None:
    """The idempotency key of a submission, if it has one; None when the framework has to look."""
    if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
        return None
    keys = [value for name, value in scope["headers"] if name == KEY_HEADER]
    if len(keys) > 1 or not all(_GOOD_KEY.fullmatch(key) for key in keys):
        return None
    return [key.decode("ascii") for key in keys]
