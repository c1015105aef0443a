"""Every alert fires when it should and is quiet when it should, and has a page that says what to do.

Prometheus's own `promtool test rules` judges; the cases stand in tests/lint/alerts/. Without promtool they
are skipped, but where CI=true and ORCH_EXPECT_PROMETHEUS=1 its absence is a failure."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from ruamel.yaml import YAML

from ops.generate import CHART_RULES, ROOT, chart_rules
from orch.lint import promtool
from orch.lint.promql import names_in, plain
from orch.lint.queries import RULES, Query, queries_below
from tests.lint.saying import said
from tests.lint.test_promql import selectors_of

CASES: Final = Path(__file__).parent / "alerts"
RUNBOOKS: Final = ROOT / "ops" / "runbooks"
SEVERITIES: Final = frozenset({"critical", "warning", "info"})


def read(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


@cache
def rules() -> tuple[dict[str, Any], ...]:
    """All rules, in the order of the file."""
    return tuple(rule for group in read(ROOT / RULES)["groups"] for rule in group["rules"])


@cache
def alerts() -> Mapping[str, dict[str, Any]]:
    found = [rule for rule in rules() if "alert" in rule]
    assert len({rule["alert"] for rule in found}) == len(found), "an alert stands there twice"
    return {rule["alert"]: rule for rule in found}


@cache
def cases() -> Mapping[str, dict[str, Any]]:
    """Alert -> what makes it fire, and what must not."""
    found: dict[str, Any] = {}
    for path in sorted(CASES.glob("*.yaml")):
        document = read(path)
        assert not found.keys() & document.keys(), "an alert has its cases in two files"
        found |= document
    return found


def split(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The firing and the quiet cases of an alert, by what they are."""
    mine = cases().get(name, {})
    firing = {what: case for what, case in mine.items() if what != "quiet"}
    return firing, mine.get("quiet", {})


