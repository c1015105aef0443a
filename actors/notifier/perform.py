"""The notifier actor: takes what is due, sends it, writes down how it went.

Between the sending and the writing it may die: then the same delivery comes again, with the same id.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

import anyio
import anyio.abc
import httpx2
import structlog

from actors.instance import patiently, register
from actors.notifier.decide import about_try, body_of, message_id
from actors.notifier.send import Sender
from actors.outage import Outage
from contracts.errors import OrchError, Unavailable
from contracts.limits import SECOND_MS, WEBHOOK_BATCH
from contracts.webhooks import TOTAL_MS
from orch.core.webhooks import Answered, Hook, InHand, Next, Post, Tried, headers, next_of
from orch.ports import Clock, Rng
from orch.store.connection import BlockingReader
from orch.store.leases import Instance
from orch.store.store import Store
from orch.telemetry.health import STALE_MS, Health
from orch.telemetry.metrics import Metrics

log = structlog.get_logger()

IDLE_MS = 5 * SECOND_MS
LANES = 16
"""Webhooks that are served at once."""
AT_ONCE = 8
"""Requests to one host at once."""
BUSY_MS = 4 * TOTAL_MS
"""So long nobody else gets what one took."""
START_MS = BUSY_MS - TOTAL_MS - 5 * SECOND_MS
"""What has not begun by then is left for the next time."""
FAREWELL_S = 2
_ROUNDS = WEBHOOK_BATCH // AT_ONCE
assert _ROUNDS * TOTAL_MS <= START_MS + TOTAL_MS, "a batch fits into its time"


class Notifier:
    """Any number of them may run."""

    def __init__(
        self,
        store: Store,
        reader: BlockingReader,
        sender: Sender,
        instance: Instance,
        clock: Clock,
        rng: Rng,
        health: Health,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._reader = reader
        self._sender = sender
        self._instance = instance
        self._clock = clock
        self._rng = rng
        self._health = health
        self._tries = metrics.counter("orch_notifier_tries_total")
        self._seconds = metrics.histogram("orch_notifier_try_seconds")
        self._oldest = metrics.gauge("orch_notifier_oldest_unsent_seconds")
        self._hosts: dict[str, anyio.CapacityLimiter] = {}
        self._lanes = anyio.Semaphore(LANES)

    async def run(self) -> None:
        """Until it is canceled; what is under way then is written down as far as it came."""
        outage = Outage("notifier", self._clock)
        self._health.expect("notifier", stale_ms=STALE_MS + BUSY_MS)  # it may wait for a lane
        async with anyio.create_task_group() as tasks:
            while True:
                try:
                    wait_ms = await self._take(tasks)
                    self._health.cycled("notifier")
                    outage.over()
                    if wait_ms:
                        await self._sleep_until_notice(wait_ms)
                except Unavailable as error:
                    await outage.wait(error)
                    if "NOGROUP" in error.message:
                        await register(self._store.leases, self._instance, self._clock)

    async def _take(self, tasks: anyio.abc.TaskGroup) -> int:
        """Begins whatever is due; returns how long nothing will be, 0 to look again at once."""
        async with self._lanes:
            free = self._lanes.value + 1
            taken, next_in_ms, looked = await self._store.deliveries.collect(
                hooks=free, most=WEBHOOK_BATCH, busy_ms=BUSY_MS
            )
        now_ms = self._clock.wall_ms()
        made = [post.event.at_ms for one in taken for post in one.posts]
        self._oldest.set(max(0, now_ms - min(made)) / 1000 if made else 0)
        for one in taken:
            # Never waits: there were so many free, and nobody else takes one.
            await self._lanes.acquire()
            tasks.start_soon(self._serve, one)
        if looked:
            return 0
        return IDLE_MS if next_in_ms < 0 else max(1, min(next_in_ms + 1, IDLE_MS))

    async def _serve(self, taken: InHand) -> None:
        tried: list[Tried] = []
        try:
            begin_by_ms = self._clock.monotonic_ms() + START_MS
            async with self._sender.connections() as client, anyio.create_task_group() as tasks:
                for post in taken.posts:
                    tasks.start_soon(self._try, client, taken.hook, post, begin_by_ms, tried)
        except anyio.get_cancelled_exc_class():
            with anyio.move_on_after(FAREWELL_S, shield=True):
                await self._write_down_once(taken, tried)
            raise
        else:
            await patiently("deliver", partial(self._write_down, taken, tried), self._clock)
        finally:
            self._lanes.release()

    async def _try(
        self,
        client: httpx2.AsyncClient,
        hook: Hook,
        post: Post,
        begin_by_ms: int,
        tried: list[Tried],
    ) -> None:
        async with self._host(hook.url):
            began_ms = self._clock.monotonic_ms()
            if began_ms > begin_by_ms:
                return
            now_ms = self._clock.wall_ms()
            answered, body = await self._sent(client, hook, post, now_ms)
            self._seconds.observe((self._clock.monotonic_ms() - began_ms) / 1000)
            tried.append(self._judged(hook, post, answered, now_ms, body))

    async def _sent(
        self, client: httpx2.AsyncClient, hook: Hook, post: Post, now_ms: int
    ) -> tuple[Answered, bytes]:
        try:
            body = body_of(hook, post, _moment(post.event.at_ms))
            message = message_id(hook, post)
            signed = headers(hook.secrets_at(now_ms), message, now_ms // 1000, body)
            return await self._sender.send(client, hook.url, signed, body), body
        except Exception as error:  # noqa: BLE001 - the boundary: no delivery may end the others
            # Its kind, never its words: they may hold what must not be told.
            log.warning("delivery_failed", webhook=hook.webhook_id, error=type(error).__name__)
            return Answered(None, f"not sent: {type(error).__name__}"), b""

    def _judged(self, hook: Hook, post: Post, answered: Answered, at_ms: int, body: bytes) -> Tried:
        following: Next = next_of(answered, tries=post.tries, chance=self._rng.uniform(0, 1))
        keep_body = following.verdict != "delivered" and body != b""
        about = about_try(hook, post, answered, at_ms=at_ms, body=body, keep_body=keep_body)
        return Tried(post, following, about)

    async def _write_down(self, taken: InHand, tried: Sequence[Tried]) -> None:
        counted = await self._store.deliveries.deliver(taken, tried)
        for one, is_first in zip(tried, counted, strict=True):
            if is_first:
                self._tries.labels(result=one.next.verdict).inc()
        for one in tried:
            if one.next.verdict == "dead" or one.next.off:
                log.warning(
                    "webhook_dead",
                    webhook=taken.hook.webhook_id,
                    delivery=one.about["id"],
                    status=one.about["status"],
                    off=bool(one.next.off),
                )

    async def _write_down_once(self, taken: InHand, tried: Sequence[Tried]) -> None:
        try:
            await self._write_down(taken, tried)
        except OrchError as error:
            log.info("left_unwritten", webhook=taken.hook.webhook_id, error=error.message)

    def _host(self, url: str) -> anyio.CapacityLimiter:
        """The room of the host; those that nobody uses are forgotten."""
        for host in [host for host, room in self._hosts.items() if not room.borrowed_tokens]:
            del self._hosts[host]
        return self._hosts.setdefault(httpx2.URL(url).host, anyio.CapacityLimiter(AT_ONCE))

    async def _sleep_until_notice(self, wait_ms: int) -> None:
        await self._reader.read(
            "XREADGROUP", "GROUP", "notifier", self._instance.instance_id, "COUNT", 16, "NOACK",
            "BLOCK", wait_ms, "STREAMS", self._store.connection.keys.notices, ">",
        )  # fmt: skip


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
