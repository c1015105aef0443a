"""As `calls.py`, for webhooks."""

from __future__ import annotations

import json
from collections.abc import Sequence

from contracts.ids import checked_id
from contracts.webhooks import (
    DeliveryList,
    NewWebhookAnswer,
    Webhook,
    WebhookList,
    WebhookPosted,
)
from orch.client.calls import Call


def _path(webhook_id: str, below: str = "") -> str:
    return f"/v1/webhooks/{checked_id(webhook_id, what='webhook')}{below}"


def add(
    url: str,
    *,
    tenant: str | None = None,
    events: Sequence[str] = (),
    name: str | None = None,
    with_result: bool = False,
) -> Call[NewWebhookAnswer]:
    """POST /v1/webhooks; without events, all of them."""
    wish: dict[str, object] = {"url": url, "with_result": with_result}
    if tenant is not None:
        wish["tenant"] = tenant
    if name is not None:
        wish["name"] = name
    if events:
        wish["events"] = list(events)
    return Call(
        "POST", "/v1/webhooks", NewWebhookAnswer.model_validate_json, body=json.dumps(wish).encode()
    )


def known(tenant: str | None = None) -> Call[WebhookList]:
    """GET /v1/webhooks, the oldest first."""
    query = {} if tenant is None else {"tenant": tenant}
    return Call("GET", "/v1/webhooks", WebhookList.model_validate_json, query)


def one(webhook_id: str) -> Call[Webhook]:
    """GET /v1/webhooks/{id}."""
    return Call("GET", _path(webhook_id), Webhook.model_validate_json)


def remove(webhook_id: str) -> Call[Webhook]:
    """DELETE /v1/webhooks/{id}."""
    return Call("DELETE", _path(webhook_id), Webhook.model_validate_json)


def test(webhook_id: str) -> Call[WebhookPosted]:
    """POST /v1/webhooks/{id}/test."""
    return Call("POST", _path(webhook_id, "/test"), WebhookPosted.model_validate_json, body=b"{}")


def enable(webhook_id: str) -> Call[Webhook]:
    """POST /v1/webhooks/{id}/enable."""
    return Call("POST", _path(webhook_id, "/enable"), Webhook.model_validate_json, body=b"{}")


def rotate(webhook_id: str, overlap_ms: int | None = None) -> Call[NewWebhookAnswer]:
    """POST /v1/webhooks/{id}/rotate."""
    body = {} if overlap_ms is None else {"overlap_ms": overlap_ms}
    return Call(
        "POST",
        _path(webhook_id, "/rotate"),
        NewWebhookAnswer.model_validate_json,
        body=json.dumps(body).encode(),
    )


def deliveries(webhook_id: str) -> Call[DeliveryList]:
    """GET /v1/webhooks/{id}/deliveries."""
    return Call("GET", _path(webhook_id, "/deliveries"), DeliveryList.model_validate_json)


def resend(webhook_id: str, delivery_ids: Sequence[str] = ()) -> Call[WebhookPosted]:
    """POST /v1/webhooks/{id}/resend; without ids, all that are dead."""
    body = {"delivery_ids": list(delivery_ids)} if delivery_ids else {}
    return Call(
        "POST",
        _path(webhook_id, "/resend"),
        WebhookPosted.model_validate_json,
        body=json.dumps(body).encode(),
    )
