"""How an attempt can end. A closed set: fallback settles each in one pure function."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Outcome(StrEnum):
    """The class of an attempt's end."""

    DONE = "done"
    """A result was accepted."""
    TRANSIENT = "transient"
    """May work next time (exit code 75, a lost connection)."""
    THROTTLED = "throttled"
    """The provider said when to come back; carries retry_after_ms."""
    LOGIC = "logic"
    """The work itself failed (non-zero exit, an exception); trying again would fail again."""
    RESOURCE = "resource"
    """A wall, idle, memory or output limit stopped it."""
    ENVIRONMENT = "environment"
    """What the job needs is not there: no such program, no such directory, no such callable."""
    HUMAN = "human"
    """Stopped for a person: it asked, or an operator paused it."""
    LOST = "lost"
    """The runner died or lost its lease; nothing is known of the work."""
    CANCELED = "canceled"
    """Canceled while it ran."""
    EXPIRED = "expired"
    """Its deadline passed while it ran."""


RETRIED_BY_DEFAULT: Final = frozenset(
    {Outcome.TRANSIENT, Outcome.THROTTLED, Outcome.RESOURCE, Outcome.LOST}
)
"""The classes tried again when a spec's retry.on is silent; `logic` must be asked for (INTERFACE)."""


class ReasonCode(StrEnum):
    """Why, in one word; beside the outcome in every attempt record."""

    COMPLETED = "completed"
    EXIT_CODE = "exit_code"
    SIGNAL = "signal"
    EXCEPTION = "exception"
    WALL_LIMIT = "wall_limit"
    IDLE_LIMIT = "idle_limit"
    NOT_FOUND = "not_found"
    NOT_EXECUTABLE = "not_executable"
    BAD_CONFIG = "bad_config"
    WORKER_EXITED = "worker_exited"
    GUARD_LOST = "guard_lost"
    UNKNOWN_STEP = "unknown_step"
    QUESTION = "question"
    DENIED = "denied"
    ARTIFACT = "artifact"
    PAUSED = "paused"
    INTERRUPTED = "interrupted"
    LEASE_OVER = "lease_over"
    RUNNER_DEAD = "runner_dead"
    CANCELED = "canceled"
    DEADLINE = "deadline"
    HTTP_STATUS = "http_status"
    CONNECTION = "connection"
    TLS = "tls"
    HOST_DENIED = "host_denied"
    ANSWER = "answer"
    ANSWER_CUT = "answer_cut"
    ANSWER_SIZE = "answer_size"
    PROVIDER = "provider"
    INTERNAL = "internal"
