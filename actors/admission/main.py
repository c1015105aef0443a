"""The admission process: raw requests from the stream."""

from __future__ import annotations

from functools import partial

from actors.admission.perform import AdmissionActor
from actors.body import Body, living
from actors.mailbox import mailbox_of, serve


async def run(body: Body) -> None:
    """Until the stop."""
    actor = AdmissionActor(body.store, body.metrics, body.traces)
    mailbox = mailbox_of(body, body.store.connection.keys.requests, "admission")
    async with living(body) as tasks:
        tasks.start_soon(
            partial(
                serve, mailbox, actor.handle, actor.give_up, clock=body.clock, health=body.health
            )
        )
