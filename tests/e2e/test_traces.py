"""One trace from submit to end, over all processes of a real stack, collected over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from contracts.events import EventType
from contracts.outcomes import Outcome
from contracts.states import State
from orch.client import Endpoint, OrchSync, calls
from orch.store.keys import Keys
from tests.adapters.endpoint import an_endpoint, tokens
from tests.e2e.collector import Collector, Seen, a_collector
from tests.e2e.specs import call, http, shell, step, steps
from tests.e2e.stack import Ended, Stack, a_stack, wait_until
from tests.e2e.test_metrics import answer_of

CALLER: Final = "00-" + "c" * 32 + "-" + "d" * 16 + "-01"
_OTEL: Final = {"OTEL_BSP_SCHEDULE_DELAY": "50", "OTEL_RESOURCE_ATTRIBUTES": "deployment=test"}


@dataclass
class Scene:
    stack: Stack
    collector: Collector

    def whole(self, job_id: str) -> list[Seen]:
        return self.collector.whole(job_id)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with a_collector() as collector, pytest.MonkeyPatch.context() as environment:
        for name, value in {**_OTEL, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}.items():
            environment.setenv(name, value)
        root = tmp_path_factory.mktemp("stack")
        with a_stack(root, lease_ms=3_000, backoff_ms=10, backoff_ms_max=10) as stack:
            yield Scene(stack, collector)


def named(spans: list[Seen], name: str) -> list[Seen]:
    return [one for one in spans if one.name == name]


def only(spans: list[Seen], name: str) -> Seen:
    (one,) = named(spans, name)
    return one


@pytest.mark.req("MET-3")
def test_a_job_is_one_trace_from_submit_to_end_and_its_agent_may_join(scene: Scene) -> None:
    record = scene.stack.run(shell('echo "$TRACEPARENT"'))
    assert record.state is State.COMPLETED
    spans = scene.whole(record.job_id)
    assert sorted(one.name for one in spans) == [
        "admit queue", "attempt ready", "dispatch ready", "end job", "settle ready",
        "submit requests",
    ]  # fmt: skip
    submit, admit, attempt = (only(spans, f"{name}") for name in _CHAIN)
    assert submit.parent_id == ""
    assert admit.parent_id == submit.span_id
    assert attempt.parent_id == only(spans, "dispatch ready").parent_id == admit.span_id
    assert only(spans, "settle ready").parent_id == attempt.span_id
    assert only(spans, "end job").parent_id == admit.span_id
    assert {one.name.split()[0]: one.role for one in spans} == {
        "submit": "gateway", "admit": "gateway", "dispatch": "runner", "attempt": "runner",
        "settle": "runner", "end": "runner",
    }  # fmt: skip
    (line,) = scene.stack.client.logs(record.job_id).lines
    assert line.text.strip() == f"00-{attempt.trace_id}-{attempt.span_id}-01"
    about = attempt.attributes
    assert about["gen_ai.operation.name"] == "invoke_agent"
    assert (about["orch.outcome"], about["orch.attempt.number"]) == ("done", 1)
    assert attempt.resource["service.name"] == "orch"
    assert attempt.resource["deployment"] == "test"


def exemplars(text: str, name: str) -> set[tuple[str, str]]:
    """Trace and span behind the buckets of a histogram, as OpenMetrics tells them."""
    return {
        (sample.exemplar.labels["trace_id"], sample.exemplar.labels["span_id"])
        for family in text_string_to_metric_families(text)  # type: ignore[no-untyped-call]  # no types there
        for sample in family.samples
        if sample.name == f"{name}_bucket" and sample.exemplar is not None
    }


@pytest.mark.req("MET-3", "MET-1")
def test_numbers_lead_to_the_trace_behind_them(scene: Scene) -> None:
    # Nobody sent a context: the trace is one that the gateway began.
    record = scene.stack.run(shell("true"))
    spans = scene.whole(record.job_id)
    where = scene.stack.endpoint()["metrics"]
    for part, name, metric in (
        ("gateway-1", "submit requests", "orch_http_request_seconds"),
        ("runner-default-1", "attempt ready", "orch_runner_attempt_seconds"),
    ):
        seen = exemplars(answer_of(where[part], "application/openmetrics-text"), metric)
        span = only(spans, name)
        assert (span.trace_id, span.span_id) in seen, part


_CHAIN: Final = ("submit requests", "admit queue", "attempt ready")


@pytest.mark.req("MET-3", "FBK-6")
def test_a_retry_is_a_second_attempt_of_the_same_trace_linked_to_the_first(scene: Scene) -> None:
    record = scene.stack.run(shell('[ "$ORCH_ATTEMPT" = 2 ] || exit 75'))
    spans = scene.whole(record.job_id)
    first, second = named(spans, "attempt ready")
    assert (first.error, second.error) == ("exit_code", None)
    assert (first.links, second.links) == ((), (first.span_id,))
    decision = only(spans, "decide outcomes")
    assert (decision.role, decision.links) == ("fallback", (first.span_id,))
    assert decision.attributes["orch.decision"] in {"retry", "backoff"}, "the pause is drawn"
    assert len(named(spans, "dispatch ready")) == 2


@pytest.mark.req("MET-3", "LSE-3")
def test_an_attempt_whose_runner_was_killed_stands_in_the_trace_all_the_same(scene: Scene) -> None:
    stack = scene.stack
    go = stack.root / "go"
    spec = steps(step("only", f"while [ ! -e {go} ]; do sleep 0.05; done"))
    job_id = stack.client.submit(spec).job_id
    stack.wait_for_event(job_id, EventType.STEP_STARTED, step_id="only")
    stack.kill("runner")
    stack.wait_for_event(job_id, EventType.STALE_RECOVERED)
    go.touch()
    wait_until(lambda: stack.client.job(job_id).state in {State.COMPLETED, State.BLOCKED})
    record = stack.client.job(job_id)
    if record.state is State.BLOCKED:
        stack.client.cancel(job_id)
    spans = scene.whole(job_id)
    lost, again = named(spans, "attempt ready")
    assert (lost.role, lost.error, lost.attributes["orch.outcome"]) == (
        "fallback", "runner_dead", Outcome.LOST,
    )  # fmt: skip
    assert lost.ended_ns > lost.started_ns
    assert again.links == (lost.span_id,)
    assert only(spans, "end job").parent_id == only(spans, "admit queue").span_id


@pytest.mark.req("MET-3")
def test_a_failed_a_canceled_and_an_expired_job_have_an_end(scene: Scene) -> None:
    stack = scene.stack
    failed = stack.run(shell("exit 3")).job_id
    assert only(scene.whole(failed), "end job").role == "fallback"

    running = stack.client.submit(shell("sleep 60")).job_id
    stack.wait_for_state(running, State.RUNNING)
    stack.client.cancel(running)
    canceled = scene.whole(running)
    assert only(canceled, "end job").attributes["orch.job.state"] == "canceled"
    wait_until(lambda: named(scene.collector.of(canceled[0].trace_id), "attempt ready"))

    soon_ms = int(stack.redis.time()[0]) * 1_000 + 1_500
    late = stack.client.submit(shell("true", not_before_ms=soon_ms - 1, deadline_ms=soon_ms))
    stack.client.cancel(late.job_id)
    waiting = stack.client.submit(shell("sleep 60", deadline_ms=soon_ms)).job_id
    expired = only(scene.whole(waiting), "end job")
    assert (expired.error, expired.attributes["orch.job.state"]) == ("expired", "expired")

    later = shell("true", labels={"of": "many"}, not_before_ms=soon_ms + 60_000)
    many = [stack.client.submit(later).job_id for _ in range(2)]
    command = ("control", "cancel", "pool:default", "--label", "of=many", "--wait")
    assert stack.orch(*command).code == 0
    assert {only(scene.whole(one), "end job").role for one in many} == {"scheduler"}


@pytest.mark.req("MET-3", "CLI-2")
def test_the_context_of_a_caller_comes_in_by_every_door(scene: Scene, tmp_path: Path) -> None:
    stack, collector = scene.stack, scene.collector
    with OrchSync(Endpoint(stack.url, traceparent=CALLER)) as client:
        batch = client.submit_batch([shell("true"), shell("true")])
        client.run(
            calls.put_schedule({"schedule_id": "s", "cron": "@yearly", "spec": shell("true")})
        )
        by_hand = client.run(calls.fire_schedule("s")).job_id
    assert by_hand is not None
    by_batch = [item.job.job_id for item in batch.items if item.job is not None]

    spec = tmp_path / "job.json"
    spec.write_text(json.dumps(shell("true")))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TRACEPARENT", CALLER)
        ended: Ended = stack.orch("submit", str(spec), "--json")
    by_cli = ended.document["job_id"]

    fields = {
        "v": "1",
        "request_id": "r1",
        "spec": json.dumps(shell("true")),
        "traceparent": CALLER,
    }
    stack.redis.xadd(Keys().requests, fields)
    answer = wait_until(lambda: stack.redis.get(Keys().answer("r1")))
    by_stream = json.loads(answer)["job_id"]

    jobs = [*by_batch, by_hand, by_cli, by_stream]
    for job_id in jobs:
        scene.whole(job_id)
        assert collector.trace_of(job_id) == "c" * 32
    spans = collector.of("c" * 32)
    submits = named(spans, "submit requests")
    assert {one.parent_id for one in submits} == {"d" * 16}
    assert sorted(one.role for one in submits) == ["admission", "gateway", "gateway", "gateway"]
    assert [one.attributes.get("messaging.batch.message_count") for one in submits].count(2) == 1


@pytest.mark.req("MET-3")
def test_what_was_not_sampled_is_carried_on_and_not_recorded(scene: Scene) -> None:
    unsampled = f"00-{'e' * 32}-{'f' * 16}-00"
    with OrchSync(Endpoint(scene.stack.url, traceparent=unsampled)) as client:
        job_id = client.submit(shell('echo "$TRACEPARENT"')).job_id
        client.wait(job_id, timeout_s=30)
    assert scene.stack.client.logs(job_id).lines[0].text.strip() == unsampled
    scene.whole(scene.stack.run(shell("true")).job_id)  # what came before it has come
    assert scene.collector.of("e" * 32) == []


@pytest.mark.req("MET-3", "BUD-1")
def test_an_attempt_tells_its_model_and_what_it_used(scene: Scene) -> None:
    with an_endpoint() as endpoint:
        url = endpoint.plays(tokens("hi"))
        record = scene.stack.run(http(url, config={"json": {"model": "small-1"}}))
        asked = endpoint.asked[0].headers
    assert record.state is State.COMPLETED, record.attempts
    attempt = only(scene.whole(record.job_id), "attempt ready")
    assert attempt.attributes["gen_ai.request.model"] == "small-1"
    assert attempt.attributes["gen_ai.usage.input_tokens"] == 11
    assert attempt.attributes["gen_ai.usage.output_tokens"] == 7
    assert asked["traceparent"] == f"00-{attempt.trace_id}-{attempt.span_id}-01"


@pytest.mark.req("MET-3", "API-3")
def test_log_lines_of_a_job_carry_its_ids_in_every_process(scene: Scene) -> None:
    import httpx2

    spec = call("fail", retry={"attempts_max": 1})
    headers = {"X-Correlation-Id": "order-77"}
    answer = httpx2.post(f"{scene.stack.url}/v1/jobs", json=spec, headers=headers)
    assert answer.headers["x-correlation-id"] == "order-77"
    job_id = answer.json()["job_id"]
    spans = scene.whole(job_id)
    assert only(spans, "submit requests").attributes["orch.correlation_id"] == "order-77"
    lines = [
        json.loads(line)
        for line in scene.stack.log.read_text().splitlines()
        if '"order-77"' in line
    ]
    told = {line["event"]: line for line in lines}
    assert set(told) >= {"job_admitted", "attempt_ended", "outcome_decided"}
    for line in lines:
        assert (line["job_id"], line["trace_id"]) == (job_id, spans[0].trace_id), line
    assert {line["actor"] for line in lines} == {"gateway", "runner", "fallback"}
