"""Webhooks over a dictionary, with the promises that the gateway relies on."""

from __future__ import annotations

from contracts.errors import ErrorCode, Refused
from contracts.webhooks import (
    Delivery,
    DeliveryList,
    NewWebhook,
    NewWebhookAnswer,
    Webhook,
    WebhookList,
    WebhookPosted,
)

SECRET = "whsec_" + "Y2FuYXJ5" * 6


class FakeWebhooks:
    """Ids count from wh_1; a webhook called `full` is one too many."""

    def __init__(self) -> None:
        self.hooks: dict[str, Webhook] = {}
        self.tests: dict[str, list[str]] = {}

    async def add(self, wish: NewWebhook) -> NewWebhookAnswer:
        if wish.name == "full":
            raise Refused(ErrorCode.LIMIT_REACHED, "there may be 20", details={"limit": 20})
        hook = Webhook(
            webhook_id=f"wh_{len(self.hooks) + 1}",
            **wish.model_dump(),
            created_at_ms=1,
            old_secret_until_ms=None,
            off=None,
            pending=0,
            delivered=0,
            failed_tries=0,
            dead=0,
            dropped=0,
        )
        self.hooks[hook.webhook_id] = hook
        return NewWebhookAnswer(**hook.model_dump(), secret=SECRET)

    async def known(self, tenant: str | None) -> WebhookList:
        hooks = [hook for hook in self.hooks.values() if tenant in (None, hook.tenant)]
        return WebhookList(webhooks=hooks)

    async def one(self, webhook_id: str) -> Webhook:
        if webhook_id not in self.hooks:
            raise Refused(ErrorCode.NOT_FOUND, f"no webhook {webhook_id}")
        return self.hooks[webhook_id]

    async def remove(self, webhook_id: str) -> Webhook:
        await self.one(webhook_id)
        return self.hooks.pop(webhook_id)

    async def switch_on(self, webhook_id: str) -> Webhook:
        return await self.one(webhook_id)

    async def rotate(self, webhook_id: str, *, overlap_ms: int) -> NewWebhookAnswer:
        hook = (await self.one(webhook_id)).model_copy(update={"old_secret_until_ms": overlap_ms})
        return NewWebhookAnswer(**hook.model_dump(), secret=SECRET)

    async def test(self, webhook_id: str) -> WebhookPosted:
        await self.one(webhook_id)
        self.tests.setdefault(webhook_id, []).append("msg_1")
        return WebhookPosted(delivery_ids=["msg_1"])

    async def resend(self, webhook_id: str, delivery_ids: list[str] | None) -> WebhookPosted:
        await self.one(webhook_id)
        return WebhookPosted(delivery_ids=delivery_ids or ["msg_2"])

    async def deliveries(self, webhook_id: str) -> DeliveryList:
        await self.one(webhook_id)
        return DeliveryList(
            deliveries=[
                Delivery(
                    delivery_id=one,
                    state="pending",
                    type="webhook.test",
                    job_id=None,
                    made_at_ms=1,
                    tries=0,
                    next_try_at_ms=1,
                    last_try_at_ms=None,
                    status=None,
                    error=None,
                )
                for one in self.tests.get(webhook_id, [])
            ]
        )
