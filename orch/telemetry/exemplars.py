"""Which trace stands behind a number? The hook that the tracing of a process fills in.

A histogram asks `exemplar()` when it takes a value of its own accord, and shows the answer in OpenMetrics. It
is asked on hot paths: without a trace the answer is None, and costs a call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

Labels = Mapping[str, str]
"""At most 128 characters, names included: `trace_id` and `span_id`."""
LABELS_CHARS_MAX: Final = 128
"""OpenMetrics refuses more."""


def _none() -> Labels | None:
    return None


_current: Callable[[], Labels | None] = _none


def exemplar() -> Labels | None:
    """The trace that the caller works for; None where nothing is traced."""
    return _current()


def use(current: Callable[[], Labels | None] | None) -> None:
    """Who knows the trace of the running task, from now on; None: nobody."""
    global _current  # noqa: PLW0603 - one tracer for each process, as one interpreter has
    _current = current or _none
