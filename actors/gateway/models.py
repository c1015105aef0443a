"""The bodies that only HTTP knows: what a verb takes, what the process says of itself.

What readers see of a job is `contracts/record.py`; the job spec is `contracts/spec.py`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from contracts import limits
from contracts.adapters import Id, Strict
from contracts.control import CommandRequest, DrainRequest, GateRequest
from contracts.events import Frame
from contracts.record import ErrorBody, View
from contracts.schedules import ScheduleSpec
from contracts.spec import JobSpec
from contracts.webhooks import NewWebhook, ResendWebhook, RotateWebhook

Reason = Annotated[str, Field(max_length=2_000)]


class BatchRequest(Strict):
    """Several submissions; each is answered on its own."""

    items: Annotated[list[Any], Field(min_length=1, max_length=limits.BATCH_ITEMS_MAX)]


class SteerRequest(Strict):
    """Why a job is canceled, paused or resumed; may be left out. It goes into the ledger."""

    reason: Reason | None = None


class LetterWish(Strict):
    """Which dead letters are meant; what is left out means any."""

    tenant: Id | None = None
    pool: Id | None = None
    reason: Annotated[str, Field(max_length=64)] | None = None


class ReplayRequest(Strict):
    """Dead letters by id, or by filter (at most one page of them, the newest)."""

    job_ids: Annotated[list[Id], Field(min_length=1, max_length=limits.PAGE_ITEMS_MAX)] | None = (
        None
    )
    filter: LetterWish | None = None
    dry_run: bool = False


class AnswerRequest(Strict):
    """The answer to the open question of a blocked job."""

    question_id: Id
    value: Any
    reason: Reason | None = None


class Capabilities(View):
    """What this server can do."""

    version: str
    schema_version: int
    adapters: list[str]
    event_frames: list[Frame]
    limits: dict[str, int]


class Alive(View):
    """The event loop turns; nothing else is claimed."""

    live: bool


class Ready(View):
    """Whether requests are served, check by check: `ok`, or what is wrong."""

    ready: bool
    checks: dict[str, str]


class NotReady(ErrorBody):
    """As `Ready`, inside an error body."""

    ready: bool
    checks: dict[str, str]


REQUEST_MODELS = (
    JobSpec,
    ScheduleSpec,
    BatchRequest,
    ReplayRequest,
    SteerRequest,
    AnswerRequest,
    CommandRequest,
    DrainRequest,
    GateRequest,
    NewWebhook,
    RotateWebhook,
    ResendWebhook,
)
"""Bodies that routes read themselves (duplicate keys!), so the framework does not know of them."""
