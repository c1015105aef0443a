"""Every panel of every dashboard has data: a real stack under traffic, scraped by a real Prometheus."""

from __future__ import annotations

import json
import os
import shutil
import signal
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any, Final

import pytest

from contracts.metrics import CATALOGUE
from contracts.states import State
from ops import observe
from ops.dashboards import DASHBOARDS
from ops.dashboards.model import Panel
from orch.client import calls_webhooks
from orch.store.keys import Keys
from orch.system import SystemClock
from tests.actors.receiver import receiving
from tests.adapters.endpoint import USED, an_endpoint, tokens
from tests.e2e.specs import http, shell
from tests.e2e.stack import DEADLINE_S, Stack, a_stack, wait_until
from tests.e2e.test_metrics import (
    SLOTS,
    Load,
    be_refused,
    do_everything,
    fill_the_line,
    scraped,
    total,
)
from tests.e2e.test_schedules import set_back, timetable, wait_for_fire

SCRAPE_S: Final = 1
SEEN_S: Final = 15.0
"""After the last deed: some scrapes, and the window of a rate."""
FILLED: Final = {"$__rate_interval": "10s", "$__range": "5m", "$pool": ".*", "$job": ".*"}
"""As Grafana fills in a dashboard's variables when all of them are chosen."""
STILL: Final = frozenset(
    """
    orch_acked_writes_lost_total orch_cluster_ready orch_notifier_oldest_unsent_seconds
    orch_reaper_retired_total orch_redis_failures_total orch_runner_orphaned_results_total
    orch_sse_gaps_total orch_sse_resyncs_total
    """.split()
)
"""May be zero for all that this traffic does: a loss, a moment between two scrapes, a slow reader."""


@dataclass(frozen=True)
class Watched:
    """A stack and the Prometheus that watched it since `since_s`, Unix time."""

    url: str
    since_s: float

    def series(self, query: str, *, step_s: int = 1) -> list[dict[str, Any]]:
        """What a panel shows of the whole time."""
        asked = {"query": query, "start": self.since_s, "end": now_s(), "step": step_s}
        body = urllib.parse.urlencode(asked).encode()
        with urllib.request.urlopen(f"{self.url}/api/v1/query_range", body, DEADLINE_S) as answer:
            document = json.loads(answer.read())
        assert document["status"] == "success", document
        found: list[dict[str, Any]] = document["data"]["result"]
        return found

    def most(self, query: str) -> float:
        """The greatest value that it ever had; 0 without any."""
        values = [float(v) for one in self.series(query) for _, v in one["values"]]
        return max(values, default=0.0)

    def wait_for(self, names: str) -> None:
        """Until each of these metrics was above zero."""
        for name in names.split():
            wait_until(partial(self.most, f"sum({name})"), what=name)


def now_s() -> float:
    return SystemClock().wall_ms() / 1_000


def need_prometheus() -> None:
    """Skips without it; where it is promised to be, its absence is a failure."""
    if shutil.which(observe.PROMETHEUS) is None:
        why = "prometheus is not installed (Debian package prometheus)"
        promised = (
            os.environ.get("CI") == "true" and os.environ.get("ORCH_EXPECT_PROMETHEUS") == "1"
        )
        if promised:
            pytest.fail(why)
        pytest.skip(why)


def filled(text: str) -> str:
    for name, value in FILLED.items():
        text = text.replace(name, value)
    assert "$" not in text, text
    return text


def talk_to_a_model(stack: Stack) -> None:
    """An agent that reports tokens and cost."""
    used = json.dumps({"choices": [], "usage": {**USED, "cost": 0.25}})
    with an_endpoint() as endpoint:
        spec = http(endpoint.plays(tokens("well", last=used)))
        assert stack.run(spec).state is State.COMPLETED


def be_refused_for_load(stack: Stack) -> None:
    paused = stack.orch("control", "pause", "pool:default", "--what", "intake", "--wait")
    assert paused.code == 0, paused.err
    be_refused(stack, shell("true"))
    assert stack.orch("control", "resume", "pool:default", "--wait").code == 0


def tell_a_webhook(stack: Stack) -> None:
    with receiving() as receiver:
        stack.client.run(calls_webhooks.add(receiver.url, tenant="told"))
        stack.run(shell("true", tenant="told"))
        wait_until(lambda: receiver.got, what="a delivery")


