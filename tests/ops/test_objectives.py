"""Objectives can be measured and are guarded; figures of capacity are those of their sources."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.start import ROLES
from contracts import metrics
from ops.drills.deploy import CONNECTIONS
from orch.lint.promql import names_in, plain
from orch.lint.queries import RULES
from tests.lint.saying import said
from tests.lint.test_alerts import alerts
from tests.lint.test_promql import selectors_of
from tests.shape.pages import ROOT, Page, pages

OBJECTIVES = "ops/slo.md"
CAPACITY = "docs/capacity.md"
PROMISES = ("Acceptance", "Start", "Loss", "Recovery")
SOURCES = ("docs/performance.md", "docs/reliability.md", "perf/budget.json", "contracts/limits.py")
ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \| \[[^]]+\]\(([^)#]+)(?:#([^)]*))?\) \|$", re.MULTILINE)
NUMBER = re.compile(r"\d[\d,_]*(?:\.\d+)?")


def parts_of(page: Page) -> dict[str, str]:
    """The text below each heading of the second order."""
    texts = re.split(r"^## (.+)$", page.text, flags=re.MULTILINE)[1:]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def queries_of(text: str) -> list[str]:
    """The lines of its `promql` blocks."""
    blocks = re.findall(r"^```promql\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def borders_of(query: str) -> Iterator[tuple[str, float]]:
    """Histogram and border, for each bucket that a query picks."""
    for one in names_in(query).selectors:
        for label, _, value in one.matchers:
            if label == "le":
                yield one.metric.removesuffix("_bucket"), float(value)


def promise_faults(page: Page) -> list[str]:
    """Objectives that nothing measures or guards, and buckets that no histogram has."""
    parts = parts_of(page)
    faults = [f"no part on {name}" for name in PROMISES if name not in parts]
    for name in (name for name in PROMISES if name in parts):
        guards = re.findall(r"`(Orch[A-Za-z]+)`", parts[name])
        faults += [f"{name}: no alert {guard}" for guard in guards if guard not in alerts()]
        faults += [] if guards else [f"{name}: nothing guards it"]
        faults += [] if queries_of(parts[name]) else [f"{name}: nothing measures it"]
    for query in queries_of(page.text):
        for metric, border in borders_of(query):
            if border not in (metrics.CATALOGUE[metric].buckets or ()):
                faults.append(f"{metric} has no bucket of {border:g}")
    return faults


@pytest.mark.req("MET-4", "DOC-1")
def test_every_objective_is_measured_and_guarded() -> None:
    assert promise_faults(pages()[OBJECTIVES]) == []


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("## Loss", "## Losses"),
        ("Guarded by `OrchAcknowledgedWritesLost`", "Guarded by nobody"),
        ("`OrchStartsSlowly`", "`OrchStartsSloppily`"),
        ('le="60.0"', 'le="30.0"'),
        ("```promql\nmax(increase(orch_acked", "```text\nmax(increase(orch_acked"),
    ],
)
def test_an_objective_that_nothing_measures_or_guards_is_noticed(was: str, becomes: str) -> None:
    page = pages()[OBJECTIVES]
    assert was in page.text
    assert promise_faults(Page(OBJECTIVES, page.text.replace(was, becomes)))


@pytest.mark.req("MET-4", "MET-1")
def test_the_queries_are_promql_and_name_only_what_the_contract_has(checkout: Path) -> None:
    asked = queries_of(pages()[OBJECTIVES].text)
    assert len(asked) > 6
    parser = pytest.importorskip("promql_parser", reason="promql-parser is not installed")
    for query in asked:
        ours = sorted(one.metric for one in names_in(query).selectors)
        assert ours == sorted(name for name, _ in selectors_of(parser.parse(plain(query)))), query
    rules = [{"record": f"asked:{n}", "expr": query} for n, query in enumerate(asked)]
    path = checkout / RULES
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"groups": [{"name": "asked", "rules": rules}]}))
    assert said(checkout, "query") == []
    assert said(checkout, "promtool") == []


# ---------------------------------------------------------------- capacity


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _numbers(text: str) -> set[float]:
    return {float(found.replace(",", "").replace("_", "")) for found in NUMBER.findall(text)}


def unfounded(page: Page) -> list[str]:
    """Figures that their source does not have, below the heading that the link names."""
    faults = []
    for what, figure, link, anchor in ROW.findall(page.text):
        source = (Path(ROOT, page.name).parent / link).resolve().relative_to(ROOT).as_posix()
        if source in SOURCES:
            text = (ROOT / source).read_text(encoding="utf-8")
            below = next(
                (t for head, t in parts_of(Page(source, text)).items() if slug(head) == anchor), ""
            )
            missing = _numbers(figure) - _numbers(below if anchor else text)
            faults += [f"{what}: {source} does not say {number:g}" for number in sorted(missing)]
    return faults


@pytest.mark.req("DOC-1")
def test_every_figure_of_capacity_stands_in_its_source() -> None:
    page = pages()[CAPACITY]
    links = [link for _, _, link, _ in ROW.findall(page.text)]
    assert all(any(link.endswith(Path(one).name) for link in links) for one in SOURCES)
    assert unfounded(page) == []


@pytest.mark.req("DOC-1")
def test_the_table_of_connections_is_what_a_drill_counts() -> None:
    rows = re.findall(r"^\| (\w+) \| (\d+) \|$", pages()[CAPACITY].text, re.MULTILINE)
    assert {role: int(count) for role, count in rows} == CONNECTIONS
    assert CONNECTIONS.keys() == {*ROLES, "supervisor"}
    with_one_runner, each = sum(CONNECTIONS.values()), CONNECTIONS["runner"]
    said = f"connections = {with_one_runner} for a house with one runner, {each} more for each"
    assert said in pages()[CAPACITY].text


@pytest.mark.parametrize(
    ("was", "becomes"),
    [("32,851", "32,852"), ("2.25 and 5.35", "2.25 and 4.35"), ("| 973 |", "| 974 |")],
)
def test_a_figure_that_its_source_does_not_have_is_noticed(was: str, becomes: str) -> None:
    page = pages()[CAPACITY]
    assert was in page.text
    assert len(unfounded(Page(CAPACITY, page.text.replace(was, becomes, 1)))) == 1
