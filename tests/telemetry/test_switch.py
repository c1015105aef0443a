"""Tracing is on when the environment of OpenTelemetry says so, and costs nothing when it does not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

from orch.telemetry.sdk import exporters_for
from orch.telemetry.switch import exporters_in, open_traces
from tests.e2e.stack import environ

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.req("MET-3")
@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, ()),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, ("otlp",)),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/v1/traces"}, ("otlp",)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, ()),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, ("otlp",)),
        ({"OTEL_TRACES_EXPORTER": "console"}, ("console",)),
        ({"OTEL_TRACES_EXPORTER": "otlp, console,otlp"}, ("otlp", "console")),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, ()),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "TRUE"}, ()),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "yes"}, ("otlp",)),
        ({"OTEL_METRICS_EXPORTER": "otlp", "OTEL_SERVICE_NAME": "x"}, ()),
    ],
)
def test_exporters_are_those_of_the_environment(
    environment: dict[str, str], wanted: tuple[str, ...]
) -> None:
    assert exporters_in(environment) == wanted


@pytest.mark.req("MET-3")
def test_what_is_not_known_is_told_and_the_rest_is_taken() -> None:
    with structlog.testing.capture_logs() as lines:
        assert exporters_in({"OTEL_TRACES_EXPORTER": "zipkin,console"}) == ("console",)
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("traces_exporter_unknown", "warning")
    ]


@pytest.mark.req("MET-3")
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_an_exporter_that_is_not_there_is_one_clear_warning_and_no_traces(protocol: str) -> None:
    environment = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    with structlog.testing.capture_logs() as lines:
        made = exporters_for(["otlp"], environment)
        traces = open_traces("runner", "runner-1", environment)
    if made:
        made[0].shutdown()
        pytest.skip("the package of the extra is installed here")
    assert traces is None
    assert {line["event"] for line in lines} == {"traces_not_exported"}
    assert all("orch[otlp]" in line["why"] for line in lines)


LOADED = """
import json, sys
import actors.start, orch.cli.main
from importlib import import_module
for role in actors.start.ROLES:
    import_module(f"actors.{role}.main")
from orch.telemetry.switch import open_traces
assert open_traces("runner", "r", {}) is None
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.req("MET-3", "PERF-1")
def test_without_tracing_no_process_imports_what_only_tracing_needs() -> None:
    """redis-py imports the metrics of the SDK whatever we do; its traces nobody does."""
    ran = subprocess.run(
        [sys.executable, "-c", LOADED],
        cwd=ROOT, env=environ(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    ours = {"orch.telemetry.sdk", "orch.telemetry.otlp", "opentelemetry.sdk.trace"}
    assert ours & set(json.loads(ran.stdout)) == set()


SPAN = """
import os
from orch.telemetry.switch import open_traces
from orch.telemetry.traces import Kind, Span
traces = open_traces("runner", "runner-1", os.environ)
for _ in range(20):
    context = traces.begin(None, "submit requests")
    now_ns = traces.now_ns()
    traces.record(Span("submit requests", Kind.PRODUCER, context, None, now_ns, now_ns, {"a": 1}))
traces.close()
"""


def console(**environment: str) -> list[dict[str, object]]:
    ran = subprocess.run(
        [sys.executable, "-c", SPAN],
        cwd=ROOT, env={**environ(), "OTEL_TRACES_EXPORTER": "console", **environment},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [json.loads(line) for line in ran.stdout.splitlines()]


@pytest.mark.req("MET-3")
def test_the_console_gets_a_line_a_span_with_the_resource_of_the_environment() -> None:
    said = console(
        OTEL_SERVICE_NAME="house", OTEL_RESOURCE_ATTRIBUTES="deployment=test,orch.role=x"
    )
    assert len(said) == 20
    resource = said[0]["resource"]
    assert isinstance(resource, dict)
    about = resource["attributes"]
    assert (about["service.name"], about["deployment"]) == ("house", "test")
    assert (about["orch.role"], about["service.instance.id"]) == ("x", "runner-1")


@pytest.mark.req("MET-3")
def test_the_sampler_of_the_environment_decides() -> None:
    assert console(OTEL_TRACES_SAMPLER="always_off") == []
    none = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.0"}
    assert console(**none) == []
