"""The spans of a job, each made of facts when it is over: its name, what stands in it, what it hangs on.

    submit                    the caller's request at a door
      admit                   until the job is durable; this one travels with the job
        dispatch (each time)  in its line, until a runner claimed it
        attempt  (each)       the agent's work; its own spans hang here; links to the attempts before
          settle              the result on its way into the store
        decide   (each)       what fallback made of an outcome; links to its attempt
        end                   the moment when the job was over

Names have few values: no id stands in them. Attributes hold ids, codes and numbers, never what a job was
given, said or answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from orch.core.tracing import TraceContext, span_of
from orch.telemetry import conventions as names
from orch.telemetry.traces import Kind, Span, Value

LINKS_MAX: Final = 8
"""Of earlier attempts, the last ones."""
_WORD_CHARS_MAX: Final = 200
_MS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Trail:
    """A job in its trace."""

    job_id: str
    carried: TraceContext
    """The span of its admission."""

    def attempt(self, number: int) -> TraceContext:
        """The span of an attempt, whoever records it."""
        return span_of(self.carried, self.job_id, "attempt", number)


@dataclass(frozen=True, slots=True)
class Nature:
    """What a spec says of what runs; the model only where it is called by one of its names."""

    name: str
    adapter: str
    tenant: str
    pool: str
    session: str | None
    model: str | None


def nature_of(spec: str) -> Nature:
    """Of a stored spec; made for each attempt that is traced, not for others."""
    said = orjson.loads(spec)
    document = said["adapter"]["config"].get("json")
    model = document.get("model") if isinstance(document, dict) else None
    return Nature(
        name=said["name"],
        adapter=said["adapter"]["name"],
        tenant=said.get("tenant", "default"),
        pool=said.get("pool", "default"),
        session=said.get("session"),
        model=model[:_WORD_CHARS_MAX] if isinstance(model, str) else None,
    )


def _messaging(operation: str, kind: str, destination: str) -> dict[str, Value]:
    return {
        names.SYSTEM: names.SYSTEM_REDIS,
        names.OPERATION_NAME: operation,
        names.OPERATION_TYPE: kind,
        names.DESTINATION: destination,
    }


def _known(given: Mapping[str, Value | None]) -> dict[str, Value]:
    return {name: value for name, value in given.items() if value is not None}


def submit(
    context: TraceContext, parent: TraceContext | None, times_ns: tuple[int, int], *,
    count: int, correlation_id: str, error: str | None,
) -> Span:  # fmt: skip
    """A caller's request; `error` is the code of the refusal."""
    attributes = _messaging("submit", "create", "requests") | _known(
        {
            names.BATCH_COUNT: count if count > 1 else None,
            names.CORRELATION: correlation_id[:_WORD_CHARS_MAX] or None,
        }
    )
    return Span("submit requests", Kind.PRODUCER, context, parent, *times_ns, attributes, (), error)


def admit(
    context: TraceContext, parent: TraceContext, times_ns: tuple[int, int], *,
    job_id: str | None, state: str | None, duplicate: bool, error: str | None,
) -> Span:  # fmt: skip
    """One job's way into the store, or the code of its refusal."""
    attributes = _messaging("admit", "send", "queue") | _known(
        {names.MESSAGE_ID: job_id, names.JOB: job_id, names.STATE: state}
    )
    if error is None:
        attributes[names.DUPLICATE] = duplicate
    return Span("admit queue", Kind.CLIENT, context, parent, *times_ns, attributes, (), error)


def dispatch(trail: Trail, number: int, queued_at_ms: int, claimed_at_ms: int, pool: str) -> Span:
    """How long the job stood in its line, by the server's clock."""
    context = span_of(trail.carried, trail.job_id, "dispatch", number)
    attributes = _messaging("dispatch", "receive", "ready") | _of(trail)
    attributes |= {names.POOL: pool, names.ATTEMPT: number, names.CONSUMER_GROUP: "runners"}
    times = queued_at_ms * _MS, claimed_at_ms * _MS
    return Span("dispatch ready", Kind.CLIENT, context, trail.carried, *times, attributes)


