"""What stands in a job's spans: only names of the pinned module, only ids, codes and numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import pytest

from orch.core.tracing import TraceContext
from orch.telemetry import conventions, spans
from orch.telemetry.spans import Nature, Trail, Worked, nature_of
from orch.telemetry.traces import Kind, Span
from tests.shape.words import attributes

CANARY = "c4n4ry-0123456789"
ADMITTED: Final = TraceContext("c" * 32, "d" * 16, sampled=True)
TRAIL: Final = Trail("job-1", ADMITTED)
SPEC: Final = json.dumps(
    {
        "name": "fix",
        "objective": CANARY,
        "inputs": {"a": CANARY},
        "session": "s-1",
        "adapter": {
            "name": "http",
            "config": {"url": f"http://h/{CANARY}", "json": {"model": "m" * 999, "prompt": CANARY}},
        },
    }
)
PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "traces.md"


def worked(number: int = 1, ending: Mapping[str, object] = MappingProxyType({})) -> Worked:
    said = {"outcome": "done", "reason": "completed", "message": CANARY, **ending}
    usage = {"tokens_in": 11, "tokens_out": 7, "cost_micros": 5}
    return Worked(number, 2**33, "runner-1", 1, 2, said, usage)


def every_span() -> Iterator[Span]:
    times = 1, 2
    yield spans.submit(ADMITTED, None, times, count=2, correlation_id="o" * 500, error=None)
    yield spans.admit(
        ADMITTED, ADMITTED, times, job_id="job-1", state="queued", duplicate=False, error=None
    )
    yield spans.dispatch(TRAIL, 1, 1, 2, "default")
    yield spans.attempt(TRAIL, worked(), nature_of(SPEC))
    yield spans.settle(TRAIL, 1, times, "ok")
    yield spans.decide(TRAIL, 1, times, outcome="transient", verb="backoff", delay_ms=5)
    yield spans.end(TRAIL, 3, state="failed", outcome="logic")


@pytest.mark.req("MET-3")
def test_every_attribute_has_its_name_in_the_pinned_module_and_on_the_page() -> None:
    names = attributes() - {conventions.AGENT_INVOKED}
    emitted = {name for span in every_span() for name in span.attributes}
    emitted |= {conventions.ERROR_TYPE}
    resource = {
        conventions.SERVICE_NAME, conventions.SERVICE_INSTANCE, conventions.SERVICE_VERSION,
        conventions.ROLE,
    }  # fmt: skip
    assert emitted | resource == names
    page = PAGE.read_text()
    assert [name for name in names if f"`{name}`" not in page] == []
    assert [span.name for span in every_span() if f"`{span.name}`" not in page] == []
    assert conventions.SEMANTIC_CONVENTIONS in page
    assert conventions.GENAI_CONVENTIONS in page


@pytest.mark.req("MET-3", "SEC-2")
def test_no_span_holds_what_a_job_was_given_or_said() -> None:
    for span in every_span():
        assert CANARY not in repr(span)
        assert all(len(str(value)) <= 200 for value in span.attributes.values()), span


@pytest.mark.req("MET-3")
def test_kinds_are_those_of_the_conventions() -> None:
    assert {span.name.split()[0]: span.kind for span in every_span()} == {
        "submit": Kind.PRODUCER,
        "admit": Kind.CLIENT,
        "dispatch": Kind.CLIENT,
        "attempt": Kind.CONSUMER,
        "settle": Kind.CLIENT,
        "decide": Kind.CLIENT,
        "end": Kind.INTERNAL,
    }


@pytest.mark.req("MET-3")
def test_an_attempt_links_to_the_last_ones_before_it() -> None:
    nature = Nature("fix", "command", "default", "default", None, None)
    linked = [spans.attempt(TRAIL, worked(number), nature).links for number in (1, 2, 20)]
    assert [list(links) for links in linked] == [
        [], [TRAIL.attempt(1)], [TRAIL.attempt(number) for number in range(12, 20)],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("ending", "error"),
    [
        ({"outcome": "done"}, None),
        ({"outcome": "human", "reason": "question"}, None),
        ({"outcome": "canceled", "reason": "canceled"}, None),
        ({"outcome": "logic", "reason": "exit_code"}, "exit_code"),
        ({"outcome": "lost", "reason": "runner_dead"}, "runner_dead"),
    ],
)
def test_an_attempt_that_failed_says_why_in_a_code(
    ending: dict[str, object], error: str | None
) -> None:
    assert spans.attempt(TRAIL, worked(ending=ending), nature_of(SPEC)).error == error
