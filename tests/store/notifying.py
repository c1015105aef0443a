"""Small builders about webhooks: one is registered, a notifier takes what is due and says how it went."""

from __future__ import annotations

from itertools import count
from typing import Any, Literal

from contracts import limits
from contracts.webhooks import NewWebhook, NewWebhookAnswer
from orch.core.webhooks import InHand, Next, Tried
from tests.store.world import World

URL = "https://example.com/hook"
_TOGETHER = 2_000
_moments = count(1)
"""No two tries of a delivery are of the same millisecond."""


async def hook(world: World, **keys: Any) -> NewWebhookAnswer:
    """A new webhook."""
    return await world.store.webhooks.add(NewWebhook(url=URL, **keys))


async def collect(world: World, *, busy_ms: int = 0, most: int = 99) -> list[InHand]:
    """As a notifier does. Unless asked, it is kept from nobody: the repeat of a lost answer gets it too."""
    found, _, _ = await world.store.deliveries.collect(hooks=99, most=most, busy_ms=busy_ms)
    return found


async def told(world: World) -> list[tuple[str, str]]:
    """Event and job of every delivery that is due, by what a notifier gets."""
    found = await collect(world)
    return sorted((post.event.type, post.event.job_id or "") for one in found for post in one.posts)


def tried(
    taken: InHand,
    verdict: Literal["delivered", "again", "dead"],
    *,
    delay_ms: int = 0,
    off: str = "",
) -> list[Tried]:
    """All that was taken was sent, and went so."""
    return [
        Tried(
            post,
            Next(verdict, delay_ms, off),
            {
                "id": f"msg_{n}",
                "member": post.event.member,
                "tries": post.tries + 1,
                "at_ms": next(_moments),
                "body": "{}",
            },
        )
        for n, post in enumerate(taken.posts)
    ]


async def fill_line(world: World, webhook_id: str, *, but: int) -> None:
    """So many deliveries wait, far in the future, that there is room for `but` more."""
    posts = world.connection.keys.posts(f"default:{webhook_id}")
    waiting = await world.redis("ZCARD", posts)
    names = [f"X:1:1:old{n}" for n in range(limits.WEBHOOK_POSTS_MAX - but - waiting)]
    for at in range(0, len(names), _TOGETHER):
        words = [word for name in names[at : at + _TOGETHER] for word in (9_000_000_000_000, name)]
        await world.redis("ZADD", posts, *words)
