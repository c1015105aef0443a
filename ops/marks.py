"""What do the tests say of themselves? Their marks, read from the sources without running or importing any.

A mark counts wherever it stands: above a function or a class, in `pytestmark`, in `pytest.param`. Tags of
feature files are requirements too.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
_TAG: Final = re.compile(r"@([A-Z]+-\d+)\b")


@dataclass(frozen=True, slots=True)
class Marked:
    """One test, or one scenario, and the words of its marks: `req` and `drives`."""

    file: str
    line: int
    name: str
    marks: Mapping[str, frozenset[str]]
    fixtures: frozenset[str] = frozenset()
    """What the test asks for by name."""


@cache
def marked_tests(root: Path = ROOT) -> tuple[Marked, ...]:
    """Every test below `tests/`, by file and line."""
    found: list[Marked] = []
    for path in sorted((root / "tests").rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.suffix == ".py" and path.name.startswith("test_"):
            found += functions_of(name, path.read_text(encoding="utf-8"))
        elif path.suffix == ".feature":
            found += scenarios_of(name, path.read_text(encoding="utf-8"))
    return tuple(found)


def by_word(tests: Iterable[Marked], mark: str) -> dict[str, dict[str, int]]:
    """Word of a mark -> file -> how many of its tests have it; files in order."""
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    for test in tests:
        for word in test.marks.get(mark, ()):
            counts[word][test.file] = counts[word].get(test.file, 0) + 1
    return {word: dict(sorted(files.items())) for word, files in counts.items()}


# ---------------------------------------------------------------- one file


def functions_of(file: str, source: str) -> Iterator[Marked]:
    """The test functions of a module."""
    body = ast.parse(source).body
    yield from _tests_in(file, body, _words(_pytestmarks(body)))


Words = Mapping[str, frozenset[str]]


def _tests_in(file: str, body: Iterable[ast.stmt], around: Words) -> Iterator[Marked]:
    for node in body:
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            inside = _words([*node.decorator_list, *_pytestmarks(node.body)])
            yield from _tests_in(file, node.body, _joined(around, inside))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(
            "test"
        ):
            fixtures = frozenset(one.arg for one in node.args.args)
            marks = _joined(around, _words(node.decorator_list))
            yield Marked(file, node.lineno, node.name, marks, fixtures)


def _pytestmarks(body: Iterable[ast.stmt]) -> list[ast.expr]:
    return [
        node.value
        for node in body
        if isinstance(node, ast.Assign)
        and any(
            isinstance(target, ast.Name) and target.id == "pytestmark" for target in node.targets
        )
    ]


def _words(nodes: Iterable[ast.expr]) -> Words:
    """Words of all `pytest.mark.<name>("word", …)` in these expressions."""
    found: dict[str, set[str]] = defaultdict(set)
    for node in nodes:
        for one in ast.walk(node):
            if isinstance(one, ast.Call) and ast.unparse(one.func).startswith("pytest.mark."):
                words = {str(a.value) for a in one.args if isinstance(a, ast.Constant)}
                found[ast.unparse(one.func).removeprefix("pytest.mark.")] |= words
    return {name: frozenset(words) for name, words in found.items()}


def _joined(one: Words, other: Words) -> Words:
    return {
        name: one.get(name, frozenset()) | other.get(name, frozenset()) for name in {*one, *other}
    }


def scenarios_of(file: str, text: str) -> Iterator[Marked]:
    """The scenarios of a feature file, with the tags of the feature."""
    of_feature: frozenset[str] = frozenset()
    waiting: frozenset[str] = frozenset()
    for number, line in enumerate(text.splitlines(), 1):
        words = line.strip()
        if words.startswith("@"):
            waiting |= frozenset(_TAG.findall(words))
        elif words.startswith("Feature:"):
            of_feature, waiting = waiting, frozenset()
        elif words.startswith("Scenario"):
            name = words.partition(":")[2].strip()
            yield Marked(file, number, name, {"req": of_feature | waiting})
            waiting = frozenset()
