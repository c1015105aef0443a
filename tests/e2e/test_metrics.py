"""A stack under load, scraped: every row of the contract is there, true, and no bigger than it may be."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from contracts.errors import OrchError
from contracts.metrics import CATALOGUE
from contracts.states import STATE_CODES, TERMINAL, State
from ops.generate import ROOT
from orch.lint import promtool
from orch.lint.run import lint_metrics
from orch.store.keys import Keys
from tests.e2e.specs import call, shell
from tests.e2e.stack import DEADLINE_S, Stack, a_stack, wait_until
from tests.e2e.test_requests import ask
from tests.store.injection import Injection

SLOTS = 4
TENANTS = 12


@dataclass
class Load:
    """What was done to the stack."""

    stack: Stack
    fresh: dict[str, str] = field(default_factory=dict)
    """What all said before anything was done."""
    during: dict[str, str] = field(default_factory=dict)
    """What the exporter said while jobs waited."""
    jobs: list[str] = field(default_factory=list)
    scrapes: dict[str, str] = field(default_factory=dict)


def answer_of(url: str, accept: str = "*/*") -> str:
    asked = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(asked, timeout=DEADLINE_S) as answer:
        return str(answer.read().decode())


def scraped(stack: Stack, *parts: str) -> dict[str, str]:
    """What these parts export, or all."""
    found = stack.endpoint()["metrics"].items()
    return {part: answer_of(url) for part, url in found if not parts or part in parts}


def total(scrapes: dict[str, str], name: str, **labels: str) -> float:
    """The sum over all parts and over the labels that are not named."""
    return sum(
        sample.value
        for text in scrapes.values()
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def told_by(scrapes: dict[str, str], prefix: str) -> set[str]:
    """Parts that have samples of such metrics."""
    return {part for part, text in scrapes.items() if f"\n{prefix}" in text}


def be_refused(stack: Stack, spec: Any) -> None:
    with suppress(OrchError):
        stack.client.submit(spec)
        raise AssertionError("it was accepted")


def fill_the_line(load: Load, go: Path) -> None:
    """More jobs than slots, until the exporter has seen that they wait."""
    stack = load.stack
    waits = f"while [ ! -e {go} ]; do sleep 0.05; done"
    load.jobs += [
        stack.client.submit(shell(waits, priority=one)).job_id
        for one in ("batch", "interactive")
        for _ in range(SLOTS)
    ]

    def seen() -> bool:
        load.during = scraped(stack, "reaper-1")
        depth = total(load.during, "orch_cluster_queue_depth", pool="default")
        return depth == SLOTS and total(load.during, "orch_cluster_dead_letters") == 2

    wait_until(seen, what="the exporter sees the line, and what was done before")
    go.touch()


def do_everything(load: Load) -> None:
    """Each thing that is counted, at least once."""
    stack = load.stack
    many = [call("echo", n, tenant=f"t{n % TENANTS}") for n in range(60)]
    load.jobs += [one.job.job_id for one in stack.client.submit_batch(many).items if one.job]
    first = stack.client.submit(call("echo", 1, idempotency_key="k")).job_id
    assert stack.client.submit(call("echo", 1, idempotency_key="k")).job_id == first
    be_refused(stack, call("echo", 2, idempotency_key="k"))
    be_refused(stack, {"name": "no adapter"})
    be_refused(stack, shell("true", pool="nowhere"))
    raw = ask(stack, call("echo", 3))["job_id"]
    failed = stack.client.submit(call("fail")).job_id
    retry = {"attempts_max": 2, "backoff_ms": 1}
    again = stack.client.submit(shell("exit 75", retry=retry)).job_id
    load.jobs += [first, raw, failed, again]
    stack.client.control("undrain", "pool:default")
    stack.redis.xadd(Keys().control, {"nonsense": "1"})
    watched = stack.client.events(failed)
    next(watched)
    over = {STATE_CODES[state] for state in TERMINAL}
    wait_until(lambda: {stack.stored(one)["state"] for one in load.jobs} <= over, what="all over")
    list(watched)


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory, injection: Injection | None) -> Iterator[Load]:
    # What is counted is what first answers say.
    quiet = nullcontext() if injection is None else injection.paused()
    folder = tmp_path_factory.mktemp("stack")
    with quiet, a_stack(folder, slots=SLOTS, lease_ms=2_000) as stack:
        done = Load(stack)
        done.fresh = wait_until(lambda: started(stack), what="a reaper tells of the cluster")
        do_everything(done)
        fill_the_line(done, stack.root / "go")
        wait_until(lambda: is_told(done), what="everything is over")
        done.scrapes = scraped(stack)
        yield done


def started(stack: Stack) -> dict[str, str] | None:
    found = scraped(stack)
    return found if total(found, "orch_cluster_exporting") else None


def counting(scrapes: dict[str, str]) -> set[tuple[str, ...]]:
    """The series that can only grow, each of which a rate may be asked of."""
    return {
        (part, sample.name, *sample.labels.values())
        for part, text in scrapes.items()
        for family in text_string_to_metric_families(text)
        if family.type in {"counter", "histogram"}
        for sample in family.samples
    }


def is_told(load: Load) -> bool:
    now = scraped(load.stack, "runner-default-1", "scheduler-1")
    ended = total(now, "orch_runner_endings_total", accepted="ok")
    return ended == len(load.jobs) + 1 and total(now, "orch_control_commands_total") == 2


@pytest.mark.req("MET-1", "MET-2")
def test_a_live_scrape_has_every_row_of_the_contract_and_holds_every_bound(load: Load) -> None:
    ended = load.stack.orch("lint", "metrics", "--live", "--root", str(ROOT), "--json")
    assert ended.code == 0, ended.out
    document = ended.document
    assert document["faults"] == []
    assert document["counted"]["metrics"] == len(CATALOGUE)
    assert document["counted"]["scrapes"] == len(load.scrapes) == 7
    assert bool(document["skipped"]) != promtool.is_there(), document["skipped"]


@pytest.mark.req("MET-1", "MET-2")
def test_a_row_that_is_gone_or_a_part_that_is_missing_would_be_noticed(load: Load) -> None:
    without = {part: text for part, text in load.scrapes.items() if part != "fallback-1"}
    missing = {fault.where for fault in lint_metrics(ROOT, without, is_whole=True).faults}
    assert missing == {"orch_fallback_outcomes_total", "orch_fallback_decisions_total"}


@pytest.mark.req("MET-1")
def test_no_count_begins_with_what_is_counted(load: Load) -> None:
    # An increase is seen between two scrapes: a series that comes into being at 1 shows none.
    assert counting(load.scrapes) - counting(load.fresh) == set()
    assert len(counting(load.fresh)) > 500


@pytest.mark.req("MET-1")
def test_the_numbers_are_those_of_what_was_done(load: Load) -> None:
    jobs, scrapes = len(load.jobs), load.scrapes
    attempts = jobs + 1  # one was tried again
    assert total(scrapes, "orch_runner_claims_total") == attempts
    assert total(scrapes, "orch_job_submit_to_start_seconds_count") == jobs
    assert total(scrapes, "orch_runner_attempt_seconds_count") == attempts
    assert total(scrapes, "orch_runner_endings_total", accepted="ok") == attempts
    assert total(scrapes, "orch_runner_outcomes_total", outcome="done") == jobs - 2
    assert total(scrapes, "orch_runner_outcomes_total", outcome="logic") == 1
    assert total(scrapes, "orch_fallback_outcomes_total", outcome="transient") == 2
    assert total(scrapes, "orch_fallback_decisions_total", verb="fail") == 2
    results = {
        one: total(scrapes, "orch_admission_submissions_total", result=one)
        for one in ("accepted", "duplicate", "conflict", "invalid")
    }
    assert results == {"accepted": jobs, "duplicate": 1, "conflict": 1, "invalid": 2}
    assert total(scrapes, "orch_admission_answers_total", result="accepted") == 1
    assert total(scrapes, "orch_control_commands_total", result="applied") == 1
    assert total(scrapes, "orch_control_commands_total", command="other", result="refused") == 1
    assert total(scrapes, "orch_http_responses_total", status="2xx") > SLOTS
    assert total(scrapes, "orch_http_responses_total", status="4xx") >= 3
    assert total(scrapes, "orch_redis_call_seconds_count", call="cycle") > 0
    assert total(scrapes, "orch_redis_round_trips_total") > attempts / SLOTS
    waiting = total(
        scrapes, "orch_job_submit_to_start_seconds_bucket", le="0.01", **{"class": "batch"}
    )
    assert waiting < total(
        scrapes, "orch_job_submit_to_start_seconds_count", **{"class": "batch"}
    ), "some waited"


@pytest.mark.req("MET-2")
def test_facts_of_the_cluster_come_from_one_process_alone(load: Load) -> None:
    assert total(load.during, "orch_cluster_queue_depth") == SLOTS
    assert total(load.during, "orch_cluster_slots_held") == SLOTS
    assert total(load.during, "orch_cluster_queue_oldest_age_seconds") > 0
    assert told_by(load.scrapes, "orch_cluster_tenants ") == {"reaper-1"}
    assert total(load.scrapes, "orch_cluster_slots", pool="default") == SLOTS
    assert total(load.scrapes, "orch_cluster_tenants") == TENANTS + 1
    assert total(load.scrapes, "orch_cluster_dead_letters") == 2
    assert total(load.scrapes, "orch_cluster_state_seconds_count", state="running") > 0


@pytest.mark.req("MET-2")
def test_a_second_reaper_does_not_tell_them_too(load: Load) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    stack = load.stack
    second = stack.spawn_actor("reaper", "--metrics-port", str(port))
    try:
        url = f"http://127.0.0.1:{port}/metrics"

        def both() -> list[float] | None:
            with suppress(OSError):
                there = answer_of(url)
                if 'orch_cycle_age_seconds{cycle="census"}' in there and "orch_ready 1.0" in there:
                    texts = {**scraped(stack, "reaper-1"), "second": there}
                    return [total({k: v}, "orch_cluster_exporting") for k, v in texts.items()]
            return None

        telling = wait_until(both, what="the second reaper is ready")
        assert sum(telling) <= 1
        assert sum(both() or [9.0]) <= 1
    finally:
        second.terminate()
        second.wait(DEADLINE_S)


@pytest.mark.req("MET-2")
def test_no_label_carries_an_id(load: Load) -> None:
    ids = [*load.jobs, *load.stack.instances()]
    said = "\n".join(load.scrapes.values())
    assert [one for one in ids if one in said] == []
    assert "t1" not in {
        value
        for text in load.scrapes.values()
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        for value in sample.labels.values()
    }


@pytest.mark.req("MET-5", "API-1", "ARC-2")
def test_every_part_tells_the_age_of_each_of_its_cycles_and_is_ready(load: Load) -> None:
    loops = {
        part: {
            sample.labels["cycle"]
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "orch_cycle_age_seconds"
        }
        for part, text in load.scrapes.items()
    }
    common = {"beat", "follow"}
    assert loops == {
        "admission-1": common | {"mailbox"},
        "fallback-1": common | {"mailbox"},
        "scheduler-1": common | {"mailbox", "timers", "commands"},
        "notifier-1": common | {"notifier"},
        "gateway-1": common | {"http", "ping"},
        "runner-default-1": common | {"cycle", "listen"},
        "reaper-1": common
        | {"look", "announce", "finish_burials", "sweep", "retire", "libraries", "census"},
    }
    assert total(load.scrapes, "orch_ready") == len(load.scrapes)


@pytest.mark.req("MET-5")
def test_a_server_that_does_not_answer_makes_the_gateway_old_and_not_ready_but_alive(
    load: Load,
) -> None:
    stack = load.stack
    metrics = stack.endpoint()["metrics"]["gateway-1"]
    stack.kill("server", 19)  # SIGSTOP
    try:
        wait_until(
            lambda: "orch_ready 0.0" in answer_of(metrics), what="its beat is as old as its lease"
        )
        assert answer_of(f"{stack.url}/livez")
        with pytest.raises(OrchError, match="not ready"):
            stack.client.ready()
    finally:
        stack.kill("server", 18)  # SIGCONT
    wait_until(lambda: "orch_ready 1.0" in answer_of(metrics), what="its beat is heard again")
    assert stack.client.job(load.jobs[0]).state is State.COMPLETED
