"""As `calls.py`, for webhooks and their deliveries."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

from contracts.webhooks import NewWebhook
from orch.core.webhooks import InHand, Next, Tried
from orch.store.store import Store
from tests.store.scenes import Call, Scene, empty
from tests.store.world import HOUR_MS, World


async def hooked(world: World) -> Scene:
    """A webhook, registered before the job."""
    await world.pool()
    made = await world.store.webhooks.add(NewWebhook(url="https://example.com/", tenant="default"))
    return Scene(world, found=made.webhook_id)


async def posted(world: World) -> Scene:
    """Something to deliver."""
    scene = await hooked(world)
    await world.submit("job")
    await world.store.steering.cancel("job", by="me")
    return scene


async def in_hand(world: World) -> Scene:
    """A delivery that a notifier has taken."""
    await posted(world)
    (taken,), _, _ = await world.store.deliveries.collect(hooks=9, most=9, busy_ms=HOUR_MS)
    return Scene(world, found=taken)


async def given_up(world: World) -> Scene:
    """A dead delivery."""
    scene = await posted(world)
    (taken,), _, _ = await world.store.deliveries.collect(hooks=9, most=9, busy_ms=HOUR_MS)
    await world.store.deliveries.deliver(taken, [_tried(taken, "dead")])
    return scene


def _tried(taken: InHand, verdict: Literal["delivered", "again", "dead"]) -> Tried:
    (post,) = taken.posts
    about = {"id": "msg_1", "member": post.event.member, "tries": 1, "body": "{}"}
    return Tried(post, Next(verdict, delay_ms=1), about)


async def _collect(store: Store, _scene: Scene) -> Any:
    found, _, _ = await store.deliveries.collect(hooks=9, most=9, busy_ms=HOUR_MS)
    return [post.event.member.partition(":")[0] for one in found for post in one.posts]


async def _add(store: Store, _scene: Scene) -> Any:
    made = await store.webhooks.add(NewWebhook(url="https://example.com/"))
    return made.url, made.events


async def _rotate(store: Store, scene: Scene) -> Any:
    made = await store.webhooks.rotate(scene.found, overlap_ms=HOUR_MS)
    return made.secret.partition("_")[0], made.old_secret_until_ms is not None


async def _remove(store: Store, scene: Scene) -> Any:
    return (await store.webhooks.remove(scene.found)).url


async def _test(store: Store, scene: Scene) -> Any:
    return len((await store.webhooks.test(scene.found)).delivery_ids)


async def _shown(store: Store, scene: Scene) -> Any:
    found = await store.webhooks.deliveries(scene.found)
    return [(one.state, one.type, one.job_id, one.tries) for one in found.deliveries]


async def _whose(store: Store, _scene: Scene) -> Any:
    return [one.pending for one in (await store.webhooks.known(None)).webhooks]


async def _pending(store: Store, scene: Scene) -> Any:
    return (await store.webhooks.one(scene.found)).pending


async def _resent(store: Store, scene: Scene) -> Any:
    return len((await store.webhooks.resend(scene.found, None)).delivery_ids)


async def _on(store: Store, scene: Scene) -> Any:
    return (await store.webhooks.switch_on(scene.found)).off


WEBHOOK_CALLS: Final[Mapping[str, Call]] = MappingProxyType(
    {
        "deliveries.collect": Call(posted, _collect, lambda _first: []),
        "deliveries.deliver": Call(
            in_hand,
            lambda store, scene: store.deliveries.deliver(
                scene.found, [_tried(scene.found, "again")]
            ),
            lambda _first: [False],
        ),
        # Made again by its caller it makes another one: the secret of the first is nobody's.
        "webhooks.add": Call(empty, _add, twice=frozenset({"hooks", "webhooks"})),
        "webhooks.known": Call(posted, _whose),
        "webhooks.one": Call(posted, _pending),
        "webhooks.remove": Call(hooked, _remove),
        "webhooks.switch_on": Call(hooked, _on),
        "webhooks.rotate": Call(hooked, _rotate),
        "webhooks.test": Call(hooked, _test),
        "webhooks.resend": Call(given_up, _resent),
        "webhooks.deliveries": Call(posted, _shown),
    }
)
