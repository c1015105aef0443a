"""What the gateway needs from the house, and what its own parts share.

`Services` is filled by the composition root; the protocols name exactly the store verbs that HTTP
calls, so that a test may answer them from memory. `Gateway` is what every request finds at
`app.state.gateway`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import anyio
from prometheus_client import CollectorRegistry

from actors.gateway.callers import Register, Tokens
from actors.gateway.gather import Admission, Answer, Gathering
from actors.gateway.hub import Hub
from actors.gateway.permits import Identity
from actors.gateway.refusals import Refusals
from actors.gateway.throttle import Seats, Throttle
from contracts import limits
from contracts.control import Command, ControlList, ControlRecord
from contracts.errors import ErrorCode, Refused
from contracts.pools import PoolHealth, PoolList, ReplicaSetList
from contracts.record import (
    Artifact,
    DeadLetterList,
    Explanation,
    JobList,
    JobRecord,
    LedgerEvent,
    LogLine,
    Question,
    Replayed,
    SessionList,
    SessionRecord,
)
from contracts.schedules import Fired, Schedule, ScheduleList
from contracts.webhooks import (
    DeliveryList,
    NewWebhook,
    NewWebhookAnswer,
    Webhook,
    WebhookList,
    WebhookPosted,
)
from orch.core.asks import JobFilter, LetterFilter
from orch.ports import Clock, Ids


class Reading(Protocol):
    """Views of jobs; each verb refuses an unknown job NOT_FOUND."""

    async def job(self, job_id: str) -> JobRecord:
        """The job as it is now."""
        ...

    async def check_tenant(self, job_id: str, tenant: str) -> None:
        """Returns when the job is this tenant's; else NOT_FOUND, as for one that never was."""
        ...

    async def claim_of(self, job_id: str) -> str | None:
        """The claim in force."""
        ...

    async def tagged(self, job_id: str) -> tuple[JobRecord, str]:
        """The job as it is now, and a word that changes whenever its ledger does."""
        ...

    async def jobs(self, which: JobFilter, *, limit: int, cursor: str | None) -> JobList:
        """A page of jobs, newest first."""
        ...

    async def ledger(self, job_id: str, *, after: int, limit: int) -> list[LedgerEvent]:
        """Entries with seq > `after`, oldest first."""
        ...

    async def output(self, job_id: str, *, after: int, limit: int) -> tuple[list[LogLine], int]:
        """Pieces with i > `after`, oldest first, and how many were trimmed before the first kept."""
        ...

    async def artifacts(self, job_id: str) -> list[Artifact]:
        """Files that the job left."""
        ...

    async def explain(self, job_id: str) -> Explanation:
        """Why it stands there; facts may hold queue_position and predicted_start_ms."""
        ...

    async def question(self, job_id: str) -> Question | None:
        """The open question, if any."""
        ...


class Steering(Protocol):
    """An operator's verbs; a repeat adds no event."""

    async def cancel(self, job_id: str, *, by: str, note: str | None = None) -> JobRecord:
        """The job is over."""
        ...

    async def pause(self, job_id: str, *, by: str, note: str | None = None) -> JobRecord:
        """The job is paused, or is asked to."""
        ...

    async def resume(self, job_id: str, *, by: str, note: str | None = None) -> JobRecord:
        """The job goes on."""
        ...


class Questions(Protocol):
    """Answers to agents."""

    async def answer(
        self, job_id: str, question_id: str, value: Any, *, by: str, reason: str | None
    ) -> JobRecord:
        """Judged by the question's kind and options: INVALID_ANSWER, ALREADY_ANSWERED."""
        ...


class DeadLetters(Protocol):
    """What fallback gave up on."""

    async def page(self, which: LetterFilter, *, limit: int, cursor: str | None) -> DeadLetterList:
        """A page, newest first."""
        ...

    async def replay(self, job_ids: Sequence[str], *, by: str) -> list[Replayed]:
        """A new job for each, in order."""
        ...


class Webhooks(Protocol):
    """Whom jobs' ends are told to; each verb with an id refuses an unknown one NOT_FOUND."""

    async def add(self, wish: NewWebhook) -> NewWebhookAnswer:
        """A new one, with its secret; LIMIT_REACHED."""
        ...

    async def known(self, tenant: str | None) -> WebhookList:
        """All, the oldest first."""
        ...

    async def one(self, webhook_id: str) -> Webhook:
        """As it is now."""
        ...

    async def remove(self, webhook_id: str) -> Webhook:
        """It is gone; what it was."""
        ...

    async def switch_on(self, webhook_id: str) -> Webhook:
        """It goes on."""
        ...

    async def rotate(self, webhook_id: str, *, overlap_ms: int) -> NewWebhookAnswer:
        """A new secret."""
        ...

    async def test(self, webhook_id: str) -> WebhookPosted:
        """A test delivery; LIMIT_REACHED."""
        ...

    async def resend(self, webhook_id: str, delivery_ids: list[str] | None) -> WebhookPosted:
        """Dead ones once more; LIMIT_REACHED."""
        ...

    async def deliveries(self, webhook_id: str) -> DeliveryList:
        """What waits, what died, what was taken."""
        ...


