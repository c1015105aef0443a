"""What must be there once only: ids, traces and blobs of jobs that many submit at the same time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.states import State
from orch.client import Endpoint, OrchSync
from orch.core.tracing import TraceContext, context_of, split_carried
from tests.e2e.collector import a_collector
from tests.e2e.specs import step, steps
from tests.e2e.stack import DEADLINE_S, Stack, a_stack, wait_until
from tests.e2e.writer import small, writers

WRITERS = 4
EACH = 500
ARTIFACTS = 24
LEAVE = (
    'cd "$ORCH_ARTIFACT_DIR"; printf the-same > same.txt; '
    "printf own-%s $ORCH_JOB_ID > own.txt; cp own.txt twin.txt"
)
CALLER = "00-" + "c" * 32 + "-" + "d" * 16 + "-01"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with a_collector() as collector, pytest.MonkeyPatch.context() as environment:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        root = tmp_path_factory.mktemp("stack")
        with a_stack(root, runners=2, appendfsync="everysec") as running:
            yield running


def trace_of(stack: Stack, job_id: str) -> TraceContext:
    """The context that stands in the stored spec."""
    _, carried = split_carried(stack.stored(job_id)["spec"])
    assert carried is not None, job_id
    context = context_of(carried.traceparent)
    assert context is not None, carried
    return context


@pytest.mark.req("SIM-5", "JOB-1", "MET-3")
def test_thousands_of_jobs_submitted_at_once_have_ids_and_traces_of_their_own(stack: Stack) -> None:
    told = writers(stack, [("many", n, stack.url, EACH) for n in range(WRITERS)])
    jobs = [job_id for one in told for job_id in one]
    assert len(set(jobs)) == len(jobs) == WRITERS * EACH
    contexts = [trace_of(stack, job_id) for job_id in jobs]
    assert len({one.trace_id for one in contexts}) == len(jobs)
    assert len({one.span_id for one in contexts}) == len(jobs)
    wait_until(lambda: stack.completed(jobs) == len(jobs), DEADLINE_S, what="all are completed")


@pytest.mark.req("SIM-5", "MET-3")
def test_a_trace_that_the_client_gave_is_kept_and_each_job_has_its_own_span_in_it(
    stack: Stack,
) -> None:
    with OrchSync(Endpoint(stack.url, traceparent=CALLER)) as client:
        jobs = [client.submit(small(n)).job_id for n in range(20)]
    contexts = [trace_of(stack, job_id) for job_id in jobs]
    assert {one.trace_id for one in contexts} == {"c" * 32}
    assert len({one.span_id for one in contexts}) == len(jobs)


@pytest.mark.req("SIM-5", "JOB-5")
def test_the_same_content_is_one_blob_and_other_content_another_whoever_leaves_it(
    stack: Stack,
) -> None:
    before = blobs_of(stack)
    jobs = [stack.client.submit(steps(step("leave", LEAVE))).job_id for _ in range(ARTIFACTS)]
    for job_id in jobs:
        record = stack.client.wait(job_id, timeout_s=DEADLINE_S)
        assert record.state is State.COMPLETED, json.dumps(record.result)
        left = {one.name: one.sha256 for one in stack.client.artifacts(job_id).artifacts}
        own = f"own-{job_id}".encode()
        assert left == {
            "same.txt": hashlib.sha256(b"the-same").hexdigest(),
            "own.txt": hashlib.sha256(own).hexdigest(),
            "twin.txt": hashlib.sha256(own).hexdigest(),
        }
        assert stack.client.artifact_bytes(job_id, left["own.txt"]) == own
    made = blobs_of(stack) - before
    assert len(made) == 1 + ARTIFACTS, "a file for each content"
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.name for path in made)


def blobs_of(stack: Stack) -> set[Path]:
    """All files of the folder of blobs, unfinished ones too."""
    return {path for path in (stack.home / "blobs").rglob("*") if path.is_file()}
