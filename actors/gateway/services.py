"""What the gateway needs from the house, and what its own parts share.

`Services` is filled by the composition root; the protocols name exactly the store verbs that HTTP
calls, so that a test may answer them from memory. `Gateway` is what a request gets: one shard, as this
process serves it. `Commons` is what the shards of one process share.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import anyio

from actors.gateway.figures import Figures
from actors.gateway.gather import Answer, Gathering
from actors.gateway.hub import Hub
from actors.gateway.permits import Identity
from actors.gateway.refusals import Refusals
from actors.gateway.register import Register
from actors.gateway.throttle import Seats, Throttle
from actors.gateway.verbs import Blobs, Store
from contracts import limits
from contracts.errors import ErrorCode, Refused
from orch.ports import Clock, Ids
from orch.telemetry.health import Health
from orch.telemetry.metrics import Metrics
from orch.telemetry.traces import Traces


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the gateway waits for strangers; a test shortens these."""

    ping_ms: int = 15_000
    head_wait_ms: int = limits.HEAD_WAIT_MS
    body_wait_ms: int = limits.BODY_WAIT_MS
    idle_wait_ms: int = limits.IDLE_WAIT_MS
    feed_block_ms: int = 5_000
    check_wait_ms: int = 2_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much strangers may take; settings of the same names. A rate of 0 is no limit."""

    http_rate: int = 0
    http_burst: int = 0
    connections_max: int = 4_096
    caller_connections_max: int = 2_048
    streams_max: int = 2_048
    caller_streams_max: int = 1_024


@dataclass(frozen=True, slots=True)
class Services:
    """What the composition root hands in.

    `agent_key` is what becomes the key of attempts' tokens where there is none yet; without one nobody is
    asked for a token. `checks` are further readiness checks by name (the function library), each raising
    an OrchError when it does not hold. `hosts` are names, beside loopback, that a Host header may carry.
    """

    store: Store
    """Of the shard below."""
    blobs: Blobs
    clock: Clock
    ids: Ids
    metrics: Metrics
    shard: int = 0
    further: Mapping[int, Store] = field(default_factory=dict)
    """Stores of other shards that this gateway answers for as well."""
    health: Health | None = None
    """Of the process; without one nobody asks whether its loops turn."""
    checks: Mapping[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    hosts: frozenset[str] = frozenset()
    timing: Timing = Timing()
    bounds: Bounds = Bounds()
    agent_key: str | None = None
    webhook_hosts: tuple[str, ...] = ()
    """Private hosts that webhooks may reach: the setting webhook_hosts_allowed."""
    traces: Traces | None = None
    """Where this process's spans go; None where nobody wants any."""


_NOBODY: Final = ""
"""A tenant that no job has."""


class Commons:
    """What all shards of one gateway process share: its figures, its bounds, its end."""

    def __init__(self, services: Services) -> None:
        bounds, clock = services.bounds, services.clock
        self.figures = Figures(services.metrics)
        self.refusals = Refusals(clock)
        self.throttle = Throttle(clock, rate=bounds.http_rate, burst=bounds.http_burst)
        self.streams = Seats(total=bounds.streams_max, each=bounds.caller_streams_max)
        self.draining = anyio.Event()


class Gateway:
    """One shard, as this process serves it."""

    def __init__(self, services: Services, commons: Commons) -> None:
        self.services = services
        self.figures, self.refusals = commons.figures, commons.refusals
        self.streams, self.draining = commons.streams, commons.draining
        self.hub = Hub(
            feed=services.store.feed,
            reading=services.store.reading,
            clock=services.clock,
            block_ms=services.timing.feed_block_ms,
            resynced=self.figures.resynced,
            health=services.health,
        )
        self.gathering = Gathering(services.store.admission)
        store, key = services.store, services.agent_key
        self.register = (
            None
            if key is None
            else Register(store.tokens, store.reading, services.clock, fresh_key=key)
        )

    async def own(self, caller: Identity, job_id: str) -> None:
        """Returns when this caller may know of this job.

        Raises:
            Refused: NOT_FOUND, in the words for a job that never was.
        """
        reading = self.services.store.reading
        if caller.job_id is not None:
            if job_id != caller.job_id:
                await reading.check_tenant(job_id, _NOBODY)
        elif caller.tenant is not None:
            await reading.check_tenant(job_id, caller.tenant)

    async def told_to(self, caller: Identity, answer: Answer) -> Answer:
        """An answer of admission as this caller may hear it: ids are everybody's, so one may be taken by a
        job of another tenant, and more than that is not said."""
        is_conflict = isinstance(answer, Refused) and answer.code is ErrorCode.IDEMPOTENCY_CONFLICT
        if caller.tenant is None or not isinstance(answer, Refused) or not is_conflict:
            return answer
        try:
            await self.own(caller, (answer.details or {})["job_id"])
        except Refused:
            return Refused(answer.code, "the job id is taken", details={"path": "id"})
        return answer
