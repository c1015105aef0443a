"""A whole stack on the servers that users have: under Sentinels, on a Cluster, over TLS with certificates.

A primary is killed while jobs are submitted and run. Replication is asynchronous, so what it acknowledged
last may be gone: no job may be lost, and no body run more often than its ledger says, without a process that
counted lost writes (`orch_acked_writes_lost_total`).
"""

from __future__ import annotations

import urllib.request
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from contracts.states import State
from orch.core.ledger import attempts, parse_ledger
from orch.store.engine import find_engine
from orch.store.keys import Keys
from tests.e2e.specs import call, shell
from tests.e2e.stack import DEADLINE_S, Stack, a_stack, wait_until
from tests.e2e.submitter import Submitter
from tests.store.certificates import guarded_server
from tests.store.cluster import Node, cluster, watched

pytestmark = pytest.mark.timeout(240)
FAILOVER_S = 60.0


def told(path: Path, n: int) -> dict[str, Any]:
    """Job `n`: it leaves a line each time it runs."""
    return call("told_echo", n, str(path))


def lost_writes(stack: Stack) -> float:
    """The most that one process can prove."""
    most = 0.0
    for url in stack.endpoint()["metrics"].values():
        with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
            text = answer.read().decode()
        most = max(
            [most]
            + [
                sample.value
                for family in text_string_to_metric_families(text)
                for sample in family.samples
                if sample.name == "orch_acked_writes_lost_total"
            ]
        )
    return most


def runs_unaccounted_for(stack: Stack, jobs: Mapping[str, int], lines: Path) -> list[str]:
    """Jobs whose body ran more often than their ledger has attempts."""
    runs = Counter(int(line) for line in lines.read_text().split())
    found = []
    for job_id, n in jobs.items():
        known = len(attempts(parse_ledger(stack.stored(job_id))))
        if runs[n] > known:
            found.append(f"job {job_id} ran {runs[n]} times, its ledger knows {known}")
    return found


def outlives_its_primary(stack: Stack, primary: Node, replica: Node) -> None:
    """Jobs go on at the replica; what is missing or doubled was counted."""
    lines = stack.root / "lines"
    with Submitter(stack, partial(told, lines)) as submitter:
        jobs = submitter.acknowledged
        wait_until(lambda: stack.completed(list(jobs)) > 20, what="the load runs")
        primary.kill()
        wait_until(lambda: replica.say("ROLE")[0] == "master", FAILOVER_S, what="it is promoted")
        wait_until(stack.answers, FAILOVER_S, what="the gateway answers")
        many = len(jobs)
        wait_until(lambda: len(jobs) > many + 20, FAILOVER_S, what="submissions go on")
    kept = {job_id: n for job_id, n in jobs.items() if stack.stored(job_id)}
    stack.wait_for_echoes(kept, FAILOVER_S)
    faults = [f"job {job_id} is lost" for job_id in jobs.keys() - kept.keys()]
    faults += runs_unaccounted_for(stack, kept, lines)
    assert not faults or lost_writes(stack) > 0, faults
    assert "redis_away" in stack.log.read_text(), "somebody noticed"


@pytest.mark.req("DEP-2", "LSE-3")
def test_sentinels_fail_over_under_a_running_stack(tmp_path: Path) -> None:
    root = tmp_path / "stack"
    root.mkdir()
    with (
        watched(find_engine(), tmp_path / "servers") as servers,
        a_stack(root, redis_url=servers.url, runners=2) as stack,
    ):
        outlives_its_primary(stack, servers.primary, servers.replica)


@pytest.mark.req("DEP-2", "LSE-3")
def test_a_cluster_fails_over_under_a_running_stack(tmp_path: Path) -> None:
    root = tmp_path / "stack"
    root.mkdir()
    with (
        cluster(find_engine(), tmp_path / "servers") as servers,
        a_stack(root, redis_url=servers.url, runners=2) as stack,
    ):
        outlives_its_primary(stack, servers.serving(), servers.replica)


@pytest.mark.req("DEP-2")
def test_a_whole_stack_speaks_tls_and_shows_its_certificate(tmp_path: Path) -> None:
    root = tmp_path / "stack"
    root.mkdir()
    with (
        guarded_server(tmp_path, "--appendonly", "yes", "--appendfsync", "no") as server,
        a_stack(root, redis_url=server.url(server.trust, server.mine), lease_ms=1_500) as stack,
    ):
        assert stack.run(shell("true")).state is State.COMPLETED
        stack.wait_for_echoes(stack.submit_echoes(50))
        (runner,) = [n for n, one in stack.instances().items() if one["role"] == "runner"]
        before = int(stack.redis.hget(Keys().beats, runner) or 0)
        wait_until(
            lambda: int(stack.redis.hget(Keys().beats, runner) or 0) > before + 1,
            what="the keeper's own socket speaks TLS too",
        )
        names = {one["name"] for one in stack.orch("doctor", "--json").document["checks"]}
        assert names >= {"redis", "server", "fsync"}
