"""Operators' wishes, as one instance hears them: it obeys the desired state and acknowledges its revision.

The state is what counts: whoever starts later, or missed the announcement, reads it and obeys the same. One
blocking read waits for announcements; when nothing is said the state is looked at every five seconds anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from actors.outage import Outage
from contracts.errors import Unavailable
from orch.ports import Clock
from orch.store.connection import BlockingReader
from orch.store.control import Wanted
from orch.store.leases import Instance
from orch.store.store import Store
from orch.telemetry.health import Health

LISTEN_MS: Final = 5_000

Obey = Callable[[Wanted], None]
"""Takes in what is wanted; work that it starts is reported by itself."""
Follow = Callable[[Instance, Obey], Coroutine[Any, Any, None]]


def as_it_stands(_wanted: Wanted) -> None:
    """For instances whose verbs read the desired state themselves: they obey as soon as it is written."""


async def follow(
    instance: Instance,
    obey: Obey,
    *,
    store: Store,
    reader: BlockingReader,
    clock: Clock,
    health: Health | None = None,
) -> None:
    """Obeys and acknowledges each revision until it is canceled."""
    if health is not None:
        health.expect("follow")
    outage, obeyed, position = Outage("desired", clock), (-1, -1), ""
    while True:
        try:
            position = position or await store.control.newest()
            # Data that went back give a revision's number again: it is another one under another incarnation.
            incarnation = store.connection.watermark.incarnation
            wanted = await store.control.wanted(
                pool=instance.pool, instance_id=instance.instance_id
            )
            stands = incarnation, wanted.revision
            if stands != obeyed:
                obey(wanted)
                await store.control.acknowledge(instance.instance_id, wanted.revision)
                obeyed = stands
            if health is not None:
                health.cycled("follow")
            position = await _announced(store, reader, position)
            outage.over()
        except Unavailable as error:
            # What was acknowledged may be gone: everything is read and acknowledged again.
            obeyed, position = (-1, -1), ""
            await outage.wait(error)


async def _announced(store: Store, reader: BlockingReader, position: str) -> str:
    """Waits for an announcement after that position; the position after the last."""
    stream = store.connection.keys.revisions
    found = await reader.read("XREAD", "COUNT", 64, "BLOCK", LISTEN_MS, "STREAMS", stream, position)
    entries = found.get(stream, [])
    return entries[-1][0] if entries else position
