"""The fallback process: decisions about outcomes."""

from __future__ import annotations

from functools import partial

from actors.body import Body, living
from actors.fallback.decide import RetryDefaults
from actors.fallback.perform import FallbackActor
from actors.mailbox import mailbox_of, serve
from orch.system import SystemRng


async def run(body: Body) -> None:
    """Until the stop."""
    s = body.settings
    defaults = RetryDefaults(s.attempts_max, s.backoff_ms, s.backoff_ms_max, s.crashes_max)
    actor = FallbackActor(body.store, SystemRng(), defaults, body.metrics, body.traces)
    mailbox = mailbox_of(body, body.store.connection.keys.outcomes, "fallback")
    async with living(body) as tasks:
        tasks.start_soon(
            partial(
                serve, mailbox, actor.handle, actor.give_up, clock=body.clock, health=body.health
            )
        )
