"""The notifier process: webhooks."""

from __future__ import annotations

from actors.body import Body, living
from actors.notifier.perform import IDLE_MS, Notifier
from actors.notifier.send import Sender
from orch.system import SystemRng


async def run(body: Body) -> None:
    """Until the stop."""
    notifier = Notifier(
        body.store,
        body.store.connection.reader(IDLE_MS),
        Sender(body.settings.webhook_hosts_allowed),
        body.instance,
        body.clock,
        SystemRng(),
        body.health,
        body.metrics,
    )
    async with living(body) as tasks:
        tasks.start_soon(notifier.run)
