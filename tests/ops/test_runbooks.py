"""Pages of operations: each is listed, has its parts, and names a drill that there is.

That the commands, metrics and log lines of these pages exist is looked at by tests/shape/test_docs.py and
tests/lint/test_alerts.py, as for every page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from ops.drills.roster import DRILLS
from tests.shape.pages import ROOT, Page, pages

FOLDER = "ops/runbooks/"
README = f"{FOLDER}README.md"
ROW = re.compile(
    r"^\| \[([\w-]+\.md)\]\(([\w-]+\.md)\) \| [^|]+ \| `make drill NAME=([a-z-]+)` \|$",
    re.MULTILINE,
)
NAMED = re.compile(r"^make drill NAME=([a-z-]+)$", re.MULTILINE)

PARTS = (
    "When", "What you will see", "Steps", "How to know that it worked", "How to go back", "Drill",
)  # fmt: skip
OF_ALERTS = ("See it", "Do", "Do not", "How it ends", "How to go back", "Drill")
"""A page that an alert leads to has its own order; what it ends with is the same."""


def listed(readme: str) -> list[tuple[str, str]]:
    """Page and drill, as the table of operations has them."""
    rows = ROW.findall(readme)
    assert all(shown == link for shown, link, _ in rows)
    return [(link, drill) for _, link, drill in rows]


def runbooks() -> Mapping[str, Page]:
    """All but the list, by file name."""
    return {
        name.removeprefix(FOLDER): page
        for name, page in pages().items()
        if name.startswith(FOLDER) and name != README
    }


def is_of_alert(page: Page) -> bool:
    return "\n## Orch" in page.text


def faults_of(page: Page) -> list[str]:
    """What a page of operations lacks."""
    found = re.findall(r"^## (.+)$", page.prose, re.MULTILINE)
    parts = [part for part in found if not part.startswith("Orch")]
    wanted = list(OF_ALERTS if is_of_alert(page) else PARTS)
    faults = [] if parts == wanted else [f"its parts are {parts}, not {wanted}"]
    drills = NAMED.findall(page.text.partition("\n## Drill\n")[2])
    if not drills:
        faults.append("its last part names no drill")
    return faults + [f"there is no drill {name}" for name in drills if name not in DRILLS]


@pytest.mark.req("DOC-1")
def test_every_runbook_is_in_one_of_the_two_tables() -> None:
    of_operations = {name for name, _ in listed(pages()[README].text)}
    of_alerts = {name for name, page in runbooks().items() if is_of_alert(page)}
    assert of_operations | of_alerts == set(runbooks())


@pytest.mark.req("DOC-1")
def test_the_table_of_operations_is_the_roster_of_drills() -> None:
    assert listed(pages()[README].text) == [(one.page, one.name) for one in DRILLS.values()]


@pytest.mark.req("DOC-1")
@pytest.mark.parametrize("name", sorted({drill.page for drill in DRILLS.values()}))
def test_a_page_of_operations_has_its_parts_and_names_its_drills(name: str) -> None:
    page = runbooks()[name]
    assert faults_of(page) == []
    assert NAMED.findall(page.text) == [one.name for one in DRILLS.values() if one.page == name]


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("## How to go back", "## And back"),
        ("## Steps\n", ""),
        ("NAME=restore", "NAME=restaur"),
        ("make drill", "make check"),
    ],
)
def test_a_page_that_lacks_something_is_noticed(was: str, becomes: str) -> None:
    page = runbooks()["restore.md"]
    assert was in page.text
    assert faults_of(Page(page.name, page.text.replace(was, becomes)))


@pytest.mark.req("DOC-1")
@pytest.mark.parametrize("name", DRILLS)
def test_every_drill_can_be_played_and_says_of_which_page_it_is(name: str) -> None:
    drill = DRILLS[name]
    assert callable(drill.play)
    module = Path(ROOT, "ops", "drills", f"{drill.module}.py")
    first = module.read_text(encoding="utf-8").partition("\n")[0]
    assert f"ops/runbooks/{drill.page}" in first