class Schedules(Protocol):
    """What makes jobs by time; each verb refuses an unknown schedule NOT_FOUND."""

    async def put(self, document: object, *, if_revision: int | None = None) -> Schedule:
        """Judged as a whole: INVALID_SPEC, nothing is stored."""
        ...

    async def get(self, tenant: str, schedule_id: str) -> Schedule:
        """The schedule as it is now."""
        ...

    async def page(self, *, tenant: str | None, limit: int, cursor: str | None) -> ScheduleList:
        """A page, newest first."""
        ...

    async def delete(self, tenant: str, schedule_id: str) -> Schedule:
        """It was this, and is gone."""
        ...

    async def pause(self, tenant: str, schedule_id: str) -> Schedule:
        """It makes no jobs."""
        ...

    async def resume(self, tenant: str, schedule_id: str) -> Schedule:
        """It goes on."""
        ...

    async def fire_now(self, tenant: str, schedule_id: str) -> Fired:
        """A job now, or why none; what admission refuses is raised."""
        ...


class Control(Protocol):
    """Operators' commands."""

    async def push(self, command: Command) -> None:
        """Into the stream; DUPLICATE_COMMAND, QUEUE_FULL."""
        ...

    async def command(self, command_id: str) -> ControlRecord:
        """What became of it; NOT_FOUND."""
        ...

    async def commands(self, *, limit: int) -> ControlList:
        """The newest, newest first."""
        ...


class Pools(Protocol):
    """Looks at pools; an unknown one is NOT_FOUND."""

    async def pools(self) -> PoolList:
        """All of them."""
        ...

    async def check(self, pool: str) -> None:
        """That it exists."""
        ...

    async def health(self, pool: str) -> PoolHealth:
        """How one does."""
        ...

    async def replica_sets(self) -> ReplicaSetList:
        """Equal runners taken together."""
        ...

    async def workload(self, pool: str) -> int:
        """What its runners must work off."""
        ...


class Feed(Protocol):
    """News of all jobs, packed."""

    async def tail(self) -> str:
        """The position after the last entry."""
        ...

    async def read(self, after: str, *, block_ms: int) -> tuple[str, dict[str, int], bool]:
        """(new position, {job_id: seq touched}, lost); lost means: resync every watcher."""
        ...


class Sessions(Protocol):
    """Sessions with live jobs."""

    async def page(self, *, tenant: str | None, limit: int, cursor: str | None) -> SessionList:
        """See orch.store.sessions."""
        ...

    async def show(self, tenant: str, session: str) -> SessionRecord:
        """See orch.store.sessions."""
        ...


class Connection(Protocol):
    """The way to Redis."""

    async def ping(self) -> None:
        """Raises Unavailable when there is no answer."""
        ...


class Store(Protocol):
    """The families of verbs that the gateway calls."""

    @property
    def admission(self) -> Admission:
        """The way in."""
        ...

    @property
    def reading(self) -> Reading:
        """Views."""
        ...

    @property
    def steering(self) -> Steering:
        """An operator's verbs."""
        ...

    @property
    def questions(self) -> Questions:
        """Answers."""
        ...

    @property
    def dead_letters(self) -> DeadLetters:
        """What fallback gave up on."""
        ...

    @property
    def webhooks(self) -> Webhooks:
        """Whom jobs' ends are told to."""
        ...

    @property
    def schedules(self) -> Schedules:
        """What makes jobs by time."""
        ...

    @property
    def tokens(self) -> Tokens:
        """Who may call."""
        ...

    @property
    def control(self) -> Control:
        """Operators' commands."""
        ...

    @property
    def pools(self) -> Pools:
        """Pools."""
        ...

    @property
    def sessions(self) -> Sessions:
        """Sessions with live jobs."""
        ...

    @property
    def feed(self) -> Feed:
        """News."""
        ...

    @property
    def connection(self) -> Connection:
        """The way to Redis."""
        ...


class Blobs(Protocol):
    """Artifacts by digest."""

    async def read_range(self, sha256: str, *, offset: int, bytes_max: int) -> bytes:
        """At most `bytes_max` bytes from `offset`; Refused NOT_FOUND when the blob is gone."""
        ...


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
    blobs: Blobs
    clock: Clock
    ids: Ids
    registry: CollectorRegistry
    checks: Mapping[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    hosts: frozenset[str] = frozenset()
    timing: Timing = Timing()
    bounds: Bounds = Bounds()
    agent_key: str | None = None
    webhook_hosts: tuple[str, ...] = ()
    """Private hosts that webhooks may reach: the setting webhook_hosts_allowed."""


_NOBODY: Final = ""
"""A tenant that no job has."""


class Gateway:
    """The shared parts of one gateway process."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.hub = Hub(
            feed=services.store.feed,
            reading=services.store.reading,
            clock=services.clock,
            block_ms=services.timing.feed_block_ms,
        )
        self.gathering = Gathering(services.store.admission)
        self.draining = anyio.Event()
        self.refusals = Refusals(services.clock)
        bounds, clock, key = services.bounds, services.clock, services.agent_key
        self.throttle = Throttle(clock, rate=bounds.http_rate, burst=bounds.http_burst)
        self.streams = Seats(total=bounds.streams_max, each=bounds.caller_streams_max)
        store = services.store
        self.register = (
            None if key is None else Register(store.tokens, store.reading, clock, fresh_key=key)
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

    def drain(self) -> None:
        """Not ready from now on; every open stream ends where it stands, to be resumed elsewhere."""
        self.draining.set()
        self.hub.resync()
