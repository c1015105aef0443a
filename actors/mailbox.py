"""read -> decide -> perform -> acknowledge: the loop of the actors that live from a stream.

Entries are settled by the functions that act on them, so there is nothing to acknowledge here. After a
start or a failure the reader takes its own pending entries first; a dead reader's are handed on by its
burial. An entry that keeps failing is poison: it gets its refusal and goes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from actors.body import Body
from actors.instance import register
from actors.outage import Outage
from contracts.errors import Corrupt, ErrorCode, OrchError, Unavailable
from contracts.limits import DELIVERIES_MAX
from orch.ports import Clock
from orch.store.connection import BlockingReader
from orch.telemetry.health import Health
from orch.telemetry.redaction import told

log = structlog.get_logger()

BLOCK_MS = 5_000
ENTRIES_READ = 100
"""What one read takes at most."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One stream entry."""

    entry_id: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A stream, as one instance reads it."""

    stream: str
    group: str
    instance_id: str
    reader: BlockingReader
    register: Callable[[], Awaitable[None]]
    """Makes the group exist again, should it be gone."""
    restarts: Callable[[], int] = lambda: 0
    """How often the server began anew; it may have come back with entries that we had settled."""

    async def take(self, start: str) -> list[Entry]:
        """Entries after `start`: `>` waits for new ones, `0` are ours, unsettled."""
        streams = await self.reader.read(
            "XREADGROUP", "GROUP", self.group, self.instance_id, "COUNT", ENTRIES_READ,
            "BLOCK", BLOCK_MS, "STREAMS", self.stream, start,
        )  # fmt: skip
        return [Entry(entry_id, fields) for entry_id, fields in streams.get(self.stream, [])]


def mailbox_of(body: Body, stream: str, group: str) -> Mailbox:
    """The mailbox of an actor process on one stream."""
    return Mailbox(
        stream=stream,
        group=group,
        instance_id=body.instance.instance_id,
        reader=body.store.connection.reader(BLOCK_MS),
        register=partial(register, body.store.leases, body.instance, body.clock),
        restarts=lambda: body.store.connection.watermark.restarts,
    )


Handle = Callable[[Sequence[Entry]], Awaitable[None]]
Bury = Callable[[Entry, OrchError], Awaitable[None]]


async def serve(
    mailbox: Mailbox, handle: Handle, give_up: Bury, *, clock: Clock, health: Health
) -> None:
    """Handles entries in order until it is canceled."""
    failures: Counter[str] = Counter()
    outage = Outage(mailbox.stream, clock)
    health.expect("mailbox")
    start, restarts = "0", mailbox.restarts()
    while True:
        try:
            entries = await mailbox.take(start)
            if entries:
                await _handle(entries, handle, give_up, failures)
            # Our own pending entries first; when none is left, the new ones.
            start = "0" if (start == "0" and entries) or restarts != mailbox.restarts() else ">"
            restarts = mailbox.restarts()
            health.cycled("mailbox")
            outage.over()
        except Unavailable as error:
            start = "0"
            await outage.wait(error)
            if "NOGROUP" in error.message:
                await mailbox.register()


async def _handle(
    entries: Sequence[Entry], handle: Handle, give_up: Bury, failures: Counter[str]
) -> None:
    try:
        await handle(entries)
    except Unavailable:
        raise
    except Exception as error:  # noqa: BLE001 - the boundary: no entry may end its actor
        # One bad entry must not hold up the others: a failing batch is tried one by one.
        if len(entries) > 1:
            for entry in entries:
                await _handle([entry], handle, give_up, failures)
            return
        entry = entries[0]
        failures[entry.entry_id] += 1
        log.warning(
            "entry_failed",
            entry=entry.entry_id,
            times=failures[entry.entry_id],
            error=told(error),
        )
        if failures[entry.entry_id] >= DELIVERIES_MAX:
            await give_up(entry, _as_ours(error))
            del failures[entry.entry_id]
        else:
            await _handle(entries, handle, give_up, failures)


def _as_ours(error: Exception) -> OrchError:
    if isinstance(error, OrchError):
        return error
    return Corrupt(ErrorCode.INTERNAL, f"the entry cannot be handled: {told(error)}")
