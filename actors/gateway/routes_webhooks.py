"""Webhooks over HTTP: registered, listed, tested, rotated, removed; their deliveries looked at and resent.

Only the answers to a registration and to a rotation hold the secret.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeVar

from fastapi import APIRouter, Depends, Request, Response

from actors.gateway.answers import (
    Gate,
    Tenant,
    id_path,
    json_answer,
    legal_id,
    stored_refusals,
    takes,
)
from actors.gateway.body import as_model, parse_json, read_body, read_json
from actors.gateway.callers import Caller
from actors.gateway.services import Gateway
from contracts.errors import ErrorCode, Refused
from contracts.webhooks import (
    DeliveryList,
    NewWebhook,
    NewWebhookAnswer,
    ResendWebhook,
    RotateWebhook,
    Webhook,
    WebhookList,
    WebhookPosted,
)
from orch.core.targets import refusal, target_of
from orch.core.webhooks import no_such_webhook

router: Final = APIRouter(tags=["webhooks"])
_E: Final = ErrorCode
Wish = TypeVar("Wish", RotateWebhook, ResendWebhook)


NamedId = Annotated[str, legal_id("webhook"), id_path("The webhook's id.")]


async def _own(gate: Gate, caller: Caller, webhook_id: NamedId) -> str:
    """The webhook of the path, if it is the caller's; another tenant's does not exist for it."""
    if caller.tenant is not None:
        hook = await gate.services.store.webhooks.one(webhook_id)
        if hook.tenant != caller.tenant:
            raise no_such_webhook(webhook_id)
    return webhook_id


WebhookId = Annotated[str, Depends(_own)]
_KNOWN: Final = (_E.INVALID_ID, _E.NOT_FOUND)
_POSTED: Final = (*_KNOWN, _E.UNSUPPORTED_MEDIA_TYPE)


def _check_url(gate: Gateway, url: str) -> None:
    target = target_of(url)
    why = target if isinstance(target, str) else refusal(target, gate.services.webhook_hosts)
    if why is not None:
        raise Refused(_E.INVALID_REQUEST, f"url: {why}", details={"path": "url"})


@router.post(
    "/v1/webhooks",
    status_code=201,
    response_model=NewWebhookAnswer,
    responses=stored_refusals(
        _E.INVALID_ID, _E.LIMIT_REACHED, _E.UNSUPPORTED_MEDIA_TYPE, _E.TENANT_MISMATCH
    ),
    openapi_extra=takes(NewWebhook),
)
async def add_webhook(gate: Gate, caller: Caller, request: Request) -> Response:
    """Register a webhook; this answer alone shows its secret."""
    document = await read_json(request, wait_ms=gate.services.timing.body_wait_ms)
    wish = as_model(document, NewWebhook)
    named = wish.tenant if "tenant" in wish.model_fields_set else None
    wish = wish.model_copy(update={"tenant": caller.tenant_for(named) or wish.tenant})
    _check_url(gate, wish.url)
    return json_answer(await gate.services.store.webhooks.add(wish), status=201)


@router.get("/v1/webhooks", response_model=WebhookList, responses=stored_refusals(_E.INVALID_ID))
async def list_webhooks(gate: Gate, tenant: Tenant = None) -> Response:
    """All webhooks, or those of a tenant."""
    return json_answer(await gate.services.store.webhooks.known(tenant))


@router.get("/v1/webhooks/{webhook_id}", response_model=Webhook, responses=stored_refusals(*_KNOWN))
async def get_webhook(gate: Gate, webhook_id: WebhookId) -> Response:
    """One webhook as it is now."""
    return json_answer(await gate.services.store.webhooks.one(webhook_id))


@router.delete(
    "/v1/webhooks/{webhook_id}", response_model=Webhook, responses=stored_refusals(*_KNOWN)
)
async def remove_webhook(gate: Gate, webhook_id: WebhookId) -> Response:
    """Remove a webhook, with everything that waits for it; the answer says what it was."""
    return json_answer(await gate.services.store.webhooks.remove(webhook_id))


@router.post(
    "/v1/webhooks/{webhook_id}/test",
    status_code=202,
    response_model=WebhookPosted,
    responses=stored_refusals(*_POSTED, _E.LIMIT_REACHED),
)
async def test_webhook(gate: Gate, webhook_id: WebhookId) -> Response:
    """Send a delivery of type `webhook.test`; how it went stands among the deliveries."""
    return json_answer(await gate.services.store.webhooks.test(webhook_id), status=202)


@router.post(
    "/v1/webhooks/{webhook_id}/enable",
    status_code=202,
    response_model=Webhook,
    responses=stored_refusals(*_POSTED),
)
async def enable_webhook(gate: Gate, webhook_id: WebhookId) -> Response:
    """Go on with a webhook whose receiver had answered 410."""
    return json_answer(await gate.services.store.webhooks.switch_on(webhook_id), status=202)


@router.post(
    "/v1/webhooks/{webhook_id}/rotate",
    response_model=NewWebhookAnswer,
    responses=stored_refusals(*_POSTED),
    openapi_extra=takes(RotateWebhook, required=False),
)
async def rotate_webhook(gate: Gate, request: Request, webhook_id: WebhookId) -> Response:
    """Replace the secret; the old one signs beside the new one for a while."""
    wish = await _wish(gate, request, RotateWebhook)
    answer = await gate.services.store.webhooks.rotate(webhook_id, overlap_ms=wish.overlap_ms)
    return json_answer(answer)


@router.get(
    "/v1/webhooks/{webhook_id}/deliveries",
    response_model=DeliveryList,
    responses=stored_refusals(*_KNOWN),
)
async def list_deliveries(gate: Gate, webhook_id: WebhookId) -> Response:
    """Deliveries that wait, dead ones, and the newest delivered; at most a hundred of each."""
    return json_answer(await gate.services.store.webhooks.deliveries(webhook_id))


@router.post(
    "/v1/webhooks/{webhook_id}/resend",
    status_code=202,
    response_model=WebhookPosted,
    responses=stored_refusals(*_POSTED, _E.LIMIT_REACHED),
    openapi_extra=takes(ResendWebhook, required=False),
)
async def resend_deliveries(gate: Gate, request: Request, webhook_id: WebhookId) -> Response:
    """Try dead deliveries once more, with the ids they had."""
    wish = await _wish(gate, request, ResendWebhook)
    answer = await gate.services.store.webhooks.resend(webhook_id, wish.delivery_ids)
    return json_answer(answer, status=202)


async def _wish(gate: Gateway, request: Request, model: type[Wish]) -> Wish:
    body = await read_body(request, wait_ms=gate.services.timing.body_wait_ms)
    return as_model(parse_json(body) if body else {}, model)
