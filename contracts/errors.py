"""Which errors exist, what each means, and which HTTP status and exit code it has.

One closed catalogue: the HTTP envelope, the command line and the admission stream all answer with a
code from here. Where an error is raised it is one of four kinds, told apart by what the caller can do.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any


class ExitCode(IntEnum):
    """What the `orch` command exits with; the same table for every command."""

    OK = 0
    JOB_FAILED = 1
    VERIFICATION_FAILED = 2
    POLICY_BLOCKED = 3
    ANSWER_NEEDED = 4
    ACCEPTANCE_FAILED = 5
    BAD_INPUT = 6
    DEPENDENCY_MISSING = 7
    UNSAFE = 8
    INTERRUPTED = 130


class ErrorCode(StrEnum):
    """The code of an error body. Closed: adding one is a change of the contract."""

    INVALID_SPEC = "INVALID_SPEC"
    INVALID_ID = "INVALID_ID"
    INVALID_REQUEST = "INVALID_REQUEST"
    EXPIRED_CURSOR = "EXPIRED_CURSOR"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    NOT_FOUND = "NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    RANGE_NOT_SATISFIABLE = "RANGE_NOT_SATISFIABLE"
    IDEMPOTENCY_CONFLICT = "IDEMPOTENCY_CONFLICT"
    INVALID_TRANSITION = "INVALID_TRANSITION"
    ALREADY_ANSWERED = "ALREADY_ANSWERED"
    INVALID_ANSWER = "INVALID_ANSWER"
    LEASE_OVER = "LEASE_OVER"
    LEASE_CONFLICT = "LEASE_CONFLICT"
    DUPLICATE_COMMAND = "DUPLICATE_COMMAND"
    SESSION_BUSY = "SESSION_BUSY"
    QUEUE_FULL = "QUEUE_FULL"
    RATE_LIMITED = "RATE_LIMITED"
    NO_POOL = "NO_POOL"
    INTAKE_PAUSED = "INTAKE_PAUSED"
    LIMIT_REACHED = "LIMIT_REACHED"
    DEADLINE_UNMET = "DEADLINE_UNMET"
    REVISION_CONFLICT = "REVISION_CONFLICT"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    TENANT_MISMATCH = "TENANT_MISMATCH"
    UNAVAILABLE = "UNAVAILABLE"
    HOME_IN_USE = "HOME_IN_USE"
    DEPENDENCY_MISSING = "DEPENDENCY_MISSING"
    INVALID_CONFIG = "INVALID_CONFIG"
    TIMEOUT = "TIMEOUT"
    JOB_FAILED = "JOB_FAILED"
    JOB_EXPIRED = "JOB_EXPIRED"
    INTERNAL = "INTERNAL"


@dataclass(frozen=True, slots=True)
class ErrorEntry:
    """One row of the catalogue.

    `http_status` is None for an error that only the command line can meet. `retriable` says whether the
    same request may succeed later without being changed.
    """

    code: ErrorCode
    http_status: int | None
    exit_code: ExitCode
    retriable: bool
    meaning: str
    hint: str


def _rows() -> tuple[ErrorEntry, ...]:
    e, x = ErrorCode, ExitCode
    return (
        ErrorEntry(e.INVALID_SPEC, 400, x.BAD_INPUT, False, "The job spec breaks its schema; details.path names the key.", "Correct the key named in details.path; `orch init` writes a valid example."),
        ErrorEntry(e.INVALID_ID, 400, x.BAD_INPUT, False, "An id breaks the pattern [A-Za-z0-9][A-Za-z0-9._-]{0,63} or holds '..'.", "Use letters, digits, dot, dash and underscore, at most 64 characters."),
        ErrorEntry(e.INVALID_REQUEST, 400, x.BAD_INPUT, False, "The request is no valid call of this endpoint or command.", "Compare it with contracts/openapi.json or the command's --help."),
        ErrorEntry(e.EXPIRED_CURSOR, 400, x.BAD_INPUT, False, "The list that this cursor belongs to begins anew: the server's data went back.", "Read the list again from its first page."),
        ErrorEntry(e.PAYLOAD_TOO_LARGE, 413, x.BAD_INPUT, False, "A body or a value is larger than its bound; details.bytes_max names it.", "Put large data into a file or a blob and pass a reference."),
        ErrorEntry(e.UNSUPPORTED_MEDIA_TYPE, 415, x.BAD_INPUT, False, "A body is not declared as application/json.", "Send the header Content-Type: application/json."),
        ErrorEntry(e.NOT_FOUND, 404, x.BAD_INPUT, False, "There is no such job, question, schedule or path.", "`orch list` shows the jobs that exist, `orch schedule list` the schedules."),
        ErrorEntry(e.METHOD_NOT_ALLOWED, 405, x.BAD_INPUT, False, "This path exists, but not with this method.", "Compare it with contracts/openapi.json."),
        ErrorEntry(e.RANGE_NOT_SATISFIABLE, 416, x.BAD_INPUT, False, "The Range header asks for bytes that the file does not have, or for several ranges; details.bytes is its size.", "Ask for one range within the size, or for the whole file."),
        ErrorEntry(e.IDEMPOTENCY_CONFLICT, 409, x.BAD_INPUT, False, "The idempotency key or job id was used for other content; details holds both digests.", "Use a new key for new content."),
        ErrorEntry(e.INVALID_TRANSITION, 409, x.JOB_FAILED, False, "The job's state refuses this event; details names state and refusal.", "`orch explain ID` says what the job waits for."),
        ErrorEntry(e.ALREADY_ANSWERED, 409, x.JOB_FAILED, False, "The question has an answer, or is no longer the one asked.", "`orch status ID` shows the open question."),
        ErrorEntry(e.INVALID_ANSWER, 400, x.BAD_INPUT, False, "The answer does not fit the question's kind or options.", "`orch status ID` shows the kind and the options."),
        ErrorEntry(e.LEASE_OVER, 409, x.JOB_FAILED, False, "The claim presented is not the one in force.", "Stop the work: another attempt owns the job."),
        ErrorEntry(e.LEASE_CONFLICT, 409, x.JOB_FAILED, False, "Another runner holds the job; details.holder names it.", "Wait until the holder finishes or its lease ends."),
        ErrorEntry(e.SESSION_BUSY, 409, x.JOB_FAILED, False, "The session has a live job and its policy is reject, or it has as many as it may; details.job_id names the first.", "Wait for details.job_id, or submit with session_policy enqueue, interrupt or replace."),
        ErrorEntry(e.DUPLICATE_COMMAND, 409, x.BAD_INPUT, False, "A command with this id was given before.", "`orch control status ID` shows it; give a new command a new id."),
        ErrorEntry(e.QUEUE_FULL, 429, x.JOB_FAILED, True, "What waits has reached a bound: of the pool and class, of the pool, or of the tenant; details name it.", "Try again after retry_after_ms."),
        ErrorEntry(e.RATE_LIMITED, 429, x.JOB_FAILED, True, "Too many submissions at once: the tenant's rate is used up, or the gateway is busy.", "Try again after retry_after_ms."),
        ErrorEntry(e.INTAKE_PAUSED, 503, x.JOB_FAILED, True, "An operator paused intake; details.scope says of what.", "Try again later; an operator has to resume intake."),
        ErrorEntry(e.DEADLINE_UNMET, 400, x.BAD_INPUT, False, "The deadline has passed, or lies before the predicted start.", "Give a later deadline_ms."),
        ErrorEntry(e.NO_POOL, 503, x.DEPENDENCY_MISSING, True, "No pool fits the placement now; details.candidates says why, pool by pool.", "Start a runner with these capabilities, or ask for less."),
        ErrorEntry(e.LIMIT_REACHED, 409, x.BAD_INPUT, False, "There are as many of these as there may be; details.limit says how many.", "Remove one that is no longer needed."),
        ErrorEntry(e.REVISION_CONFLICT, 409, x.JOB_FAILED, False, "It was changed since the revision that if_revision names; details.revision is the one it has.", "Read it again, and send if_revision with the revision read."),
        ErrorEntry(e.UNAUTHENTICATED, 401, x.UNSAFE, False, "No valid token.", "Set ORCH_TOKEN."),
        ErrorEntry(e.FORBIDDEN, 403, x.UNSAFE, False, "The caller may not do this; also a foreign Host or Origin header.", "Call the address in endpoint.json, not through another name."),
        ErrorEntry(e.TENANT_MISMATCH, 403, x.UNSAFE, False, "The spec's tenant is not the token's.", "Leave tenant out or use the token's."),
        ErrorEntry(e.UNAVAILABLE, 503, x.DEPENDENCY_MISSING, True, "Redis or the gateway cannot be reached now.", "`orch doctor` names what is missing; `orch up` starts a local stack."),
        ErrorEntry(e.HOME_IN_USE, None, x.BAD_INPUT, False, "The home directory is locked by another stack.", "Stop the other stack (`orch down --home …`) or choose another --home."),
        ErrorEntry(e.DEPENDENCY_MISSING, None, x.DEPENDENCY_MISSING, False, "A program, package or server that is needed is not there, or cannot keep what Orch promises.", "`orch doctor` names it and how to get it."),
        ErrorEntry(e.INVALID_CONFIG, None, x.BAD_INPUT, False, "A setting is unknown or out of its bounds; details names key, value and bound.", "docs/configuration.md lists every key."),
        ErrorEntry(e.TIMEOUT, None, x.JOB_FAILED, True, "What was waited for did not happen in the time given.", "Wait longer with --timeout."),
        ErrorEntry(e.JOB_FAILED, None, x.JOB_FAILED, False, "The job of this event stream ended in `failed`: no answer's status, but the stream's last frame.", "`orch explain ID` says what happened; a dead letter can be replayed."),
        ErrorEntry(e.JOB_EXPIRED, None, x.JOB_FAILED, False, "The job of this event stream met its deadline_ms before its end: the stream's last frame.", "Submit it again with a later deadline_ms."),
        ErrorEntry(e.INTERNAL, 500, x.JOB_FAILED, False, "A defect of Orch.", "Report it with the request_id and the actors' log."),
    )


CATALOGUE = MappingProxyType({row.code: row for row in _rows()})
assert set(CATALOGUE) == set(ErrorCode), "every code has exactly one row"


POLICY_LABELS = (
    "reject",
    "drop-lru",
    "shed-low-priority",
    "rate-limit",
    "tenant-quota",
    "key-quota",
    "intake-paused",
    "requests-backlog",
    "gateway-backlog",
)
"""Which rule refused for load: the full_policy in force at a bound of a queue or pool, or another bound."""


class OrchError(Exception):
    """An error with a code from the catalogue; raise one of its four kinds, not this."""

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        details: dict[str, Any] | None = None,
        retry_after_ms: int | None = None,
        policy_label: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details
        self.retry_after_ms = retry_after_ms
        self.policy_label = policy_label
        """Which rule said no, when the reason is load: a value of POLICY_LABELS."""
        self.hint = hint if hint is not None else CATALOGUE[code].hint

    @property
    def entry(self) -> ErrorEntry:
        """The catalogue's row for this error."""
        return CATALOGUE[self.code]

    def body(self, request_id: str = "") -> dict[str, Any]:
        """The flat error body of INTERFACE: HTTP, `--json` and the admission stream all send this."""
        body: dict[str, Any] = {
            "code": self.code.value,
            "message": self.message,
            "hint": self.hint,
            "retriable": self.entry.retriable,
            "request_id": request_id,
        }
        if self.retry_after_ms is not None:
            body["retry_after_ms"] = self.retry_after_ms
        if self.policy_label is not None:
            body["policy_label"] = self.policy_label
        if self.details:
            body["details"] = self.details
        return body


class Refused(OrchError):
    """Expected: the request is understood and the answer is no. Change the request."""


class Unavailable(OrchError):
    """Something needed cannot be reached. Try again later; whether a write happened is unknown."""


class Corrupt(OrchError):
    """Stored data breaks a promise. Stop: going on could lose more."""


class Misuse(OrchError):
    """A programmer's mistake at the call. Never retried."""
