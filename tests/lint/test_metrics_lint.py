"""Each rule of `orch lint metrics`, broken once: it says what is wrong and what mends it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from contracts import metrics
from contracts.metrics import CATALOGUE
from orch.lint import promtool
from orch.lint.document import document_of
from orch.lint.queries import DASHBOARDS, RULES
from tests.lint.saying import said

Row = dict[str, Any]
Change = Callable[[Any], None]


def documented() -> Any:
    """The lint file of a checkout without dashboards and rules."""
    return json.loads(json.dumps(document_of({})))


def row_of(document: Any, name: str) -> Row:
    (row,) = [one for one in document["metrics"] if one["name"] == name]
    return row


# -- the file by itself


def renamed(name: str, to: str) -> Change:
    return lambda document: row_of(document, name).update(name=to)


def with_label(metric: str, /, **label: Any) -> Change:
    return lambda document: row_of(document, metric)["labels"].append(label)


SPOILED: Final[Mapping[str, tuple[str, Change, str]]] = {
    "a key is missing": (
        "shape", lambda d: row_of(d, "orch_ready").pop("since"),
        "orch_ready: wrong keys: since | Run `make generate`, and commit what it writes.",
    ),
    "another version": (
        "shape", lambda d: d.update(schema_version=2),
        "metrics.lint.json: is of another version, or has other limits | Run `make generate`",
    ),
    "no such type": (
        "shape", lambda d: row_of(d, "orch_ready").update(type="summary"),
        "orch_ready: is no counter, gauge or histogram, or its buckets are not those of one | Set type",
    ),
    "a histogram without buckets": (
        "shape", lambda d: row_of(d, "orch_reaper_sweep_seconds").update(buckets=None),
        "orch_reaper_sweep_seconds: is no counter, gauge or histogram, or its buckets",
    ),
    "a label without a bound": (
        "shape", with_label("orch_ready", name="what"),
        "orch_ready: a label has neither values nor a max, or both | Give it one of them in contracts/",
    ),
    "a row twice": (
        "shape", lambda d: d["metrics"].append(row_of(d, "orch_ready")),
        "orch_ready: stands there twice | Keep one row in contracts/metrics.py.",
    ),
    "not as the contract has it": (
        "stale", lambda d: row_of(d, "orch_ready").update(help="Something else.", since="9"),
        "orch_ready: is not as contracts/metrics.py and the dashboards have it: help, since | Run `make",
    ),
    "other limits": (
        "stale", lambda d: d["limits"].update(series_total_max=9_999_999),
        "metrics.lint.json: limits are not those of contracts/metrics.py | Run `make generate`",
    ),
    "no name of ours": (
        "name", renamed("orch_ready", "orchReady"),
        "orchReady: is not orch_ and lower-case words | Rename it in contracts/metrics.py and where",
    ),
    "a counter without _total": (
        "name", renamed("orch_reaper_retired_total", "orch_reaper_retired"),
        "orch_reaper_retired: a counter, and only a counter, ends in _total | Rename it",
    ),
    "a gauge with _total": (
        "name", renamed("orch_ready", "orch_ready_total"),
        "orch_ready_total: a counter, and only a counter, ends in _total | Rename it",
    ),
    "a name like a histogram's part": (
        "name", renamed("orch_ready", "orch_ready_count"),
        "orch_ready_count: ends like a part of a histogram | Rename it",
    ),
    "milliseconds": (
        "name", renamed("orch_cycle_age_seconds", "orch_cycle_age_ms"),
        "orch_cycle_age_ms: names a unit that is no base unit: ms | Count in seconds or bytes, and spell",
    ),
    "seconds that nobody sees": (
        "name", renamed("orch_cycle_age_seconds", "orch_cycle_age"),
        "orch_cycle_age: is in seconds and does not say so | Rename it",
    ),
    "a histogram of nothing measured": (
        "name", lambda d: row_of(d, "orch_reaper_sweep_seconds").update(unit="jobs"),
        "orch_reaper_sweep_seconds: a histogram counts in seconds or bytes | Set its unit",
    ),
    "help that says nothing": (
        "name", lambda d: row_of(d, "orch_ready").update(help="ready"),
        "orch_ready: its help is no sentence | Say in contracts/metrics.py what it counts.",
    ),
    "an id as a label": (
        "label", with_label("orch_ready", name="job_id", max=9),
        "orch_ready{job_id}: grows without end, or is Prometheus's own | Take the label out in contracts/",
    ),
    "a value twice": (
        "label", with_label("orch_ready", name="what", values=["a", "a"]),
        "orch_ready{what}: has a value twice, or room for none | Mend it in contracts/metrics.py.",
    ),
    "a budget that its labels do not allow": (
        "budget", lambda d: row_of(d, "orch_ready").update(series_max=7),
        "orch_ready: series_max 7, but its labels allow 1 | Run `make generate`",
    ),
    "too much in all": (
        "budget", lambda d: d["limits"].update(series_total_max=10),
        "series, the limit is 10 | Narrow a label in contracts/metrics.py, or raise SERIES_TOTAL_MAX",
    ),
    "made elsewhere": (
        "site", lambda d: row_of(d, "orch_ready").update(emitted_by="actors/start.py"),
        "orch_ready: actors/start.py does not use it | Set emitted_by to orch/telemetry/health.py",
    ),
    "made in a file that is not there": (
        "site", lambda d: row_of(d, "orch_ready").update(emitted_by="actors/gone.py"),
        "orch_ready: there is no file actors/gone.py | Set emitted_by to",
    ),
    "made nowhere": (
        "site", renamed("orch_ready", "orch_steady"),
        "orch_steady: orch/telemetry/health.py does not use it | Make it in orch/telemetry/health.py",
    ),
    "made and not listed": (
        "site", lambda d: d["metrics"].remove(row_of(d, "orch_ready")),
        "orch_ready: is made in orch/telemetry/health.py and stands in no contract | Give it a row in",
    ),
}  # fmt: skip


@pytest.mark.req("MET-1", "MET-2")
@pytest.mark.parametrize("what", SPOILED)
def test_a_lint_file_that_is_wrong_is_refused(with_code: Path, what: str) -> None:
    rule, change, wanted = SPOILED[what]
    document = documented()
    change(document)
    (with_code / "metrics.lint.json").write_text(json.dumps(document))
    found = said(with_code, rule)
    assert any(wanted in one for one in found), found


@pytest.mark.req("MET-1")
def test_without_a_lint_file_or_with_a_torn_one_it_says_so(checkout: Path) -> None:
    (checkout / "metrics.lint.json").write_text("{")
    (torn,) = said(checkout, "shape")
    (checkout / "metrics.lint.json").unlink()
    (gone,) = said(checkout, "shape")
    assert "cannot be read" in torn
    assert gone == "metrics.lint.json: there is none | Run it in a checkout, or give --root."


# -- dashboards and rules


def dashboard(checkout: Path, *queries: str, variable: str | None = None) -> None:
    panels = [{"title": "Depth", "targets": [{"expr": query}]} for query in queries]
    templating = {"list": [{"name": "pool", "query": variable}]} if variable else {}
    folder = checkout / DASHBOARDS
    folder.mkdir(parents=True)
    row = {"type": "row", "title": "all", "panels": panels}
    (folder / "queue.json").write_text(json.dumps({"panels": [row], "templating": templating}))


ASKED: Final[Mapping[str, tuple[str, str]]] = {
    "no such metric": (
        "sum(orch_cluster_queue_depths)",
        "there is no metric orch_cluster_queue_depths | Name one that is there: orch_cluster_queue_depth",
    ),
    "no such label": (
        'orch_cluster_queue_depth{queue="a"}',
        "orch_cluster_queue_depth has no label queue | orch_cluster_queue_depth has class, pool.",
    ),
    "no such value": (
        'orch_reaper_repairs_total{index="quue"}',
        "orch_reaper_repairs_total{index} is never 'quue' | It is one of queue, turn,",
    ),
    "a grouping that no metric of it has": (
        "sum by (verb) (orch_cluster_queue_depth)",
        "no metric of it has a label verb | Group by one of class, pool.",
    ),
    "a histogram by its bare name": (
        "rate(orch_runner_attempt_seconds[5m])",
        "orch_runner_attempt_seconds is a histogram: no series has that name | Ask for orch_runner_attempt_",
    ),
    "le where there are no buckets": (
        "sum by (le) (rate(orch_runner_attempt_seconds_count[5m]))",
        "no metric of it has a label le | Group by one of pool.",
    ),
    "a part of what has no parts": (
        "rate(orch_reaper_retired_total_sum[5m])",
        "there is no metric orch_reaper_retired_total_sum | Name one that is there",
    ),
    "no PromQL": (
        "sum(orch_ready ~ 1)",
        "is no PromQL: cannot be read from '~ 1)' on | Write it as",
    ),
    "a selector without a metric": (
        '{pool="a"}',
        "is no PromQL: a selector without a metric: name it",
    ),
}


@pytest.mark.req("MET-1")
@pytest.mark.parametrize("what", ASKED)
def test_a_query_that_asks_for_what_is_not_there_is_refused(checkout: Path, what: str) -> None:
    query, wanted = ASKED[what]
    dashboard(checkout, query)
    first = said(checkout, "query")[0]
    assert first.startswith(f"{DASHBOARDS}/queue.json#Depth: "), first
    assert wanted in first


GOOD: Final = (
    'sum by (pool, class) (orch_cluster_queue_depth{pool=~"$pool"})',
    "histogram_quantile(0.99, sum by (le) (rate(orch_runner_attempt_seconds_bucket[$__rate_interval])))",
    "max by (instance, cycle) (orch_cycle_age_seconds) > on (instance, cycle) orch_cycle_stale_seconds",
    'rate(orch_reaper_repairs_total{index!="queue"}[5m] offset 1h) / ignoring (index) group_left orch_ready',
    'absent(up{job="orch"}) or max_over_time(orch_ready[1h:5m]) == bool 0 # nobody is there',
    '{__name__="orch_cluster_queue_depth", pool="a"} @ end()',
)


@pytest.mark.req("MET-1")
def test_queries_that_ask_well_pass_and_are_named_as_users(checkout: Path) -> None:
    dashboard(checkout, *GOOD, variable="label_values(orch_cluster_queue_depth, pool)")
    assert not said(checkout, "query")
    stale = [one for one in said(checkout, "stale") if "used_by" in one]
    assert len(stale) == 6, (
        "each metric that is asked for gets a user with the next `make generate`"
    )


@pytest.mark.req("MET-1")
def test_rules_are_looked_at_and_a_recorded_name_may_be_asked_for(checkout: Path) -> None:
    path = checkout / RULES
    path.parent.mkdir(parents=True)
    path.write_text(
        "groups:\n- name: a\n  rules:\n"
        "  - {record: 'pool:depth:sum', expr: 'sum by (pool) (orch_cluster_queue_depth)'}\n"
        "  - {alert: Deep, expr: 'pool:depth:sum > 9'}\n"
        "  - {alert: Stuck, expr: 'orch_gone > 9'}\n"
    )
    assert [one.partition(" | ")[0] for one in said(checkout, "query")] == [
        f"{RULES}#Stuck: there is no metric orch_gone"
    ]


@pytest.mark.req("MET-1")
@pytest.mark.parametrize("text", ["groups: [", "groups: [{name: a}]", "[]"])
def test_a_rules_file_of_another_shape_is_refused(checkout: Path, text: str) -> None:
    path = checkout / RULES
    path.parent.mkdir(parents=True)
    path.write_text(text)
    (fault,) = said(checkout, "shape")
    assert "cannot be read: " in fault
    assert "| Mend the file." in fault


@pytest.mark.req("MET-1")
def test_what_nobody_asks_for_says_why(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = replace(CATALOGUE["process_open_fds"], why_unused="looked at by hand")
    monkeypatch.setattr(metrics, "CATALOGUE", {**CATALOGUE, bare.name: bare})
    dashboard(checkout, "orch_ready")
    names = {one.partition(":")[0] for one in said(checkout, "unused")}
    assert names == CATALOGUE.keys() - {"orch_ready", "process_open_fds"}


# -- other people's tools


@pytest.mark.req("MET-1")
@pytest.mark.skipif(not promtool.is_there(), reason="promtool is not installed")
def test_promtool_has_its_say_about_scrapes_rules_and_queries(checkout: Path) -> None:
    scrape = "# TYPE orch_thing_kilobytes gauge\norch_thing_kilobytes 1\n"
    assert any("no help text" in one for one in said(checkout, "promtool", {"part": scrape}))
    path = checkout / RULES
    path.parent.mkdir(parents=True)
    path.write_text(
        "groups: [{name: a, rules: [{alert: Odd, expr: 'sum(orch_ready', for: soon}]}]\n"
    )
    assert any(RULES in one for one in said(checkout, "promtool"))


@pytest.mark.req("MET-1")
@pytest.mark.skipif(not promtool.is_there(), reason="promtool is not installed")
def test_the_grammar_of_a_query_is_judged_by_a_parser_of_prometheus(checkout: Path) -> None:
    dashboard(checkout, "orch_ready", "sum by (pool) orch_runner_slots)")
    (found,) = [one for one in said(checkout, "query") if "is no PromQL" in one]
    assert "Mend: sum by (pool) orch_runner_slots)" in found
