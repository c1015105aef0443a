"""Deliveries of webhooks as a notifier has them: taken for a while, sent, and written down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import structlog

from orch.core.webhooks import InHand, Post, Tried, posted
from orch.store.connection import Connection
from orch.store.webhooks import hook_of

log = structlog.get_logger()


class Deliveries:
    """Any number of notifiers: what one has in hand, no other takes before its time is over."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def collect(
        self, *, hooks: int, most: int, busy_ms: int
    ) -> tuple[list[InHand], int, bool]:
        """Due deliveries of some webhooks, how many ms nothing else is due (-1: nothing waits), and whether
        any webhook was looked at."""
        reply = await self._connection.call("collect", hooks, most, busy_ms)
        if reply[0] == "none":
            return [], int(reply[1]), False
        found = [_in_hand(one) for one in reply[1]]
        return [one for one in found if one is not None], int(reply[2]), True

    async def deliver(self, taken: InHand, tried: Sequence[Tried]) -> list[bool]:
        """Writes down how they went; False where somebody else did. What is left out comes again."""
        flat: list[str | int] = []
        off = ""
        for one in tried:
            off = one.next.off or off
            flat += (
                one.post.event.member,
                one.post.tries,
                one.next.verdict,
                one.next.delay_ms,
                orjson.dumps(one.about).decode(),
            )
        hook = taken.hook
        reply = await self._connection.call(
            "deliver", hook.tenant, hook.webhook_id, taken.busy, off, len(tried), *flat
        )
        return [False] * len(tried) if reply[0] == "gone" else [word == "ok" for word in reply[1]]


def _in_hand(row: Sequence[Any]) -> InHand | None:
    """None for a webhook that cannot be read: the others are served, and it is looked at again later."""
    tenant, webhook_id, text, busy, posts = row
    try:
        return InHand(hook_of(text), str(busy), [_post(one) for one in posts])
    except (ValueError, TypeError, KeyError):
        log.warning("webhook_unreadable", tenant=tenant, webhook=webhook_id)
        return None


def _post(row: Sequence[str]) -> Post:
    member, tried, name, entry, result, pool = row
    count, _, about = (tried or "0").partition(" ")
    known = orjson.loads(about) if about else {}
    return Post(posted(member), int(count), known, name, entry, result, pool)
