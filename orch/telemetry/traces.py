"""A span and who takes it, without the SDK. A span is recorded when it is over, from facts: while its work
runs there is no object for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from orch.core.tracing import TraceContext

Value = str | int | float | bool


class Kind(Enum):
    """As OpenTelemetry means it; the values are those of OTLP."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


@dataclass(frozen=True, slots=True)
class Span:
    """A span that is over. Times are Unix nanoseconds; `error` is a code, never a message."""

    name: str
    kind: Kind
    context: TraceContext
    parent: TraceContext | None
    started_ns: int
    ended_ns: int
    attributes: Mapping[str, Value]
    links: Sequence[TraceContext] = field(default=())
    error: str | None = None


class Traces(Protocol):
    """The traces of a process that wants them."""

    def begin(self, parent: TraceContext | None, name: str) -> TraceContext:
        """A new span under this parent, or a new trace; whether it is sampled is decided here."""
        ...

    def now_ns(self) -> int:
        """Unix nanoseconds, for a span's times."""
        ...

    def record(self, span: Span) -> None:
        """Takes a span that is over; one that is not sampled is dropped. Never waits, never raises."""
        ...

    def close(self) -> None:
        """Hands on what was recorded; waits for that, but not long. Blocks its thread."""
        ...
