"""What reaches a runner from outside: jobs, wake tokens, hints about them, and the loss of its streams.

All of it is hints; the job hash is the truth. A runner with free slots claims every two seconds anyway, and
is told again then of what was handed to it and it has not heard of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import anyio
import structlog
from anyio.abc import TaskGroup

from actors.outage import Outage
from actors.runner.attempt import Attempt
from actors.runner.terms import RunnerTerms
from contracts.errors import Refused, Unavailable
from contracts.limits import CLAIM_EVERY_MS
from orch.core.handover import Offer
from orch.ports import Clock
from orch.store.claims import offer_in
from orch.store.connection import BlockingReader
from orch.store.leases import Instance
from orch.store.store import Store
from orch.telemetry.health import Health

log = structlog.get_logger()

_PAUSE_MS = 100


class Listener(Protocol):
    """The life that an ear belongs to."""

    @property
    def attempts(self) -> Mapping[str, Attempt]:
        """What it holds now, by claim."""
        ...

    def handed(self, offer: Offer) -> None:
        """A job was claimed for it while it rested."""
        ...

    def has_room(self) -> bool:
        """Whether it would take another job."""
        ...

    def wake(self) -> None:
        """There is something to cycle for."""
        ...

    def over(self) -> None:
        """It was buried."""
        ...


class Ear:
    """Tokens and inbox on one blocking connection."""

    def __init__(
        self,
        life: Listener,
        reader: BlockingReader,
        store: Store,
        instance: Instance,
        terms: RunnerTerms,
        clock: Clock,
        health: Health,
    ) -> None:
        self._life = life
        self._reader = reader
        self._store = store
        self._instance = instance
        self._terms = terms
        self._clock = clock
        self._health = health
        self._forgotten = anyio.Event()

    async def listen(self, tasks: TaskGroup) -> None:
        """Until it is canceled; `tasks` takes what waits for a grace."""
        tasks.start_soon(self._be_known)
        outage = Outage("listen", self._clock)
        keys, instance_id = self._store.connection.keys, self._instance.instance_id
        wake, inbox = keys.wake(self._terms.pool), keys.inbox(instance_id)
        while True:
            try:
                streams = await self._reader.read(
                    # One token a read: two runners that wait must not both be woken in one of them.
                    "XREADGROUP", "GROUP", "runners", instance_id, "COUNT", 1, "NOACK",
                    "BLOCK", CLAIM_EVERY_MS, "STREAMS", wake, inbox, ">", ">",
                )  # fmt: skip
            except Unavailable as error:
                # A server that comes back gives nothing out before it has heard what we run.
                self._life.wake()
                await outage.wait(error)
                if "NOGROUP" in error.message:
                    await self._mend()
                continue
            self._health.cycled("listen")
            outage.over()
            for _, fields in streams.get(inbox, []):
                self._heed(fields, tasks)
            if wake in streams:
                await self._wakened()

    def forgotten(self) -> None:
        """A beat found that the server lost what it knew of us."""
        self._forgotten.set()

    async def _be_known(self) -> None:
        while True:
            await self._forgotten.wait()
            self._forgotten = anyio.Event()
            await self._mend()

    async def _mend(self) -> None:
        """Our streams are gone: lost with the server's data, or removed by our burial.

        Only the living may register again: a buried runner made known anew under its old id would have
        its guards confirmed, and agents whose jobs have moved on would act.
        """
        try:
            await self._store.leases.register(self._instance, again=True)
        except Unavailable:
            return
        except Refused:
            self._life.over()

    async def _wakened(self) -> None:
        if self._life.has_room():
            self._life.wake()
            return
        # Read while the last slot was being filled: another runner may be waiting for this token.
        try:
            await self._store.claims.pass_on(self._terms.pool)
        except Unavailable:
            log.warning("token_lost", pool=self._terms.pool)
        # When all are full the token would go round and round.
        await self._clock.sleep_ms(_PAUSE_MS)

    def _heed(self, hint: dict[str, str], tasks: TaskGroup) -> None:
        if hint["what"] == "offer":
            self._life.handed(offer_in(hint))
            return
        attempt = self._life.attempts.get(hint.get("claim", ""))
        if attempt is None:
            return
        match hint["what"]:
            case "cancel":
                attempt.cancel()
            case "pause":
                attempt.wish_pause(True)
                tasks.start_soon(self._pause_after_grace, attempt)
            case "resume":
                attempt.wish_pause(False)
            case unknown:
                log.warning("hint_unknown", what=unknown)

    async def _pause_after_grace(self, attempt: Attempt) -> None:
        await self._clock.sleep_ms(self._terms.grace_ms)
        if attempt.pause_is_wished and attempt.offer.claim in self._life.attempts:
            attempt.pause()
