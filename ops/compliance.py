"""COMPLIANCE.md: each requirement, where it stands, and the tests that name it.

The requirements and their states come from docs/spec, the tests from their marks; nothing is run.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ops.marks import ROOT, Marked, by_word, marked_tests

_ROW: Final = re.compile(
    r"^- \*\*([A-Z]{2,4}-\d+)\*\* \*(built|partly|not yet)\*: (.*)$", re.MULTILINE
)
STATUSES: Final = ("built", "partly", "not yet")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One line of docs/spec."""

    name: str
    status: str
    text: str
    page: str


def requirements(root: Path = ROOT) -> list[Requirement]:
    """Every requirement, in the order of the pages' map."""
    pages = root / "docs/spec"
    order = re.findall(r"\]\((\w+\.md)\)", (pages / "README.md").read_text(encoding="utf-8"))
    return [
        Requirement(found[1], found[2], found[3], f"docs/spec/{name}")
        for name in dict.fromkeys(order)
        for found in _ROW.finditer((pages / name).read_text(encoding="utf-8"))
    ]


def invented(asked: Iterable[Requirement], tests: Iterable[Marked]) -> list[str]:
    """Tests that name an id which no page has."""
    known = {one.name for one in asked}
    return [
        f"{test.file}:{test.line}: {test.name} names {word}, which docs/spec does not have"
        for test in tests
        for word in sorted(test.marks.get("req", frozenset()) - known)
    ]


def compliance_page(asked: list[Requirement], tests: Iterable[Marked]) -> str:
    """COMPLIANCE.md.

    Raises:
        ValueError: a test names a requirement that nobody asked for.
    """
    if faults := invented(asked, tests):
        raise ValueError("\n".join(faults))
    proven = by_word(tests, "req")
    return (
        "\n".join([*_head(asked, proven), *_table(asked, proven), *_untested(asked, proven)]) + "\n"
    )


def _head(asked: list[Requirement], proven: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    counts = Counter(one.status for one in asked)
    named = sum(one.name in proven for one in asked)
    summary = ", ".join(f"{counts[status]} {status}" for status in STATUSES)
    yield from (
        "# Compliance",
        "",
        "Each requirement of the [specification](docs/spec/README.md), where it stands, and the tests that",
        'name it with `@pytest.mark.req("…")` or as a tag of a feature. Written by `make generate` from',
        "`docs/spec` and the marks in `tests`. A number counts test functions and scenarios, whatever their",
        "parameters. A test that names a requirement proves something of it; what is missing stands in the",
        "requirement's line.",
        "",
        f"{len(asked)} requirements: {summary}. {named} are named by tests.",
        "",
    )


def _table(asked: list[Requirement], proven: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    yield from ("| id | status | requirement | tests | in |", "| --- | --- | --- | --- | --- |")
    for one in asked:
        files = proven.get(one.name, {})
        where = ", ".join(f"`{file}` {count}" for file, count in files.items()) or "-"
        text = one.text.replace("|", "\\|")
        # A link on a page of docs/spec starts there.
        text = re.sub(r"\]\((?!\w+:)(?:\.\./)?", lambda link: _from_root(link[0]), text)
        yield f"| [{one.name}]({one.page}) | {one.status} | {text} | {sum(files.values())} | {where} |"


def _from_root(start: str) -> str:
    return "](docs/" if "../" in start else "](docs/spec/"


def _untested(asked: list[Requirement], proven: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    yield from ("", "## Named by no test", "")
    bare = [one for one in asked if one.name not in proven]
    yield from (f"- {one.name} ({one.status})" for one in bare)
    if not bare:
        yield "None."


def page() -> str:
    """The page as it should stand now."""
    return compliance_page(requirements(), marked_tests())
