"""What the gateway calls of the store and of the blobs: these verbs, so that a test may answer them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from actors.gateway.gather import Admission
from actors.gateway.register import Tokens
from contracts.control import Command, ControlList, ControlRecord
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
from contracts.schedules import FireAnswer, Schedule, ScheduleList
from contracts.webhooks import (
    DeliveryList,
    NewWebhook,
    NewWebhookAnswer,
    Webhook,
    WebhookList,
    WebhookPosted,
)
from orch.core.asks import JobFilter, LetterFilter
from orch.core.tracing import Carried


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

    async def fire_now(
        self,
        tenant: str,
        schedule_id: str,
        *,
        key: str | None = None,
        carried: Carried | None = None,
    ) -> FireAnswer:
        """A job now, or why none; what admission refuses is raised; under a used key the first job."""
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
