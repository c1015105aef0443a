"""The words of webhooks: which events there are, and what callers see of a webhook and its deliveries.

What is sent follows Standard Webhooks (standardwebhooks.com): a JSON body {type, timestamp, data} and the
headers webhook-id, webhook-timestamp and webhook-signature.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from contracts import limits
from contracts.adapters import Id, Strict
from contracts.record import View
from contracts.states import State


class WebhookEvent(StrEnum):
    """What a receiver can ask to be told."""

    COMPLETED = "job.completed"
    FAILED = "job.failed"
    CANCELED = "job.canceled"
    EXPIRED = "job.expired"
    BLOCKED = "job.blocked"
    """A person is needed: a question, or an error that nobody but a person can judge."""


TEST_EVENT: Final = "webhook.test"
"""The type of a test delivery; every webhook gets it when it is asked for."""
EVENT_STATES: Final = {
    "job.completed": State.COMPLETED,
    "job.failed": State.FAILED,
    "job.canceled": State.CANCELED,
    "job.expired": State.EXPIRED,
    "job.blocked": State.BLOCKED,
}
HEADER_ID: Final = "webhook-id"
HEADER_TIMESTAMP: Final = "webhook-timestamp"
HEADER_SIGNATURE: Final = "webhook-signature"
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - what stands before every secret, no secret
TOLERANCE_MS: Final = 5 * limits.MINUTE_MS
"""How old or how far ahead a timestamp may be, as Standard Webhooks proposes."""
ROTATION_MS: Final = limits.DAY_MS
"""How long the old secret still signs beside the new one, unless the caller says otherwise."""
ROTATION_MS_MAX: Final = 30 * limits.DAY_MS
RETRY_DELAYS_MS: Final = (
    5 * limits.SECOND_MS,
    5 * limits.MINUTE_MS,
    30 * limits.MINUTE_MS,
    2 * limits.HOUR_MS,
    5 * limits.HOUR_MS,
    10 * limits.HOUR_MS,
    14 * limits.HOUR_MS,
    20 * limits.HOUR_MS,
    24 * limits.HOUR_MS,
)
"""After each failed try, as Standard Webhooks proposes: ten tries in a little over three days."""
CONNECT_MS: Final = 5 * limits.SECOND_MS
TOTAL_MS: Final = 15 * limits.SECOND_MS
"""One whole try: names, connection, request and answer."""


class NewWebhook(Strict):
    """A webhook to be registered."""

    url: Annotated[str, Field(min_length=1, max_length=limits.WEBHOOK_URL_CHARS_MAX)]
    tenant: Id = "default"
    name: Annotated[str, Field(max_length=limits.NAME_CHARS_MAX)] = ""
    events: Annotated[
        list[Annotated[WebhookEvent, Field(strict=False)]],
        Field(min_length=1, max_length=len(WebhookEvent)),
    ] = Field(default_factory=lambda: list(WebhookEvent))
    with_result: bool = False
    """Whether the body carries the result of a completed job, up to 4 KiB."""


class RotateWebhook(Strict):
    """How a secret is replaced."""

    overlap_ms: Annotated[int, Field(ge=0, le=ROTATION_MS_MAX)] = ROTATION_MS
    """So long both secrets sign."""


class ResendWebhook(Strict):
    """Which dead deliveries are sent once more; without ids all that are remembered."""

    delivery_ids: (
        Annotated[list[str], Field(min_length=1, max_length=limits.WEBHOOK_POSTS_KEPT)] | None
    ) = None


class ResultRef(View):
    """A result that is too large to be sent: a blob."""

    sha256: str
    bytes: int


class WebhookData(View):
    """What a body says; of a test it is only `webhook_id`, `tenant` and `name`."""

    webhook_id: str | None = None
    job_id: str | None = None
    name: str | None
    """None when the job's record was gone before the first try."""
    state: State | None = None
    tenant: str
    pool: str | None = None
    outcome: str | None = None
    """Of the last attempt; none while a job is blocked."""
    reason: str | None = None
    attempt: int | None = None
    finished_at_ms: int | None = None
    result: Any = None
    """Of a completed job, up to 4 KiB, when the webhook asked for it."""
    result_ref: ResultRef | None = None


class WebhookBody(View):
    """The body of a webhook's request."""

    type: str
    timestamp: str
    """When it happened, ISO 8601 in UTC."""
    data: WebhookData


class Webhook(View):
    """A webhook as it may be shown: never its secret."""

    webhook_id: str
    tenant: str
    name: str
    url: str
    events: list[WebhookEvent]
    with_result: bool
    created_at_ms: int
    old_secret_until_ms: int | None
    """While a rotation lasts: until when the old secret signs too."""
    off: str | None
    """Why nothing is sent any more: the receiver answered 410. None: it is on."""
    pending: int
    """Deliveries that wait for their first or next try."""
    delivered: int
    failed_tries: int
    dead: int
    """Given up after the last try, since it was registered."""
    dropped: int
    """Never made, because too many waited."""


class NewWebhookAnswer(Webhook):
    """The only answer that shows the secret."""

    secret: str


class WebhookList(View):
    """All webhooks of a tenant, or of all."""

    webhooks: list[Webhook]


class Delivery(View):
    """One delivery: pending, delivered or dead."""

    delivery_id: str
    """The header webhook-id; the same at every try."""
    state: Literal["pending", "delivered", "dead"]
    type: str
    job_id: str | None
    made_at_ms: int
    tries: int
    next_try_at_ms: int | None
    last_try_at_ms: int | None
    status: int | None
    """HTTP status of the last answer."""
    error: str | None


class DeliveryList(View):
    """Deliveries of one webhook: those that wait first, then dead ones, then the newest delivered."""

    deliveries: list[Delivery]


class WebhookPosted(View):
    """What a test or a resend put into the line."""

    delivery_ids: list[str]


assert {event.value for event in WebhookEvent} == EVENT_STATES.keys()
assert CONNECT_MS < TOTAL_MS
