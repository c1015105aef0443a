"""What a job's event stream carries, and where a broken stream goes on.

`Follow` is the memory of one follower: it asks for what comes after the last frame it saw, lets `started`
through once, knows the terminal frame, and bounds how often it tries again. It does no I/O itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

import httpx2

from contracts.errors import ErrorCode, Unavailable
from contracts.events import Frame
from contracts.record import JobRecord
from contracts.states import TERMINAL, State
from orch.client.answers import error_of_body

RETRIES_MAX: Final = 10
"""Reconnections without news in between, some 30 s in all; then the gateway counts as gone."""
BACKOFF_MS: Final = 100
BACKOFF_MS_MAX: Final = 5_000
LIVED_MS: Final = 10_000
"""A connection that stood this long was a good one: a quiet job is no failure."""
SILENCE_MS_MAX: Final = 45_000
"""The gateway pings every 15 s; three missed pings mean that nobody is there."""
WAIT_SLICE_MS: Final = 10_000
"""`wait` looks again this often even without news; shorter than a ping, so a deadline is met exactly."""

_NEWS: Final = frozenset({*TERMINAL, State.BLOCKED})


@dataclass(frozen=True, slots=True)
class JobFrame:
    """One server-sent frame: `id` is opaque, `data` is the parsed JSON."""

    id: str
    event: Frame
    data: dict[str, Any]

    @property
    def is_last(self) -> bool:
        """Whether the stream ends with it."""
        return self.event in {Frame.END, Frame.ERROR}

    @property
    def is_news(self) -> bool:
        """Whether somebody who waits for the job should look at it now."""
        if self.event is Frame.STATUS:
            payload = self.data.get("payload")
            return isinstance(payload, dict) and payload.get("to") in _NEWS
        return self.is_last or self.event is Frame.GAP


class Follow:
    """Where one follower of one job's stream stands."""

    def __init__(self, after: str | None = None) -> None:
        self.after = after
        self.last_id: str | None = None
        self._started = False
        self._failures = 0
        self._has_connected = False
        self._opened_at_ms: int | None = None
        """Of the connection that stands now."""

    def query(self) -> dict[str, str]:
        """`after` until the stream itself gave an id to resume from."""
        return {"after": self.after} if self.after is not None and self.last_id is None else {}

    def headers(self) -> dict[str, str]:
        """Last-Event-ID, once there is one."""
        return {} if self.last_id is None else {"Last-Event-ID": self.last_id}

    def opened(self, now_ms: int) -> None:
        """The gateway accepted the stream."""
        self._has_connected = True
        self._opened_at_ms = now_ms

    def take(self, sse: httpx2.ServerSentEvent) -> JobFrame | None:
        """The frame, or None for what a follower need not see: a second `started`, an unknown name.

        Raises:
            RefusedByServer, UnavailableServer: the stream cannot go on; that is not the job's end.
        """
        if sse.id and sse.id != self.last_id:
            self.last_id = sse.id
            self._failures = 0
        try:
            data = json.loads(sse.data)
            frame = JobFrame(
                sse.id, Frame(sse.event), data if isinstance(data, dict) else {"value": data}
            )
        except ValueError:  # a newer gateway's frame; additive frames are ignorable (EVT-2)
            return None
        # An error body names its request, whatever code a newer gateway gives it; a job's end has none.
        if frame.event is Frame.ERROR and "request_id" in frame.data and "code" in frame.data:
            raise error_of_body(frame.data)
        if frame.event is Frame.STARTED:
            if self._started:
                return None
            self._started = True
        return frame

    def lost(self, now_ms: int, why: Exception | None) -> int:
        """How long to wait before connecting again, in ms.

        Raises:
            Unavailable: it never connected, or failed RETRIES_MAX times in a row.
        """
        if not self._has_connected and isinstance(why, Unavailable):
            raise why
        if self._opened_at_ms is not None and now_ms - self._opened_at_ms >= LIVED_MS:
            self._failures = 0
        self._opened_at_ms = (
            None  # a connection's long life excuses its own end, not what comes after
        )
        self._failures += 1
        if self._failures > RETRIES_MAX:
            raise Unavailable(
                ErrorCode.UNAVAILABLE, f"the event stream broke {RETRIES_MAX} times in a row"
            ) from why
        return int(min(BACKOFF_MS * 2 ** (self._failures - 1), BACKOFF_MS_MAX))


class Wait:
    """When somebody who waits for a job may go."""

    def __init__(self, now_ms: int, timeout_s: float | None, *, through_blocked: bool) -> None:
        self.follow = Follow()
        self._deadline_ms = None if timeout_s is None else now_ms + int(timeout_s * 1_000)
        self._timeout_s = timeout_s
        self._through_blocked = through_blocked

    def is_over(self, record: JobRecord) -> bool:
        """Whether `record` is what was waited for."""
        blocked = record.state is State.BLOCKED and not self._through_blocked
        return record.state in TERMINAL or blocked

    def slice_s(self, now_ms: int, record: JobRecord) -> float:
        """How long to listen before looking again.

        Raises:
            Unavailable: TIMEOUT; details.state is where the job stands.
        """
        if self._deadline_ms is None:
            return WAIT_SLICE_MS / 1_000
        if now_ms >= self._deadline_ms:
            raise Unavailable(
                ErrorCode.TIMEOUT,
                f"job {record.job_id} is {record.state} after {self._timeout_s:g} s",
                details={"job_id": record.job_id, "state": record.state.value},
            )
        return min(WAIT_SLICE_MS, self._deadline_ms - now_ms) / 1_000
