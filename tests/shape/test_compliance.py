"""COMPLIANCE.md: requirements, where they stand, and the tests that name them, read without running any."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import pytest

from ops.compliance import Requirement, compliance_page, invented, requirements
from ops.marks import ROOT, Marked, by_word, functions_of, marked_tests, scenarios_of

SOURCE = """
import pytest
pytestmark = [pytest.mark.req("ARC-1"), pytest.mark.slow]

@pytest.mark.req("JOB-1", "JOB-2")
@pytest.mark.parametrize("x", [1, pytest.param(2, marks=pytest.mark.req("JOB-3"))])
async def test_one(x): ...

@pytest.mark.req("ADM-1")
class TestMany:
    pytestmark = pytest.mark.req("ADM-2")
    @pytest.mark.req("ADM-3")
    def test_two(self, world): ...
    def helper(self): ...

def not_a_test(): ...
text = '@pytest.mark.req("SEC-1")'
"""

FEATURE = """@API-1 @slow
Feature: Retries
  @FBK-1 @FBK-4
  Scenario: One
    When it is
  Scenario Outline: Two
    Then it was
"""

ASKED = [
    Requirement("JOB-1", "built", "A job | a spec: [jobs](../jobs.md#x), [adm](adm.md).", "docs/spec/job.md"),
    Requirement("JOB-2", "not yet", "Nothing.", "docs/spec/job.md"),
]  # fmt: skip


def a_test(file: str, *ids: str) -> Marked:
    return Marked(file, 7, "test_it", {"req": frozenset(ids)})


@pytest.mark.req("DOC-1")
def test_marks_are_found_wherever_they_stand() -> None:
    one, two = functions_of("tests/x.py", SOURCE)
    assert (one.name, one.line) == ("test_one", 7)
    assert one.marks["req"] == {"ARC-1", "JOB-1", "JOB-2", "JOB-3"}
    assert two.marks["req"] == {"ARC-1", "ADM-1", "ADM-2", "ADM-3"}
    assert two.fixtures == {"self", "world"}


@pytest.mark.req("DOC-1")
def test_tags_of_a_feature_are_those_of_its_scenarios() -> None:
    one, two = scenarios_of("tests/x.feature", FEATURE)
    assert [one.name, two.name] == ["One", "Two"]
    assert one.marks["req"] == {"API-1", "FBK-1", "FBK-4"}
    assert two.marks["req"] == {"API-1"}


@pytest.mark.req("DOC-1")
def test_the_table_counts_tests_by_file_and_lists_what_no_test_names() -> None:
    tests = [
        a_test("tests/b.py", "JOB-1"),
        a_test("tests/a.py", "JOB-1"),
        a_test("tests/b.py", "JOB-1"),
    ]
    page = compliance_page(ASKED, tests)
    assert "2 requirements: 1 built, 0 partly, 1 not yet. 1 are named by tests." in page
    row = next(line for line in page.splitlines() if line.startswith("| [JOB-1]"))
    assert row == (
        "| [JOB-1](docs/spec/job.md) | built | A job \\| a spec: [jobs](docs/jobs.md#x),"
        " [adm](docs/spec/adm.md). | 3 | `tests/a.py` 1, `tests/b.py` 2 |"
    )
    assert page.endswith("## Named by no test\n\n- JOB-2 (not yet)\n")


@pytest.mark.req("DOC-1")
def test_a_test_that_names_an_invented_requirement_stops_the_generator_with_its_line() -> None:
    tests = [a_test("tests/a.py", "JOB-1", "JOB-99")]
    fault = "tests/a.py:7: test_it names JOB-99, which docs/spec does not have"
    assert invented(ASKED, tests) == [fault]
    with pytest.raises(ValueError, match="JOB-99"):
        compliance_page(ASKED, tests)


@pytest.mark.req("DOC-1")
def test_every_requirement_and_every_test_of_the_project_is_in_it() -> None:
    asked, tests = requirements(), marked_tests()
    assert len(asked) > 130
    assert invented(asked, tests) == []
    assert len({one.name for one in asked}) == len(asked)
    proven = by_word(tests, "req")
    bare = [one.name for one in asked if one.status == "built" and one.name not in proven]
    assert bare == [], "said to be built, and no test names it"


IS_THERE: Final = {
    "chart": "charts/orch/Chart.yaml",
    "container image": "docker/Dockerfile",
    "dashboards": "ops/grafana/dashboards",
    "traces": "orch/telemetry/traces.py",
    "webhooks": "actors/notifier",
    "a check of a running server": "tests/contract/test_openapi.py",
    "several replicas": "tests/e2e/test_many.py",
    "MCP": "actors/gateway/mcp.py",
    "a web page": "actors/gateway/page",
}
"""What a page may call missing, and the file that would make a lie of it."""


def stale(asked: list[Requirement], proven: Mapping[str, object]) -> list[str]:
    """Requirements that miss what stands here, or miss tests with their id and have some."""
    found = []
    for one in asked:
        missing = one.text.partition("Missing: ")[2]
        found += [
            f"{one.name}: {words} are in {path}"
            for words, path in IS_THERE.items()
            if re.search(rf"(?<![\w-]){re.escape(words)}", missing) and (ROOT / path).exists()
        ]
        if "tests that name the id" in missing and one.name in proven:
            found.append(f"{one.name}: tests name it")
        if one.status == "built" and missing:
            found.append(f"{one.name}: built, and something is missing")
        if one.status == "partly" and not missing:
            found.append(f"{one.name}: partly, and nothing is said to be missing")
    return found


@pytest.mark.req("DOC-1")
def test_nothing_that_stands_here_is_called_missing() -> None:
    assert stale(requirements(), by_word(marked_tests(), "req")) == []


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ("partly", "Missing: charts, container image, dashboards, traces."),
        ("partly", "Missing: the gate, and a check of a running server."),
        ("partly", "Missing: tests that name the id."),
        ("partly", "It does all."),
        ("built", "It does much. Missing: the rest."),
    ],
)
def test_a_status_that_grew_old_is_noticed(status: str, text: str) -> None:
    assert stale([Requirement("ARC-2", status, text, "docs/spec/arc.md")], {"ARC-2": []})
