"""`OrchSync`: the blocking client of the HTTP API; what `orch` itself uses.

A thin runner of `calls.py`: `send` is one request, everything else is its typed name. It retries nothing
but event streams, so a failed submission is repeated by the caller, with an idempotency key.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx2

from contracts.control import Commanded, ControlList, ControlRecord
from contracts.errors import OrchError, Unavailable
from contracts.pools import PoolHealth, PoolList, ReplicaSetList, Scale
from contracts.record import (
    ArtifactList,
    BatchAnswer,
    DeadLetterList,
    Explanation,
    JobList,
    JobRecord,
    LedgerPage,
    LogPage,
    ReplayAnswer,
    SessionList,
    SessionRecord,
    Submitted,
)
from contracts.schedules import FireAnswer, Schedule, ScheduleList
from orch.client import calls
from orch.client.answers import Answer, checked, error_of, unreachable, value_of
from orch.client.calls import Call, JobQuery, Spec, Timetable
from orch.client.endpoint import Endpoint
from orch.client.frames import SILENCE_MS_MAX, Follow, JobFrame, Wait
from orch.client.transport import headers_of, timeout_of, tls_of
from orch.system import monotonic_ms

T = TypeVar("T")


def _pause(duration_ms: int) -> None:
    threading.Event().wait(duration_ms / 1_000)


class OrchSync:
    """A connection to one gateway; close it, or use it in a `with`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._http = httpx2.Client(
            base_url=endpoint.url,
            headers=headers_of(endpoint),
            timeout=timeout_of(),
            trust_env=not endpoint.is_loopback,
            verify=tls_of(endpoint),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def send(self, call: Call[T]) -> Answer:
        """One request; the reply as it came.

        Raises:
            Refused: the server said no; the code is the body's.
            Unavailable: no reply, or the server could not.
        """
        try:
            reply = self._http.request(
                call.verb, call.path, params=call.query, content=call.body, headers=call.headers
            )
        except httpx2.TransportError as error:
            raise unreachable(error, self.endpoint.url) from error
        return checked(reply.status_code, reply.content, self.endpoint.url)

    def run(self, call: Call[T]) -> T:
        """One request; the reply as a value. Raises what `send` raises."""
        return self.read(call, self.send(call))

    def read(self, call: Call[T], answer: Answer) -> T:
        """The value of a reply that `send` gave. Raises Unavailable when it is no body of Orch."""
        return value_of(call, answer, self.endpoint.url)

    def submit(self, spec: Spec, idempotency_key: str | None = None) -> Submitted:
        """Submit one job; the same key and content again gives the same job, `duplicate` true."""
        return self.run(calls.submit(spec, idempotency_key))

    def submit_batch(self, specs: Sequence[Spec]) -> BatchAnswer:
        """Submit up to 1,000 jobs; each item has its own answer."""
        return self.run(calls.submit_batch(specs))

    def job(self, job_id: str) -> JobRecord:
        """The job as it is now."""
        return self.run(calls.job(job_id))

    def jobs(
        self, *, limit: int | None = None, cursor: str | None = None, **which: Unpack[JobQuery]
    ) -> JobList:
        """One page of jobs, newest first."""
        return self.run(calls.jobs(limit=limit, cursor=cursor, **which))

    def ledger(
        self, job_id: str, *, after: str | int | None = None, limit: int | None = None
    ) -> LedgerPage:
        """One page of the ledger, oldest first."""
        return self.run(calls.ledger(job_id, after=after, limit=limit))

    def logs(
        self, job_id: str, *, after: str | int | None = None, limit: int | None = None
    ) -> LogPage:
        """One page of output, oldest first."""
        return self.run(calls.logs(job_id, after=after, limit=limit))

    def artifacts(self, job_id: str) -> ArtifactList:
        """The files that the job left."""
        return self.run(calls.artifacts(job_id))

    def artifact_bytes(self, job_id: str, sha256: str) -> bytes:
        """One of those files."""
        return self.run(calls.artifact_bytes(job_id, sha256))

    def explain(self, job_id: str) -> Explanation:
        """Why the job is where it is, and what unblocks it."""
        return self.run(calls.explain(job_id))

    def dead_letters(self, **which: Any) -> DeadLetterList:
        """A page of jobs that were given up on, newest first; tenant, pool, reason, limit, cursor."""
        return self.run(calls.dead_letters(**which))

    def sessions(self, **which: Any) -> SessionList:
        """A page of sessions that have live jobs; tenant, limit, cursor."""
        return self.run(calls.sessions(**which))

    def session(self, session_id: str, *, tenant: str | None = None) -> SessionRecord:
        """The live jobs of one session, in their order."""
        return self.run(calls.session(session_id, tenant=tenant))

    def replay(
        self,
        job_ids: Sequence[str] | None = None,
        which: Mapping[str, str | None] | None = None,
        *,
        dry_run: bool = False,
    ) -> ReplayAnswer:
        """Tries dead letters again, each as a new job, by ids or by a filter."""
        return self.run(calls.replay(job_ids, which, dry_run=dry_run))

    def cancel(self, job_id: str, reason: str | None = None) -> JobRecord:
        """Cancel; the record after it. A running agent is stopped soon after."""
        return self.run(calls.command(job_id, "cancel", reason))

    def pause(self, job_id: str, reason: str | None = None) -> JobRecord:
        """Pause; a running job stops at its next step."""
        return self.run(calls.command(job_id, "pause", reason))

    def resume(self, job_id: str, reason: str | None = None) -> JobRecord:
        """Let a paused job go on."""
        return self.run(calls.command(job_id, "resume", reason))

    def answer(
        self, job_id: str, question_id: str, value: object, reason: str | None = None
    ) -> JobRecord:
        """Answer the question that a blocked job asks."""
        return self.run(calls.answer(job_id, question_id, value, reason))

    def put_schedule(self, schedule: Timetable, if_revision: int | None = None) -> Schedule:
        """Store a schedule, new or in place of the one of its id; the same again changes nothing."""
        return self.run(calls.put_schedule(schedule, if_revision))

    def schedule(self, schedule_id: str, tenant: str | None = None) -> Schedule:
        """The schedule as it is now."""
        return self.run(calls.schedule(schedule_id, tenant))

    def schedules(self, **which: Any) -> ScheduleList:
        """A page of schedules, newest first; tenant, limit, cursor."""
        return self.run(calls.schedules(**which))

    def delete_schedule(self, schedule_id: str, tenant: str | None = None) -> Schedule:
        """Take a schedule away; what it was. Its jobs stay."""
        return self.run(calls.delete_schedule(schedule_id, tenant))

    def pause_schedule(self, schedule_id: str, tenant: str | None = None) -> Schedule:
        """It makes no jobs until it is resumed."""
        return self.run(calls.hold_schedule(schedule_id, "pause", tenant))

    def resume_schedule(self, schedule_id: str, tenant: str | None = None) -> Schedule:
        """It goes on with its next time."""
        return self.run(calls.hold_schedule(schedule_id, "resume", tenant))

    def fire_schedule(
        self, schedule_id: str, tenant: str | None = None, idempotency_key: str | None = None
    ) -> FireAnswer:
        """A job now, as at one of its times; without a key, asking again may make one more."""
        return self.run(calls.fire_schedule(schedule_id, tenant, idempotency_key))

    def control(
        self, command: str, target: str, args: Mapping[str, Any] | None = None, **keys: Any
    ) -> Commanded:
        """Push a command of an operator; `command_id` and `if_revision` may be given."""
        return self.run(calls.control(command, target, args, **keys))

    def commanded(self, command_id: str) -> ControlRecord:
        """What became of a command."""
        return self.run(calls.commanded(command_id))

    def commands(self, limit: int | None = None) -> ControlList:
        """Commands, newest first."""
        return self.run(calls.commands(limit=limit))

    def pools(self) -> PoolList:
        """All pools."""
        return self.run(calls.pools())

    def pool_health(self, pool: str) -> PoolHealth:
        """How a pool does."""
        return self.run(calls.pool_health(pool))

    def replica_sets(self) -> ReplicaSetList:
        """Equal runners of each pool, taken together."""
        return self.run(calls.replica_sets())

    def scale(self, pool: str) -> Scale:
        """What runners of the pool must work off."""
        return self.run(calls.scale(pool))

    def ready(self) -> dict[str, Any]:
        """What the gateway says of its readiness. Raises Unavailable while it is not ready."""
        return self.run(calls.ready())

    def events(self, job_id: str, after: str | None = None) -> Iterator[JobFrame]:
        """The frames of a job's stream up to the terminal one, across broken connections."""
        follow = Follow(after)
        while True:
            why: OrchError | None = None
            try:
                for frame in self._stream(job_id, follow, SILENCE_MS_MAX / 1_000):
                    yield frame
                    if frame.is_last:
                        return
            except OrchError as error:
                if not error.entry.retriable:
                    raise
                why = error
            _pause(follow.lost(monotonic_ms(), why))

    def wait(
        self, job_id: str, *, timeout_s: float | None = None, through_blocked: bool = False
    ) -> JobRecord:
        """The job once it is over, or blocked unless `through_blocked`.

        Raises:
            Unavailable: TIMEOUT after `timeout_s`.
        """
        wait = Wait(monotonic_ms(), timeout_s, through_blocked=through_blocked)
        record = self.job(job_id)
        while not wait.is_over(record):
            self._listen(job_id, wait, wait.slice_s(monotonic_ms(), record))
            record = self._look(job_id, wait, record)
        return record

    def _look(self, job_id: str, wait: Wait, last: JobRecord) -> JobRecord:
        """The job now; the last record while the gateway is away for a moment."""
        try:
            return self.job(job_id)
        except Unavailable as error:
            _pause(wait.follow.lost(monotonic_ms(), error))
            return last

    def _listen(self, job_id: str, wait: Wait, slice_s: float) -> None:
        """Return at news, or when the slice is over."""
        until_ms = monotonic_ms() + int(slice_s * 1_000)
        why: OrchError | None = None
        try:
            for frame in self._stream(job_id, wait.follow, slice_s):
                if frame.is_news or monotonic_ms() >= until_ms:
                    return
        except OrchError as error:
            if not error.entry.retriable:
                raise
            why = error
        left_ms = until_ms - monotonic_ms()
        if left_ms > 0:  # it broke: the slice was not used up by silence
            _pause(min(wait.follow.lost(monotonic_ms(), why), left_ms))

    def _stream(self, job_id: str, follow: Follow, silence_s: float) -> Iterator[JobFrame]:
        """The frames of one connection; a silence of `silence_s` ends it with Unavailable."""
        path = calls.events(job_id).path
        try:
            with self._http.sse(
                path, params=follow.query(), headers=follow.headers(), timeout=timeout_of(silence_s)
            ) as source:
                if source.response.status_code != 200:
                    body = source.response.read()
                    raise error_of(source.response.status_code, body, self.endpoint.url)
                follow.opened(monotonic_ms())
                for sse in source:
                    frame = follow.take(sse)
                    if frame is not None:
                        yield frame
        except httpx2.TransportError as error:
            raise unreachable(error, self.endpoint.url) from error