def fire_a_schedule(stack: Stack) -> None:
    stack.client.put_schedule(timetable("in-time", overlap="queue"))
    wait_for_fire(stack, "in-time", set_back(stack, "in-time", 0))


def lose_a_runner(stack: Stack, go: Path) -> None:
    """It stands still for longer than its lease: its job runs again; somebody reads the events meanwhile."""
    job_id = stack.client.submit(shell(f"while [ ! -e {go} ]; do sleep 0.05; done")).job_id
    stack.wait_for_state(job_id, State.RUNNING)
    reader = stack.client.events(job_id)
    next(reader)
    runner = stack.kill("runner", signal.SIGSTOP)
    wait_until(
        lambda: total(scraped(stack, "reaper-1"), "orch_cluster_stale_recovered_total"),
        what="its job is taken from it",
    )
    stack.kill_pid(runner, signal.SIGCONT)
    go.touch()
    list(reader)
    assert stack.client.job(job_id).state is State.COMPLETED


def drain_a_full_pool(stack: Stack, seen: Watched, go: Path) -> None:
    """Its runner works on and takes nothing; what waits gives way to what comes later."""
    long = stack.client.submit(shell(f"while [ ! -e {go} ]; do sleep 0.05; done")).job_id
    stack.wait_for_state(long, State.RUNNING)
    stack.client.control("drain", "pool:default")
    limit = ("control", "set-limit", "pool:default")
    for name, value in (("full_policy", "drop-lru"), ("pool_jobs_max", "1")):
        assert stack.orch(*limit, name, value, "--wait").code == 0
    for _ in range(2):
        stack.client.submit(shell("true"))
    seen.wait_for("orch_runner_draining orch_cluster_pool_closed orch_cluster_commands_open")
    for name in ("full_policy", "pool_jobs_max"):
        assert stack.orch(*limit, name, "null", "--wait").code == 0
    stack.client.control("undrain", "pool:default")
    go.touch()
    assert stack.client.wait(long, timeout_s=DEADLINE_S).state is State.COMPLETED


def freeze_those_who_decide(stack: Stack, seen: Watched) -> None:
    """Whatever is theirs to do waits: requests, outcomes, timers, commands, deliveries."""
    soon_ms = int(stack.redis.time()[0] + 2) * 1_000
    with receiving() as receiver:
        stack.client.run(calls_webhooks.add(receiver.url, tenant="later"))
        frozen = [
            stack.kill(one, signal.SIGSTOP)
            for one in ("admission", "scheduler", "fallback", "notifier")
        ]
        retry = {"attempts_max": 2, "backoff_ms": 1}
        waits = [
            stack.client.submit(shell("true", not_before_ms=soon_ms)).job_id,
            stack.client.submit(shell('[ "$ORCH_ATTEMPT" = 2 ] || exit 75', retry=retry)).job_id,
        ]
        stack.run(shell("true", tenant="later"))
        stack.redis.xadd(Keys().requests, {"v": "1", "request_id": "late", "spec": "{"})
        stack.redis.xadd(Keys().control, {"nonsense": "2"})
        seen.wait_for("orch_cluster_requests orch_cluster_commands orch_cluster_webhooks_unsent")
        seen.wait_for("orch_cluster_undecided orch_cluster_undecided_oldest_age_seconds")
        seen.wait_for("orch_cluster_timers_overdue_seconds orch_reaper_announced_total")
        for pid in frozen:
            stack.kill_pid(pid, signal.SIGCONT)
        for job_id in waits:
            assert stack.client.wait(job_id, timeout_s=DEADLINE_S).state is State.COMPLETED
        wait_until(lambda: receiver.got, what="the delivery")


def lose_the_server(stack: Stack) -> None:
    """It is started again with all that it had acknowledged; an index had lost a job."""
    assert stack.redis.zremrangebyrank(Keys().jobs("default"), 0, 0) == 1
    stack.kill("server")
    wait_until(stack.answers)
    assert stack.run(shell("true")).state is State.COMPLETED


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    need_prometheus()
    root = tmp_path_factory.mktemp("stack")
    settings = {"slots": SLOTS, "lease_ms": 2_000, "webhook_hosts_allowed": "127.0.0.0/8"}
    with a_stack(root, **settings) as stack:
        folder = tmp_path_factory.mktemp("prometheus")
        with observe.prometheus(folder, stack.endpoint(), interval_s=SCRAPE_S) as program:
            seen = Watched(program.url, now_s())
            parts = len(stack.endpoint()["metrics"])
            # It takes some seconds to look at new targets; what was counted before is no increase.
            wait_until(lambda: len(seen.series("orch_ready")) == parts, what="all are scraped")
            load = Load(stack)
            do_everything(load)
            fill_the_line(load, root / "go")
            talk_to_a_model(stack)
            be_refused_for_load(stack)
            tell_a_webhook(stack)
            fire_a_schedule(stack)
            drain_a_full_pool(stack, seen, root / "drained")
            freeze_those_who_decide(stack, seen)
            lose_a_runner(stack, root / "again")
            observe.tell_targets(folder, stack.endpoint())
            lose_the_server(stack)
            yield seen


