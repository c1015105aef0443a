"""Policy is pure: words and decisions import an allow-list, and never wait, read or print.

A ban list is not enough: what nobody thought of passes it. So this is a list of what may come in.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

ALLOWED = frozenset(
    "__future__ base64 bisect collections dataclasses enum fractions functools hashlib heapq hmac ipaddress "
    "itertools json math operator re string types typing orjson pydantic pydantic_core rfc8785 "
    # A calendar is a value too: cronsim computes, zoneinfo reads a table that says the same at every look.
    "cronsim datetime zoneinfo".split()
)
IMPURE_CALLS = frozenset(("__import__", "eval", "exec", "globals", "input", "open", "print"))


def pure_files() -> list[str]:
    found = [*ROOT.glob("contracts/**/*.py"), *ROOT.glob("orch/core/**/*.py")]
    found += ROOT.glob("actors/*/decide.py")
    return sorted(str(path.relative_to(ROOT)) for path in found)


def own_of(path: str) -> tuple[str, ...]:
    """Which of our packages a pure file may import."""
    if path.startswith("contracts/"):
        return ("contracts",)
    if path.startswith("orch/core/"):
        return ("contracts", "orch.core")
    return ("contracts", "orch.core", "orch.adapters.protocol", ".".join(Path(path).parts[:2]))


def imports_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module in ("orch", "actors"):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")


def faults_of(source: str, path: str) -> list[str]:
    tree = ast.parse(source)
    own = own_of(path)
    faults = []
    for line, name in imports_of(tree):
        is_own = any(name == package or name.startswith(package + ".") for package in own)
        if not is_own and name.partition(".")[0] not in ALLOWED:
            faults.append(f"{path}:{line} imports {name}: take the value as an argument instead")
    for node in ast.walk(tree):
        if isinstance(node, ast.Await | ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith):
            faults.append(
                f"{path}:{node.lineno} waits: decide here, wait in the shell (perform.py)"
            )
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in IMPURE_CALLS
        ):
            faults.append(f"{path}:{node.lineno} calls {node.func.id}: return a value instead")
    return faults


@pytest.mark.parametrize("path", pure_files())
def test_words_and_decisions_are_pure(path: str) -> None:
    assert faults_of((ROOT / path).read_text(), path) == []


@pytest.mark.parametrize(
    "source",
    [
        "import secrets",
        "from time import time",
        "import os.path",
        "from orch import store",
        "from orch.store import keys",
        "import actors.gateway",
        "from . import sibling",
        "async def decide(): ...",
        "async def decide():\n    await later()",
        "print('now')",
        "def decide():\n    return open('x')",
    ],
)
def test_an_impure_decision_is_noticed(source: str) -> None:
    assert len(faults_of(source, "actors/reaper/decide.py")) >= 1


def test_a_pure_decision_passes() -> None:
    source = (
        "from orch import core\nfrom contracts import limits\nimport actors.reaper.words\nimport re"
    )
    assert faults_of(source, "actors/reaper/decide.py") == []
