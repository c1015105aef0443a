"""Traces by the OpenTelemetry SDK: sampling, resource, batches, exporters, as its environment names say."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Final

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from orch import __version__
from orch.core.tracing import TraceContext
from orch.system import wall_ns
from orch.telemetry import conventions as names
from orch.telemetry.otlp import OtlpExporter
from orch.telemetry.traces import Kind, Span

log = structlog.get_logger()

CLOSE_S: Final = 2.0
"""For the last batch: a collector that is away must not keep a process."""
_KINDS: Final = {
    Kind.INTERNAL: SpanKind.INTERNAL,
    Kind.SERVER: SpanKind.SERVER,
    Kind.CLIENT: SpanKind.CLIENT,
    Kind.PRODUCER: SpanKind.PRODUCER,
    Kind.CONSUMER: SpanKind.CONSUMER,
}
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


class _Given(IdGenerator):
    """Ids that were chosen before the span: others may know them already."""

    def __init__(self) -> None:
        self.trace_id = 0
        self.span_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


class SdkTraces:
    """See `orch.telemetry.traces.Traces`."""

    def __init__(
        self,
        exporters: Sequence[SpanExporter],
        *,
        role: str,
        instance_id: str,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._given, self._random = _Given(), RandomIdGenerator()
        self._provider = TracerProvider(
            resource=_resource(role, instance_id, environ),
            id_generator=self._given,
            shutdown_on_exit=False,
        )
        for exporter in exporters:
            self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(
            names.SCOPE, __version__, schema_url=names.SCHEMA_URL
        )
        # Spans are recorded by the loop's thread, but nothing should break if one is not.
        self._one = threading.Lock()

    def now_ns(self) -> int:
        """Unix nanoseconds."""
        return wall_ns()

    def begin(self, parent: TraceContext | None, name: str) -> TraceContext:
        """A new span under this parent, or a new trace, as the sampler of the environment wants it."""
        trace_id = int(parent.trace_id, 16) if parent else self._random.generate_trace_id()
        chosen = self._provider.sampler.should_sample(_under(parent), trace_id, name)
        return TraceContext(
            trace.format_trace_id(trace_id),
            trace.format_span_id(self._random.generate_span_id()),
            chosen.decision is Decision.RECORD_AND_SAMPLE,
        )

    def record(self, span: Span) -> None:
        """Takes a span that is over."""
        if not span.context.sampled:
            return
        with self._one:
            self._given.trace_id = int(span.context.trace_id, 16)
            self._given.span_id = int(span.context.span_id, 16)
            begun = self._tracer.start_span(
                span.name,
                context=_under(span.parent),
                kind=_KINDS[span.kind],
                attributes=span.attributes,
                links=[Link(_context(one)) for one in span.links],
                start_time=span.started_ns,
            )
        if span.error is not None:
            begun.set_attribute(names.ERROR_TYPE, span.error)
            begun.set_status(Status(StatusCode.ERROR, span.error))
        begun.end(max(span.ended_ns, span.started_ns))

    def close(self) -> None:
        """Hands on what was recorded, within CLOSE_S; what does not go through then is lost."""
        last = threading.Thread(target=self._provider.shutdown, name="spans", daemon=True)
        last.start()
        last.join(CLOSE_S)


def _context(of: TraceContext) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if of.sampled else TraceFlags.DEFAULT)
    return SpanContext(int(of.trace_id, 16), int(of.span_id, 16), is_remote=True, trace_flags=flags)


def _under(parent: TraceContext | None) -> Context:
    """Never the context of the task: what it works for is said by its arguments."""
    if parent is None:
        return Context()
    return trace.set_span_in_context(NonRecordingSpan(_context(parent)), Context())


def _resource(role: str, instance_id: str, environ: Mapping[str, str]) -> Resource:
    ours: dict[str, str] = {
        names.SERVICE_INSTANCE: instance_id,
        names.SERVICE_VERSION: __version__,
        names.ROLE: role,
    }
    said = environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    named = {pair.partition("=")[0].strip() for pair in said.split(",")}
    if not environ.get("OTEL_SERVICE_NAME") and names.SERVICE_NAME not in named:
        ours[names.SERVICE_NAME] = names.SERVICE
    return Resource.create({key: value for key, value in ours.items() if key not in named})


def exporters_for(wanted: Sequence[str], environ: Mapping[str, str]) -> list[SpanExporter]:
    """Those that can be had; what cannot is told."""
    made: list[SpanExporter] = []
    for name in wanted:
        if name == "console":
            made.append(ConsoleSpanExporter(out=sys.stdout, formatter=_line))
        else:
            made += _otlp(environ)
    return made


def _line(span: ReadableSpan) -> str:
    text: str = span.to_json(indent=None)
    return f"{text}\n"


def _otlp(environ: Mapping[str, str]) -> list[SpanExporter]:
    """OTLP over HTTP: as JSON by ourselves, as protobuf by the package of the SDK, if it is there."""
    said = next((environ[name].strip() for name in _PROTOCOLS if environ.get(name)), "")
    if said in {"", "http/json"}:
        packaged = None if said else _packaged()
        return [packaged or OtlpExporter.of(environ)]
    packaged = _packaged() if said == "http/protobuf" else None
    if packaged is not None:
        return [packaged]
    log.warning(
        "traces_not_exported",
        variable="OTEL_EXPORTER_OTLP_PROTOCOL",
        why="http/protobuf needs the package opentelemetry-exporter-otlp-proto-http: install orch[otlp]"
        if said == "http/protobuf"
        else "there is http/json, and http/protobuf with orch[otlp]",
    )
    return []


def _packaged() -> SpanExporter | None:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - of an extra
            OTLPSpanExporter,
        )
    except ImportError:
        return None
    made: SpanExporter = OTLPSpanExporter()
    return made