@dataclass(frozen=True, slots=True)
class Worked:
    """An attempt that is over."""

    number: int
    fence: int | None
    runner: str
    started_ns: int
    ended_ns: int
    ending: Mapping[str, Any]
    """Its record on the ledger: outcome and reason."""
    usage: Mapping[str, Any] | None = None
    """The last report of what it used."""


_NO_ERRORS: Final = frozenset({"done", "human", "canceled"})


def attempt(trail: Trail, worked: Worked, nature: Nature) -> Span:
    """The agent's work."""
    usage = worked.usage or {}
    outcome = str(worked.ending["outcome"])
    reason = worked.ending.get("reason")
    attributes = _messaging("attempt", "process", "ready") | _of(trail)
    attributes |= _known(
        {
            names.CONSUMER_GROUP: "runners",
            names.CLIENT_ID: worked.runner,
            names.AGENT_OPERATION: names.AGENT_INVOKED,
            names.AGENT_NAME: nature.name,
            names.CONVERSATION: nature.session,
            names.MODEL: nature.model,
            names.TOKENS_IN: usage.get("tokens_in"),
            names.TOKENS_OUT: usage.get("tokens_out"),
            names.COST_MICROS: usage.get("cost_micros"),
            names.TENANT: nature.tenant,
            names.ADAPTER: nature.adapter,
            names.ATTEMPT: worked.number,
            names.FENCE: worked.fence,
            names.RUNNER: worked.runner,
            names.OUTCOME: outcome,
            names.REASON: reason,
        }
    )
    first = max(1, worked.number - LINKS_MAX)
    return Span(
        "attempt ready",
        Kind.CONSUMER,
        trail.attempt(worked.number),
        trail.carried,
        worked.started_ns,
        worked.ended_ns,
        attributes,
        [trail.attempt(number) for number in range(first, worked.number)],
        None if outcome in _NO_ERRORS else str(reason or outcome),
    )


def settle(trail: Trail, number: int, times_ns: tuple[int, int], judgement: str) -> Span:
    """A result from the end of its attempt until the store answered."""
    context = span_of(trail.carried, trail.job_id, "settle", number)
    attributes = _messaging("settle", "settle", "ready") | _of(trail)
    attributes |= {names.ATTEMPT: number, names.DECISION: judgement}
    parent = trail.attempt(number)
    return Span("settle ready", Kind.CLIENT, context, parent, *times_ns, attributes)


def decide(
    trail: Trail, number: int, times_ns: tuple[int, int], *, outcome: str, verb: str, delay_ms: int
) -> Span:
    """What fallback made of an outcome. Not below the attempt: its runner may have died with that span."""
    context = span_of(trail.carried, trail.job_id, "decide", number)
    attributes = _messaging("decide", "settle", "outcomes") | _of(trail)
    attributes |= {
        names.CONSUMER_GROUP: "fallback",
        names.ATTEMPT: number,
        names.OUTCOME: outcome,
        names.DECISION: verb,
        names.DELAY_MS: delay_ms,
    }
    links = [trail.attempt(number)]
    return Span(
        "decide outcomes", Kind.CLIENT, context, trail.carried, *times_ns, attributes, links
    )


def end(trail: Trail, at_ns: int, *, state: str, outcome: str | None) -> Span:
    """The job is over. The same span whoever saw it first: two that saw it name one."""
    context = span_of(trail.carried, trail.job_id, "end")
    attributes = _of(trail) | _known({names.STATE: state, names.OUTCOME: outcome})
    error = (outcome or state) if state in {"failed", "expired"} else None
    return Span(
        "end job", Kind.INTERNAL, context, trail.carried, at_ns, at_ns, attributes, (), error
    )


def _of(trail: Trail) -> dict[str, Value]:
    return {names.JOB: trail.job_id, names.MESSAGE_ID: trail.job_id}