PANELS: Final = [(board.name, panel) for board in DASHBOARDS for panel in board.panels()]


def without_data(watched: Watched) -> dict[str, str]:
    """Panel -> the query that nothing answers."""
    return {
        f"{name}: {panel.title}": query.expr
        for name, panel in PANELS
        for query in panel.queries
        if not watched.series(filled(query.expr))
    }


def no_numbers(watched: Watched) -> dict[str, str]:
    """Panel -> the query that says NaN or Inf somewhere."""
    return {
        f"{name}: {panel.title}": query.expr
        for name, panel in PANELS
        for query in panel.queries
        for one in watched.series(filled(query.expr))
        if not all(isfinite(float(value)) for _, value in one["values"])
    }


@pytest.mark.timeout(120)
@pytest.mark.req("MET-4")
def test_every_query_of_every_panel_returns_data(watched: Watched) -> None:
    assert len(PANELS) > 80
    missing: dict[str, str] = {}

    def has_all() -> bool:
        missing.clear()
        missing.update(without_data(watched))
        return not missing

    try:
        wait_until(has_all, SEEN_S, what="every panel has data")
    except AssertionError:
        pytest.fail(f"panels without data: {json.dumps(missing, indent=2)}")


@pytest.mark.req("MET-4")
def test_no_panel_shows_what_is_no_number_also_while_nothing_happens(watched: Watched) -> None:
    assert no_numbers(watched) == {}


@pytest.mark.req("MET-4")
def test_without_a_reaper_its_panel_says_0_and_not_nothing(watched: Watched) -> None:
    (panel,) = (one for _, one in PANELS if one.title == "Reapers that tell of the cluster")
    (nobody,) = watched.series(panel.queries[0].expr.replace("$job", "nobody"))
    assert {float(value) for _, value in nobody["values"]} == {0.0}


@pytest.mark.req("MET-4")
def test_a_query_that_nothing_answers_would_be_noticed(watched: Watched) -> None:
    assert watched.series("sum(orch_ready)")
    assert watched.series('sum(orch_ready{pool="nowhere"})') == []


@pytest.mark.req("MET-4")
def test_the_traffic_moved_what_the_panels_show(watched: Watched) -> None:
    def still() -> set[str]:
        return {
            row.name
            for row in CATALOGUE.values()
            if not watched.most(f"sum({row.name}{'_count' if row.buckets else ''})") > 0
        }

    try:
        wait_until(lambda: still() <= STILL, SEEN_S)
    except AssertionError:
        pytest.fail(f"they did not move: {sorted(still() - STILL)}")


@pytest.mark.req("MET-4")
def test_one_of_each_process_is_scraped_under_its_own_name(watched: Watched) -> None:
    roles = {
        one["metric"]["role"]: one["metric"]["instance"]
        for one in watched.series("orch_build_info")
    }
    assert roles == {
        role: f"{role}-default-1" if role == "runner" else f"{role}-1"
        for role in (
            "admission",
            "scheduler",
            "runner",
            "reaper",
            "fallback",
            "notifier",
            "gateway",
        )
    }


@pytest.mark.req("MET-4")
def test_what_an_operator_reads_is_what_was_done(watched: Watched) -> None:
    def panel(title: str) -> Panel:
        (found,) = (one for _, one in PANELS if one.title == title)
        return found

    def most(title: str) -> float:
        return watched.most(filled(panel(title).queries[0].expr))

    assert most("Jobs waiting") == SLOTS
    assert most("Slots held") == SLOTS
    assert most("Dead letters") == 2
    assert most("Slots in use") == 1
    assert most("Writes lost, at least") == 0
    counted = ("Tokens read", "Cost in the chosen time", "Jobs recovered", "Server restarts seen")
    assert {title: most(title) > 0 for title in counted} == dict.fromkeys(counted, True)
