"""Spans on their way to a collector: what is sent, what is tried again, what is given up."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import structlog
from opentelemetry.sdk.trace.export import SpanExportResult

from orch.core.tracing import TraceContext
from orch.telemetry.otlp import OtlpExporter, Target
from orch.telemetry.sdk import SdkTraces
from orch.telemetry.traces import Kind, Span, Value
from tests.e2e.collector import Collector, a_collector

CANARY = "c4n4ry-0123456789"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with a_collector() as listening:
        yield listening


def send(environment: dict[str, str], *, parent: TraceContext | None = None) -> TraceContext:
    """One span, by an exporter of this environment."""
    exporter = OtlpExporter.of(environment)
    traces = SdkTraces([exporter], role="runner", instance_id="runner-1", environ=environment)
    context = traces.begin(parent, "attempt ready")
    attributes: dict[str, Value] = {"text": "ü", "whole": 2**60, "half": 0.5, "yes": True}
    links = [TraceContext("a" * 32, "b" * 16, sampled=True)]
    traces.record(
        Span(
            "attempt ready", Kind.CONSUMER, context, parent, 1_000, 2_500, attributes, links, "lost"
        )
    )
    traces.close()
    return context


@pytest.mark.req("MET-3")
def test_a_span_arrives_whole(collector: Collector) -> None:
    parent = TraceContext("c" * 32, "d" * 16, sampled=True)
    context = send({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url + "/"}, parent=parent)
    (span,) = collector.spans
    assert (span.trace_id, span.span_id, span.parent_id) == ("c" * 32, context.span_id, "d" * 16)
    assert (span.name, span.kind) == ("attempt ready", Kind.CONSUMER.value)
    assert (span.started_ns, span.ended_ns) == (1_000, 2_500)
    assert span.attributes == {
        "text": "ü", "whole": 2**60, "half": 0.5, "yes": True, "error.type": "lost",
    }  # fmt: skip
    assert (span.links, span.error) == (("b" * 16,), "lost")
    assert span.resource["service.name"] == "orch"
    assert collector.headers[0][":path"] == "/v1/traces"


@pytest.mark.req("MET-3")
def test_variables_for_traces_go_before_those_for_everything(collector: Collector) -> None:
    send(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.url}/mine?a=b",
            "OTEL_EXPORTER_OTLP_HEADERS": "x-key=all",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "X-Key=one%2Ctwo, x-other=2,broken",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        }
    )
    (headers,) = collector.headers
    assert headers[":path"] == "/mine?a=b"
    assert (headers["x-key"], headers["x-other"]) == ("one,two", "2")
    assert headers["content-encoding"] == "gzip"
    assert len(collector.spans) == 1


@pytest.mark.req("MET-3")
def test_a_collector_that_is_busy_is_asked_again_one_that_refuses_is_not(
    collector: Collector,
) -> None:
    collector.answers = [503]
    send({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url})
    assert (len(collector.headers), len(collector.spans)) == (2, 1)
    collector.answers = [400]
    with structlog.testing.capture_logs() as lines:
        send({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url})
    assert (len(collector.headers), len(collector.spans)) == (3, 1)
    assert [(line["event"], line["why"], line["spans"]) for line in lines] == [
        ("spans_not_exported", "status 400", 1)
    ]


@pytest.mark.req("MET-3", "SEC-2")
@pytest.mark.parametrize(
    "url", ["http://u:{}@127.0.0.1:1/?key={}", "{}", "ftp://{}/", "http://[{}"]
)
def test_what_cannot_be_delivered_is_told_once_without_the_address(url: str) -> None:
    target = Target.of(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": url.format(CANARY, CANARY),
            "OTEL_EXPORTER_OTLP_HEADERS": f"x-key={CANARY}",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "100",
        }
    )
    exporter = OtlpExporter(target)
    with structlog.testing.capture_logs() as lines:
        assert exporter.export([]) is SpanExportResult.FAILURE
        assert exporter.export([]) is SpanExportResult.FAILURE
    assert len(lines) == 1
    assert CANARY not in repr(lines) + repr(target)


def test_a_collector_that_never_answers_keeps_nobody_from_leaving() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        send(environment)  # returns after CLOSE_S, far below the exporter's own 10 s
