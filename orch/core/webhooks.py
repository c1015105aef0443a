"""What is signed, when a delivery is tried again, and what becomes of an answer (EVT-4).

Signatures follow Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`, base64, `v1,` before it; while a
secret is being replaced both sign, separated by a space.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from contracts.errors import ErrorCode, Refused
from contracts.states import STATE_CODES, State
from contracts.webhooks import (
    EVENT_STATES,
    HEADER_ID,
    HEADER_SIGNATURE,
    HEADER_TIMESTAMP,
    RETRY_DELAYS_MS,
    SECRET_PREFIX,
    TEST_EVENT,
)

JITTER = 0.1
"""A retry comes up to so much later than the schedule says: a receiver that is back is not stormed."""
_TEST = "t"
_EVENTS = {STATE_CODES[state]: event for event, state in EVENT_STATES.items()} | {_TEST: TEST_EVENT}


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook as it is stored, its secrets included: never shown, never logged."""

    webhook_id: str
    tenant: str
    name: str
    url: str
    events: tuple[str, ...]
    with_result: bool
    created_at_ms: int
    secret: str
    old_secret: str | None = None
    old_until_ms: int | None = None

    def __repr__(self) -> str:
        return f"Hook({self.webhook_id})"

    def secrets_at(self, now_ms: int) -> list[str]:
        """Those that sign now, the newest first."""
        old = self.old_secret if now_ms < (self.old_until_ms or 0) else None
        return [self.secret, *([old] if old else [])]


@dataclass(frozen=True, slots=True)
class Posted:
    """The name of a delivery: which event of which job."""

    member: str
    type: str
    seq: int
    at_ms: int
    job_id: str | None

    @property
    def is_test(self) -> bool:
        """Sent because somebody asked for a test."""
        return self.job_id is None


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of one try: a status, or why there is none."""

    status: int | None
    error: str | None
    retry_after_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Next:
    """What becomes of the delivery."""

    verdict: Literal["delivered", "again", "dead"]
    delay_ms: int = 0
    off: str = ""
    """Why the webhook is switched off."""


@dataclass(frozen=True, slots=True)
class Post:
    """One delivery that is due."""

    event: Posted
    tries: int
    """How often it was tried before."""
    about: Mapping[str, Any]
    """Of the last try; its body is the one to be sent again."""
    name: str
    """Of the job; empty as all below when its record is gone, or was read at an earlier try."""
    entry: str
    """The ledger entry that it tells of."""
    result: str
    pool: str


@dataclass(frozen=True, slots=True)
class InHand:
    """Deliveries of one webhook that nobody else gets until a time."""

    hook: Hook
    busy: str
    posts: Sequence[Post]


@dataclass(frozen=True, slots=True)
class Tried:
    """How one delivery went."""

    post: Post
    next: Next
    about: Mapping[str, Any]


def posted(member: str) -> Posted:
    """A member of a hook's line, read."""
    letter, seq, at_ms, job_id = member.split(":", 3)
    return Posted(
        member, _EVENTS[letter], int(seq), int(at_ms), None if letter == _TEST else job_id
    )


def test_member(at_ms: int, token: str) -> str:
    """The member of a test delivery."""
    return f"{_TEST}:0:{at_ms}:{token}"


def delivery_id(hook: str, member: str) -> str:
    """The header webhook-id: one for each hook, job and event, without the dot that signing separates by."""
    return "msg_" + hashlib.sha256(f"{hook}:{member}".encode()).hexdigest()[:32]


def secret_of(random: bytes) -> str:
    """A secret as receivers get it."""
    return SECRET_PREFIX + base64.b64encode(random).decode()


def key_of(secret: str) -> bytes:
    """The bytes that sign.

    Raises:
        ValueError: it is no secret of a webhook.
    """
    return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """One `v1,…` of the header webhook-signature."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(key_of(secret), signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def headers(secrets: Sequence[str], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of a request, signed by every secret in force."""
    signed = " ".join(signature(secret, message_id, timestamp, body) for secret in secrets)
    return {
        HEADER_ID: message_id,
        HEADER_TIMESTAMP: str(timestamp),
        HEADER_SIGNATURE: signed,
    }


def next_of(answered: Answered, *, tries: int, chance: float) -> Next:
    """What becomes of a delivery after its try number `tries + 1`; `chance` in [0, 1]."""
    status = answered.status
    if status is not None and 200 <= status < 300:
        return Next("delivered")
    if status == 410:
        return Next("dead", off="the receiver answered 410 Gone")
    if tries >= len(RETRY_DELAYS_MS):
        return Next("dead")
    delay_ms = int(RETRY_DELAYS_MS[tries] * (1 + JITTER * chance))
    if status in {429, 503} and answered.retry_after_ms is not None:
        delay_ms = max(delay_ms, min(answered.retry_after_ms, RETRY_DELAYS_MS[-1]))
    return Next("again", delay_ms)


def retry_after_ms(value: str | None) -> int | None:
    """The header Retry-After in seconds; a date is not understood and counts as none."""
    if value is None or not value.isascii() or not value.isdigit() or len(value) > 9:
        return None
    return int(value) * 1000


def fields_of_ending(state: State, payload: dict[str, Any]) -> tuple[str | None, str | None]:
    """Outcome and reason as the ledger entry says them: each verb has its own words."""
    if state is State.BLOCKED:
        return None, payload.get("block_reason")
    if state is State.FAILED:
        return payload.get("last"), payload.get("reason")
    default = {State.COMPLETED: "done", State.CANCELED: "canceled", State.EXPIRED: "expired"}
    return payload.get("outcome") or default.get(state), payload.get("reason")


def no_such_webhook(webhook_id: str) -> Refused:
    """The refusal for an id nobody knows; another tenant's webhook is met with the same words."""
    return Refused(
        ErrorCode.NOT_FOUND, f"no webhook {webhook_id}", hint="`orch webhook list` shows them."
    )
