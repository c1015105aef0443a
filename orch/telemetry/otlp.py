"""Spans to a collector: OTLP over HTTP in its JSON form, with what Python brings along.

The SDK's own exporter speaks protobuf and needs eleven more packages. Whoever has them gets it; everybody
else gets this one. It runs in the thread of the SDK's batches, so it may wait.
"""

from __future__ import annotations

import gzip
import http.client
import ssl
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import orjson
import structlog
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext
from opentelemetry.trace.status import StatusCode

from orch import __version__
from orch.system import monotonic_ms

log = structlog.get_logger()

_DEFAULT: Final = "http://localhost:4318"
_PATH: Final = "/v1/traces"
_TIMEOUT_MS: Final = 10_000
_AGAIN: Final = frozenset({429, 502, 503, 504})
"""What OTLP calls retryable."""
_PAUSE_MS: Final = 500
_TOLD_EVERY_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Target:
    """Where to; headers may hold secrets, and so may the address."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    timeout_ms: int
    packed: bool
    certificate: str | None
    """Whom to trust over https, PEM; else the system's."""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Target:
        """As the variables of OpenTelemetry say; those for traces go before those for everything."""

        def value(name: str, default: str = "") -> str:
            own = environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}")
            return (own or environ.get(f"OTEL_EXPORTER_OTLP_{name}") or default).strip()

        own = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "").strip()
        timeout = value("TIMEOUT")
        return cls(
            url=own or value("ENDPOINT", _DEFAULT).rstrip("/") + _PATH,
            headers=_headers(value("HEADERS")),
            timeout_ms=int(timeout) if timeout.isdecimal() and int(timeout) else _TIMEOUT_MS,
            packed=value("COMPRESSION") == "gzip",
            certificate=value("CERTIFICATE") or None,
        )


def _headers(text: str) -> dict[str, str]:
    """`key=value,key=value`, percent-encoded; what is no such pair is left out."""
    pairs = (pair.partition("=") for pair in text.split(","))
    return {
        unquote(key).strip().lower(): unquote(value).strip()
        for key, equals, value in pairs
        if equals and key.strip()
    }


class OtlpExporter(SpanExporter):
    """One batch is one request. One that cannot be delivered in time is dropped, and told once a minute."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._over = threading.Event()
        self._told_at_ms: int | None = None
        self._untold = 0

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> OtlpExporter:
        """With the target of the environment."""
        return cls(Target.of(environ))

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Delivers them, trying again for as long as the timeout allows."""
        body = orjson.dumps(document_of(spans))
        until_ms = monotonic_ms() + self._target.timeout_ms
        pause_ms = _PAUSE_MS
        while True:
            why, again = self._try(body)
            if why is None:
                return SpanExportResult.SUCCESS
            if not again or monotonic_ms() + pause_ms >= until_ms or self._over.is_set():
                self._tell(why, len(spans))
                return SpanExportResult.FAILURE
            self._over.wait(pause_ms / 1000)
            pause_ms *= 2

    def shutdown(self) -> None:
        """The batch under way is not tried again."""
        self._over.set()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is kept here."""
        return True

    def _try(self, body: bytes) -> tuple[str | None, bool]:
        """Why it was not taken, in a word that holds nothing of the address; whether to try again."""
        try:
            status = self._post(body)
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__, True
        except ValueError:
            return "no such address", False
        return (None, False) if 200 <= status < 300 else (f"status {status}", status in _AGAIN)

    def _post(self, body: bytes) -> int:
        target = self._target
        parts = urlsplit(target.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            message = "no http address"
            raise ValueError(message)
        headers = {
            **target.headers,
            "content-type": "application/json",
            "user-agent": f"orch/{__version__}",
            **({"content-encoding": "gzip"} if target.packed else {}),
        }
        connection = self._connection(parts.scheme, parts.hostname, parts.port)
        try:
            query = f"?{parts.query}" if parts.query else ""
            path = (parts.path or "/") + query
            connection.request(
                "POST", path, gzip.compress(body) if target.packed else body, headers
            )
            answer = connection.getresponse()
            answer.read(65_536)
            return answer.status
        finally:
            connection.close()

    def _connection(self, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
        timeout_s = self._target.timeout_ms / 1000
        if scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=timeout_s)
        trust = ssl.create_default_context(cafile=self._target.certificate)
        return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=trust)

    def _tell(self, why: str, spans: int) -> None:
        now_ms = monotonic_ms()
        self._untold += spans
        if self._told_at_ms is not None and now_ms - self._told_at_ms < _TOLD_EVERY_MS:
            return
        log.warning("spans_not_exported", why=why, spans=self._untold)
        self._told_at_ms, self._untold = now_ms, 0


# -- OTLP's JSON: ids are hex, 64-bit numbers are texts


def document_of(spans: Sequence[ReadableSpan]) -> dict[str, Any]:
    """An ExportTraceServiceRequest; all spans of a batch have one resource and one scope."""
    if not spans:
        return {"resourceSpans": []}
    scope = spans[0].instrumentation_scope
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes(_said(spans[0].resource))},
                "scopeSpans": [
                    {
                        "scope": {"name": scope.name, "version": scope.version} if scope else {},
                        "schemaUrl": scope.schema_url if scope else "",
                        "spans": [_span(span) for span in spans],
                    }
                ],
            }
        ]
    }


def _said(resource: Resource) -> Mapping[str, Any]:
    return resource.attributes


def _span(span: ReadableSpan) -> dict[str, Any]:
    context = span.get_span_context()
    assert context is not None, "a span that is over has a context"
    status = {"code": 2, "message": span.status.description or ""}
    return {
        **_ids(context),
        **({"parentSpanId": f"{span.parent.span_id:016x}"} if span.parent else {}),
        "name": span.name,
        "kind": span.kind.value + 1,
        "startTimeUnixNano": str(span.start_time),
        "endTimeUnixNano": str(span.end_time),
        "attributes": _attributes(span.attributes or {}),
        "links": [_ids(link.context) for link in span.links],
        "status": status if span.status.status_code is StatusCode.ERROR else {},
    }


def _ids(context: SpanContext) -> dict[str, Any]:
    return {
        "traceId": f"{context.trace_id:032x}",
        "spanId": f"{context.span_id:016x}",
        "flags": int(context.trace_flags),
    }


def _attributes(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in given.items()]


def _value(value: Any) -> dict[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case str():
            return {"stringValue": value}
        case _:
            return {"arrayValue": {"values": [_value(one) for one in value]}}