def as_promtool_wants(rule: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    """One group of a unit test: a sample a minute, or as often as the case says, and one look.

    Rules are evaluated on whole minutes, so samples of another rhythm lie beside the edges of the window,
    as they do in life, and `increase` stretches what it saw."""
    expected = [
        {
            "exp_labels": {**rule["labels"], **one.get("labels", {})},
            "exp_annotations": {**rule["annotations"], "description": one["says"]},
        }
        for one in case.get("alerts", ())
    ]
    look = {"eval_time": case["at"], "alertname": rule["alert"], "exp_alerts": expected}
    series = [{"series": name, "values": values} for name, values in case["series"].items()]
    return {"interval": case.get("every", "1m"), "input_series": series, "alert_rule_test": [look]}


def judged(folder: Path, rules_text: str, tests: list[dict[str, Any]]) -> str:
    """What promtool complains of; nothing when all tests pass."""
    if not promtool.is_there():
        if os.environ.get("CI") == "true" and os.environ.get("ORCH_EXPECT_PROMETHEUS") == "1":
            pytest.fail(f"promtool is not installed: {promtool.HOW_TO_GET}")
        pytest.skip(f"promtool is not installed: {promtool.HOW_TO_GET}")
    (folder / "rules.yaml").write_text(rules_text)
    document = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}
    (folder / "tests.yaml").write_text(json.dumps(document))  # JSON is YAML
    done = subprocess.run(
        ["promtool", "test", "rules", "tests.yaml"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def rules_text() -> str:
    return (ROOT / RULES).read_text(encoding="utf-8")


@pytest.mark.req("MET-4")
@pytest.mark.parametrize("name", alerts())
def test_it_fires(name: str, tmp_path: Path) -> None:
    firing, _ = split(name)
    assert firing
    assert all(case["alerts"] for case in firing.values())
    tests = [as_promtool_wants(alerts()[name], case) for case in firing.values()]
    assert judged(tmp_path, rules_text(), tests) == ""


@pytest.mark.req("MET-4")
@pytest.mark.parametrize("name", alerts())
def test_it_is_quiet(name: str, tmp_path: Path) -> None:
    _, quiet = split(name)
    assert quiet
    assert not any("alerts" in case for case in quiet.values())
    tests = [as_promtool_wants(alerts()[name], case) for case in quiet.values()]
    assert judged(tmp_path, rules_text(), tests) == ""


@pytest.mark.req("MET-4")
def test_no_case_is_of_an_alert_that_is_gone() -> None:
    assert cases().keys() == alerts().keys()


@pytest.mark.req("MET-4")
@pytest.mark.parametrize(
    ("name", "was", "becomes"),
    [
        # One that is blunted no longer fires, one too sharp or too soon is not quiet, nonsense is heard.
        ("OrchRequestsWait", "cluster_requests) > 1000", "cluster_requests) > 2000"),
        ("OrchTimersLate", "overdue_seconds) > 60", "overdue_seconds) > 59"),
        ("OrchCommandsWait", "_commands) > 0\n        for: 5m", "_commands) > 0\n        for: 2m"),
        ("OrchRoleMissing", "No {{ $labels.role }} is", "No {{ $labels.rule }} is"),
    ],
)
def test_a_rule_that_is_broken_is_noticed(
    name: str, was: str, becomes: str, tmp_path: Path
) -> None:
    assert rules_text().count(was) == 1
    firing, quiet = split(name)
    tests = [
        as_promtool_wants(alerts()[name], case) for case in [*firing.values(), *quiet.values()]
    ]
    assert f"alertname: {name}" in judged(tmp_path, rules_text().replace(was, becomes), tests)


# -- what each of them must have


@pytest.mark.req("MET-4")
@pytest.mark.parametrize("name", alerts())
def test_it_says_what_is_wrong_and_where_to_read_on(name: str) -> None:
    rule = alerts()[name]
    assert re.fullmatch(r"Orch([A-Z][a-z]+)+", name)
    assert set(rule["labels"]) == {"severity"}
    assert rule["labels"]["severity"] in SEVERITIES
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    for text in (rule["annotations"]["summary"], rule["annotations"]["description"]):
        assert text.endswith((".", "?"))
    page = ROOT / rule["annotations"]["runbook"]
    assert page.parent == RUNBOOKS
    assert f"## {name}\n" in page.read_text(encoding="utf-8"), "the page has a part on each alert"


@pytest.mark.req("MET-4")
def test_the_table_of_runbooks_has_every_alert_with_its_severity_and_no_other() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (\w+) \| \[[^]]+\]\(([\w.-]+)#(\w+)\) \|",
        (RUNBOOKS / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    wanted = [
        (name, rule["labels"]["severity"], Path(rule["annotations"]["runbook"]).name, name.lower())
        for name, rule in alerts().items()
    ]
    assert rows == wanted
    # Pages of operations without an alert are the other table's: tests/ops/test_runbooks.py.
    assert {path.name for path in RUNBOOKS.glob("*.md") if "\n## Orch" in path.read_text()} == {
        row[2] for row in rows
    }


def headings() -> Iterator[str]:
    for path in RUNBOOKS.glob("*.md"):
        yield from re.findall(r"^## (Orch\w+)$", path.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.req("MET-4")
def test_no_page_tells_of_an_alert_that_is_gone() -> None:
    assert sorted(headings()) == sorted(alerts())


@pytest.mark.req("MET-4")
def test_no_bound_on_a_number_of_things_is_that_number() -> None:
    # `increase` reads three things as 3.2 when samples lie beside the edges of its window.
    bounds = {
        name: re.findall(r"increase\([^)]*\)+ > ([\d.]+)", rule["expr"])
        for name, rule in alerts().items()
    }
    found = {name: numbers for name, numbers in bounds.items() if numbers}
    assert len(found) > 10
    assert {n for numbers in found.values() for n in numbers if float(n).is_integer()} == {"0"}


# -- what they ask


def asked() -> list[Query]:
    """What rules ask, and the queries that pages show as `promql` blocks."""
    found = [query for query in queries_below(ROOT) if query.where.startswith(RULES)]
    assert len(found) == len(rules())
    for path in sorted(RUNBOOKS.glob("*.md")):
        blocks = re.findall(r"^```promql\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL)
        found += [
            Query(f"{path.name}", line) for text in blocks for line in text.splitlines() if line
        ]
    return found


@pytest.mark.req("MET-4", "MET-1")
def test_every_expression_is_promql_for_a_parser_of_its_own() -> None:
    parser = pytest.importorskip("promql_parser", reason="promql-parser is not installed")
    for query in asked():
        ours = sorted(one.metric for one in names_in(query.text).selectors)
        assert ours == sorted(
            metric for metric, _ in selectors_of(parser.parse(plain(query.text)))
        ), query.where


def given() -> list[Query]:
    """The series of all cases. One with a typo would be quiet for ever."""
    return [
        Query(name, series)
        for name, mine in cases().items()
        for case in [*split(name)[0].values(), *mine["quiet"].values()]
        for series in case["series"]
    ]


@pytest.mark.req("MET-4", "MET-1")
def test_rules_runbooks_and_cases_name_only_what_the_contract_has(checkout: Path) -> None:
    """All of it is put among the rules, so that the linter looks at it too."""
    listed = [
        {"record": query.records or f"asked:{number}", "expr": query.text}
        for number, query in enumerate([*asked(), *given()])
    ]
    path = checkout / RULES
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"groups": [{"name": "asked", "rules": listed}]}))
    assert said(checkout, "query") == []
    assert said(checkout, "promtool") == []


@pytest.mark.req("MET-4", "DEP-1")
def test_the_chart_carries_the_same_rules() -> None:
    text = (ROOT / CHART_RULES).read_text(encoding="utf-8")
    assert text == chart_rules()
    document = YAML(typ="safe", pure=True).load(text)
    assert document == read(ROOT / RULES)
    assert document.keys() == {"groups"}, "the spec of a PrometheusRule has nothing else"
