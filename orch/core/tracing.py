"""Where does the context of a job's trace travel, and how are its spans told apart?

A context comes in as W3C `traceparent`. It stands in the stored spec, before all that the spec says itself:
so it goes wherever the spec goes (every claim, retry, takeover and decision), costs a job without one
nothing, and no function of the server has to know of it. The spec's digest does not count it.

Ids of spans of one job follow from its trace, its id and what they are about. So a process that stands in for
a dead one names the same span, and a later attempt can name an earlier one that it never met.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import orjson

from contracts.states import State

_TRACEPARENT: Final = re.compile(
    r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[\x21-\x7e]*)?"
)
_TRACEPARENT_CHARS_MAX: Final = 512
"""Of a version to come, which may say more."""
_SAMPLED: Final = 1
MARK: Final = '{"_carried":'
"""How a stored spec begins with which something travels; no spec itself does: unknown keys are refused."""
_DECODER: Final = json.JSONDecoder()

Landmark = Literal["dispatch", "attempt", "settle", "decide", "end"]
"""What a span of a job is about."""


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A span, as others refer to it: 32 and 16 lower-case hex digits, and whether it is recorded."""

    trace_id: str
    span_id: str
    sampled: bool

    @property
    def traceparent(self) -> str:
        """As W3C Trace Context writes it."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"


class Carried(NamedTuple):
    """What a job takes along from its submission; empty texts for what there is none of."""

    traceparent: str = ""
    correlation_id: str = ""


def context_of(traceparent: str | None) -> TraceContext | None:
    """The context that a header, a field or a variable names; None for what W3C calls invalid, which counts
    as if nothing had been sent."""
    if not traceparent or len(traceparent) > _TRACEPARENT_CHARS_MAX:
        return None
    match = _TRACEPARENT.fullmatch(traceparent.strip(" \t"))
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more is not None):
        return None
    if not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))


def with_carried(spec: str, carried: Carried | None) -> str:
    """A spec (a JSON object that is not empty) as it is stored."""
    if carried is None:
        return spec
    said = {name: value for name, value in carried._asdict().items() if value}
    return f"{MARK}{orjson.dumps(said).decode()},{spec[1:]}" if said else spec


def split_carried(stored: str) -> tuple[str, Carried | None]:
    """What the caller wrote, and what travels with it."""
    if not stored.startswith(MARK):
        return stored, None
    said, end = _DECODER.raw_decode(stored, len(MARK))
    carried = Carried(str(said.get("traceparent", "")), str(said.get("correlation_id", "")))
    return "{" + stored[end + 1 :], carried


def span_of(carried: TraceContext, job_id: str, what: Landmark, number: int = 0) -> TraceContext:
    """The span of a job that is about this, in the trace that the job carries; `number` counts attempts."""
    text = f"orch/span/v1\0{carried.trace_id}\0{job_id}\0{what}\0{number}"
    span_id = hashlib.sha256(text.encode()).hexdigest()[:16]
    # All zeros would mean no span at all; once in 2**64.
    return TraceContext(
        carried.trace_id, span_id.replace("0" * 16, "0" * 15 + "1"), carried.sampled
    )


class Moments(NamedTuple):
    """When what happened to a job, by the server's clock (Unix ms); None for what did not happen."""

    state: State
    attempt: int
    """Attempts so far."""
    made_at_ms: int
    queued_at_ms: int | None
    """The last time."""
    claimed_at_ms: int | None
    finished_at_ms: int | None
    outcome: str | None
