"""Webhooks: registered, shown without their secrets, and their deliveries for people to look at.

What a notifier does with deliveries is `orch/store/deliveries.py`. Secrets stand in Redis as they are:
whoever may read this Redis may sign, as they may read every job.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from typing import Any

import orjson

from contracts import limits
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
from orch.core.webhooks import Hook, delivery_id, no_such_webhook, posted, secret_of, test_member
from orch.ports import Ids
from orch.store.connection import Connection
from orch.store.cursors import scored

_SHOWN_MAX = 100
"""Deliveries of each state in one answer."""


def hook_of(text: str) -> Hook:
    """A stored webhook."""
    fields = orjson.loads(text)
    return Hook(**{**fields, "events": tuple(fields["events"])})


def _text_of(hook: Hook) -> str:
    return orjson.dumps(asdict(hook)).decode()


class Webhooks:
    """What a tenant's people ask for."""

    def __init__(self, connection: Connection, ids: Ids) -> None:
        self._connection = connection
        self._ids = ids

    async def add(self, wish: NewWebhook) -> NewWebhookAnswer:
        """Registers it; jobs submitted from now on are told of. The answer alone shows the secret.

        Not idempotent: one whose answer was lost is in the list, without a secret that anybody knows.

        Raises:
            Refused: LIMIT_REACHED, the tenant or the shard has as many as it may.
        """
        hook = Hook(
            webhook_id=f"wh_{self._ids.token()}{self._ids.token()}",
            tenant=wish.tenant,
            name=wish.name,
            url=wish.url,
            events=tuple(sorted({event.value for event in wish.events})),
            with_result=wish.with_result,
            created_at_ms=self._connection.clock.wall_ms(),
            secret=self._secret(),
        )
        await self._put(hook, seen="")
        return await self._with_secret(hook)

    async def known(self, tenant: str | None) -> WebhookList:
        """All of a tenant, or of everybody, the oldest first."""
        keys = self._connection.keys
        if tenant is not None:
            texts = await self._connection.execute("HVALS", keys.hooks(tenant))
        else:
            owners = set(await self._connection.execute("HVALS", keys.webhooks))
            texts = [
                text
                for owner in sorted(owners)
                for text in await self._connection.execute("HVALS", keys.hooks(owner))
            ]
        hooks = sorted(map(hook_of, texts), key=lambda hook: (hook.created_at_ms, hook.webhook_id))
        return WebhookList(webhooks=[await self._shown(hook) for hook in hooks])

    async def one(self, webhook_id: str) -> Webhook:
        """The webhook as it is now.

        Raises:
            Refused: NOT_FOUND.
        """
        hook, _ = await self._known(webhook_id)
        return await self._shown(hook)

    async def remove(self, webhook_id: str) -> Webhook:
        """It is gone, with everything that waited for it; what it was.

        Raises:
            Refused: NOT_FOUND.
        """
        hook, _ = await self._known(webhook_id)
        was = await self._shown(hook)
        await self._change("remove", hook)
        return was

    async def switch_on(self, webhook_id: str) -> Webhook:
        """Deliveries go on after a 410; those that waited are made at once.

        Raises:
            Refused: NOT_FOUND.
        """
        hook, _ = await self._known(webhook_id)
        await self._change("on", hook)
        return await self._shown(hook)

    async def rotate(self, webhook_id: str, *, overlap_ms: int) -> NewWebhookAnswer:
        """A new secret; the old one signs beside it for `overlap_ms`.

        Raises:
            Refused: NOT_FOUND; INVALID_REQUEST, somebody else changed it meanwhile.
        """
        hook, seen = await self._known(webhook_id)
        now_ms = self._connection.clock.wall_ms()
        fresh = replace(
            hook, secret=self._secret(), old_secret=hook.secret, old_until_ms=now_ms + overlap_ms
        )
        await self._put(fresh, seen=seen)
        return await self._with_secret(fresh)

    async def test(self, webhook_id: str) -> WebhookPosted:
        """Puts a delivery of type `webhook.test` into its line.

        Raises:
            Refused: NOT_FOUND; LIMIT_REACHED, too many wait.
        """
        hook, _ = await self._known(webhook_id)
        member = test_member(self._connection.clock.wall_ms(), self._ids.token())
        return await self._posted(hook, [(member, "")])

    async def resend(self, webhook_id: str, delivery_ids: list[str] | None) -> WebhookPosted:
        """Tries dead deliveries once more, with their ids and bodies; those that are not dead are left out.

        Raises:
            Refused: NOT_FOUND; LIMIT_REACHED, too many wait.
        """
        hook, _ = await self._known(webhook_id)
        dead = await self._list(self._connection.keys.undelivered(_place(hook)))
        wanted = [one for one in dead if delivery_ids is None or one["id"] in delivery_ids]
        rows = [(one["member"], orjson.dumps(one).decode()) for one in wanted]
        return await self._posted(hook, rows) if rows else WebhookPosted(delivery_ids=[])

    async def deliveries(self, webhook_id: str) -> DeliveryList:
        """Those that wait, dead ones and the newest delivered, at most a hundred of each.

        Raises:
            Refused: NOT_FOUND.
        """
        hook, _ = await self._known(webhook_id)
        keys, place = self._connection.keys, _place(hook)
        waiting: Any = await self._connection.execute(
            "ZRANGE", keys.posts(place), 0, _SHOWN_MAX - 1, "WITHSCORES"
        )
        found = [await self._pending(place, member, at_ms) for at_ms, member in scored(waiting)]
        for state, name in (
            ("dead", keys.undelivered(place)),
            ("delivered", keys.delivered(place)),
        ):
            found += [_delivery(one, state, None) for one in (await self._list(name))[:_SHOWN_MAX]]
        return DeliveryList(deliveries=found)

    async def _pending(self, place: str, member: str, at_ms: int) -> Delivery:
        tried = await self._connection.execute("HGET", self._connection.keys.tries(place), member)
        count, _, text = (tried or "0").partition(" ")
        about = {"id": delivery_id(place, member), "member": member}
        about |= orjson.loads(text) if text else {}
        return _delivery({**about, "tries": int(count)}, "pending", at_ms)

    async def _list(self, name: str) -> list[dict[str, Any]]:
        return [
            orjson.loads(text) for text in await self._connection.execute("LRANGE", name, 0, -1)
        ]

    async def _posted(self, hook: Hook, rows: list[tuple[str, str]]) -> WebhookPosted:
        flat = [word for row in rows for word in row]
        reply = await self._connection.call("post", hook.tenant, hook.webhook_id, len(rows), *flat)
        _check(reply, hook.webhook_id)
        return WebhookPosted(delivery_ids=[delivery_id(_place(hook), member) for member, _ in rows])

    async def _known(self, webhook_id: str) -> tuple[Hook, str]:
        keys = self._connection.keys
        tenant = await self._connection.execute("HGET", keys.webhooks, webhook_id)
        text = tenant and await self._connection.execute("HGET", keys.hooks(tenant), webhook_id)
        if not text:
            raise no_such_webhook(webhook_id)
        return hook_of(text), text

    async def _put(self, hook: Hook, *, seen: str) -> None:
        most, every = limits.WEBHOOKS_PER_TENANT_MAX, limits.WEBHOOKS_MAX
        reply = await self._connection.call(
            "hook", "put", hook.tenant, hook.webhook_id, _text_of(hook), seen, most, every
        )
        _check(reply, hook.webhook_id)

    async def _change(self, what: str, hook: Hook) -> None:
        reply = await self._connection.call(
            "hook", what, hook.tenant, hook.webhook_id, "", "", 0, 0
        )
        if what != "remove":  # a repeat whose first answer was lost finds it gone
            _check(reply, hook.webhook_id)

    async def _with_secret(self, hook: Hook) -> NewWebhookAnswer:
        shown = await self._shown(hook)
        return NewWebhookAnswer(**shown.model_dump(), secret=hook.secret)

    async def _shown(self, hook: Hook) -> Webhook:
        keys, place = self._connection.keys, _place(hook)
        off, delivered, again, dead, dropped = await self._connection.execute(
            "HMGET", keys.tally(place), "off", "delivered", "again", "dead", "dropped"
        )
        until = hook.old_until_ms or 0
        return Webhook(
            webhook_id=hook.webhook_id,
            tenant=hook.tenant,
            name=hook.name,
            url=hook.url,
            events=list(hook.events),  # type: ignore[arg-type]  # pydantic makes the enum
            with_result=hook.with_result,
            created_at_ms=hook.created_at_ms,
            old_secret_until_ms=until if until > self._connection.clock.wall_ms() else None,
            off=off,
            pending=int(await self._connection.execute("ZCARD", keys.posts(place))),
            delivered=int(delivered or 0),
            failed_tries=int(again or 0) + int(dead or 0),
            dead=int(dead or 0),
            dropped=int(dropped or 0),
        )

    def _secret(self) -> str:
        """256 bits out of 350 random ones."""
        random = "".join(self._ids.token() for _ in range(7))
        return secret_of(hashlib.sha256(random.encode()).digest())


def _place(hook: Hook) -> str:
    return f"{hook.tenant}:{hook.webhook_id}"


def _delivery(about: dict[str, Any], state: Any, next_at_ms: int | None) -> Delivery:
    event = posted(about["member"])
    return Delivery(
        delivery_id=about["id"],
        state=state,
        type=event.type,
        job_id=event.job_id,
        made_at_ms=event.at_ms,
        tries=about.get("tries", 0),
        next_try_at_ms=next_at_ms,
        last_try_at_ms=about.get("at_ms"),
        status=about.get("status"),
        error=about.get("error"),
    )


def _check(reply: list[Any], webhook_id: str) -> None:
    match reply[0]:
        case "unknown":
            raise no_such_webhook(webhook_id)
        case "full":
            raise Refused(
                ErrorCode.LIMIT_REACHED,
                f"there may be {reply[1]} at most",
                details={"limit": int(reply[1])},
            )
        case "changed":
            raise Refused(
                ErrorCode.INVALID_REQUEST,
                f"webhook {webhook_id} was changed by somebody else meanwhile",
            )
        case _:
            return
