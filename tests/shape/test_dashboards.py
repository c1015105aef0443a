"""Every dashboard is what Grafana takes, and every panel what an operator can read."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any, Final

import jsonschema
import pytest

from contracts.metrics import CATALOGUE, OF_THE_CLUSTER
from ops.dashboards import DASHBOARDS
from ops.dashboards.model import Query
from ops.generate import CHART_DASHBOARDS, ROOT
from orch.lint import asked, promtool, queries
from orch.lint.document import PATH
from orch.lint.promql import names_in, plain

FOLDER: Final = ROOT / queries.DASHBOARDS
FILES: Final = {path.stem: json.loads(path.read_bytes()) for path in sorted(FOLDER.glob("*.json"))}
UNITS: Final = ("s", "short", "percentunit", "reqps", "bytes")
WORD: Final = {"type": "string", "minLength": 1}
SOURCE: Final = {"const": {"type": "prometheus", "uid": "${datasource}"}}


def shape(**keys: Any) -> dict[str, Any]:
    """An object with at least these keys."""
    return {"type": "object", "required": list(keys), "properties": keys}


PLACE: Final = shape(
    h={"type": "integer", "minimum": 1}, w={"type": "integer", "minimum": 1, "maximum": 24},
    x={"type": "integer", "minimum": 0, "maximum": 23}, y={"type": "integer", "minimum": 0},
)  # fmt: skip
TARGET: Final = shape(
    refId={"pattern": "^[A-Z]$"}, datasource=SOURCE, expr=WORD, legendFormat=WORD,
    range={"const": True}, format={"enum": ["time_series", "heatmap"]},
)  # fmt: skip
STEP: Final = shape(color={"enum": ["green", "orange", "red"]}, value={"type": ["number", "null"]})
DEFAULTS: Final = shape(
    unit={"anyOf": [{"enum": list(UNITS)}, {"pattern": r"^suffix: [a-z]+/s$"}]},
    thresholds=shape(mode={"const": "absolute"}, steps={"type": "array", "minItems": 1, "items": STEP}),
)  # fmt: skip
PANEL: Final = shape(
    id={"type": "integer", "minimum": 1}, title=WORD, gridPos=PLACE, datasource=SOURCE,
    description={"type": "string", "pattern": r"\.$"}, type={"enum": ["timeseries", "stat", "heatmap"]},
    targets={"type": "array", "minItems": 1, "items": TARGET},
    fieldConfig=shape(defaults=DEFAULTS), options={"type": "object"},
)  # fmt: skip
ROW: Final = shape(id={"type": "integer"}, type={"const": "row"}, title=WORD, gridPos=PLACE)
EITHER: Final = {"if": shape(type={"const": "row"}), "then": ROW, "else": PANEL}
DASHBOARD: Final = shape(
    uid={"pattern": "^orch-[a-z]+$"}, title=WORD, description=WORD, tags={"const": ["orch"]},
    schemaVersion={"type": "integer", "minimum": 41}, templating=shape(list={"type": "array"}),
    panels={"type": "array", "minItems": 2, "items": EITHER},
)  # fmt: skip


def panels(name: str) -> list[dict[str, Any]]:
    """Without rows."""
    return [one for one in FILES[name]["panels"] if one["type"] != "row"]


def lies_over(one: dict[str, int], other: dict[str, int]) -> bool:
    """Whether two places share a cell."""
    return (
        one["x"] < other["x"] + other["w"] and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"] and other["y"] < one["y"] + one["h"]
    )  # fmt: skip


@pytest.mark.req("MET-4")
def test_the_folders_hold_the_five_dashboards_and_nothing_else() -> None:
    assert list(FILES) == ["cost", "overview", "queues", "redis", "runners"]
    chart = ROOT / CHART_DASHBOARDS
    for folder in (FOLDER, chart):
        assert {one.stem for one in folder.iterdir()} == {one.name for one in DASHBOARDS}
    for name in FILES:
        assert (chart / f"{name}.json").read_bytes() == (FOLDER / f"{name}.json").read_bytes()
    # A ConfigMap takes 1 MiB.
    assert sum(one.stat().st_size for one in chart.iterdir()) < 900_000


@pytest.mark.req("MET-4")
@pytest.mark.parametrize("name", FILES)
def test_a_dashboard_has_the_shape_that_grafana_reads(name: str) -> None:
    validator = jsonschema.Draft202012Validator(DASHBOARD)
    assert [error.message for error in validator.iter_errors(FILES[name])] == []
    variables = {one["name"]: one["type"] for one in FILES[name]["templating"]["list"]}
    assert variables == {"datasource": "datasource", "job": "query", "pool": "query"}
    assert FILES[name]["uid"] == f"orch-{name}"


@pytest.mark.req("MET-4")
@pytest.mark.parametrize(
    ("keys", "value"),
    [(("description",), "No full stop"), (("targets",), []), (("fieldConfig", "defaults", "unit"), "jobs"),
     (("gridPos", "w"), 25), (("type",), "graph"), (("id",), None), (("targets", 0, "legendFormat"), "")],
)  # fmt: skip
def test_a_panel_of_another_shape_would_be_noticed(keys: tuple[Any, ...], value: object) -> None:
    spoilt = json.loads(json.dumps(FILES["overview"]))
    at = next(one for one in spoilt["panels"] if one["type"] != "row")
    for key in keys[:-1]:
        at = at[key]
    at[keys[-1]] = value
    assert not jsonschema.Draft202012Validator(DASHBOARD).is_valid(spoilt)


@pytest.mark.req("MET-4")
@pytest.mark.parametrize("name", FILES)
def test_no_panel_lies_over_another_and_no_two_have_an_id_or_a_title(name: str) -> None:
    every = FILES[name]["panels"]
    assert len({one["id"] for one in every}) == len({one["title"] for one in every}) == len(every)
    assert all(one["gridPos"]["x"] + one["gridPos"]["w"] <= 24 for one in every)
    over = [
        (a["title"], b["title"])
        for a, b in combinations(every, 2)
        if lies_over(a["gridPos"], b["gridPos"])
    ]
    assert over == []


@pytest.mark.req("MET-4")
def test_thresholds_rise_from_a_base_and_refs_of_a_panel_differ() -> None:
    for name in FILES:
        for panel in panels(name):
            first, *more = [
                one["value"] for one in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
            ]
            assert first is None
            assert more == sorted(set(more)), panel["title"]
            refs = [one["refId"] for one in panel["targets"]]
            assert len(set(refs)) == len(refs), panel["title"]


@pytest.mark.req("MET-1", "MET-4")
def test_every_query_names_what_the_contract_has_and_is_promql() -> None:
    parser = pytest.importorskip("promql_parser", reason="promql-parser is not installed")
    found = [one for one in queries.queries_below(ROOT) if one.where.startswith(queries.DASHBOARDS)]
    assert len(found) > sum(len(panels(name)) for name in FILES)
    document = json.loads((ROOT / PATH).read_bytes())
    assert [fault.message for fault in asked.faults_of(document, found)] == []
    for query in found:
        parser.parse(plain(query.text))
    if promtool.is_there():
        assert list(promtool.query_faults(found)) == []


@pytest.mark.req("MET-1", "MET-4")
def test_every_metric_of_the_contract_is_on_a_panel() -> None:
    shown = queries.users_below(ROOT)
    on_panels = {
        name for name, users in shown.items() if any(queries.DASHBOARDS in one for one in users)
    }
    assert set(CATALOGUE) - on_panels == set()


@pytest.mark.req("MET-2", "MET-4")
def test_facts_of_the_cluster_and_lost_writes_are_never_summed_over_processes() -> None:
    facts = {row.name for row in OF_THE_CLUSTER if row.type == "gauge"} - {"orch_cluster_exporting"}
    for name in FILES:
        for text in (target["expr"] for panel in panels(name) for target in panel["targets"]):
            for one in names_in(text).selectors:
                if one.metric in facts | {
                    "orch_acked_writes_lost_total",
                    "orch_server_restarts_total",
                }:
                    before = text[: text.index(one.metric)].replace("increase(", "")
                    assert before.rstrip("(").endswith("max") or before.endswith(") ("), text
                    assert "max" in before, text


@pytest.mark.req("MET-4")
def test_a_share_of_nothing_is_no_value_and_not_no_number() -> None:
    never_zero = ("orch_cycle_stale_seconds", "process_max_fds", "orch_runner_slots")
    divisors = [
        query.text.partition(" / ")[2]
        for board in DASHBOARDS
        for panel in board.panels()
        for query in panel.queries
        if " / " in query.text
    ]
    assert len(divisors) > 8
    assert [
        one for one in divisors if " > 0)" not in one and not any(n in one for n in never_zero)
    ] == []


@pytest.mark.req("MET-4")
def test_a_panel_that_the_chosen_pools_do_not_filter_says_so() -> None:
    # Where others of its kind are filtered: on the page of runners, and beside a query that is.
    silent = []
    for board in DASHBOARDS:
        for row in board.rows:
            for panel in row.panels:
                filtered = ["$pool" in query.text for query in panel.queries]
                is_mixed = any(filtered) or board.name == "runners"
                says = "all pools" in f"{row.title} {panel.about}"
                if is_mixed and not all(filtered) and not says:
                    silent.append(f"{board.name}: {panel.title}")
    assert silent == []


@pytest.mark.req("MET-4")
def test_every_metric_of_a_query_is_of_the_chosen_installation() -> None:
    for name in FILES:
        for text in (target["expr"] for panel in panels(name) for target in panel["targets"]):
            for one in names_in(text).selectors:
                assert ("job", "=~", "x") in one.matchers, text


@pytest.mark.parametrize(
    ("text", "expr"),
    [
        ("orch_ready", 'orch_ready{job=~"$job"}'),
        ('rate(orch_a_total{x="y"}[5m])', 'rate(orch_a_total{job=~"$job", x="y"}[5m])'),
        ("time() - up", "time() - up"),
    ],
)
def test_the_installation_is_a_matcher_of_each_metric(text: str, expr: str) -> None:
    assert Query(text, "").expr == expr
