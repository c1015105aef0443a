"""Files and functions stay small, and no name says nothing."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("contracts", "orch", "actors", "ops", "tests", "bench", "examples")
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
REFUSED_NAMES = frozenset(
    ("utils", "util", "helpers", "helper", "common", "misc", "manager", "base")
)
LUA_FUNCTION = re.compile(r"^(?:local )?function ([\w.]+).*?^end$", re.MULTILINE | re.DOTALL)


def files() -> list[Path]:
    found = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))
    return sorted(path for path in found if path.suffix in (".py", ".lua"))


def functions_of(source: str, suffix: str) -> list[tuple[str, int]]:
    """Name and length of every function."""
    if suffix == ".lua":
        return [
            (found[1], found[0].count("\n") + 1)
            for found in LUA_FUNCTION.finditer(source)
            if "\n" in found[0]
        ]
    return [
        (node.name, (node.end_lineno or 0) - node.lineno + 1)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def faults_of(path: Path, source: str) -> list[str]:
    lines = source.count("\n")
    faults = []
    if lines > FILE_LINES_MAX:
        faults.append(
            f"{path}: {lines} lines, at most {FILE_LINES_MAX}: split by the reader's question"
        )
    faults += [
        f"{path}: {name} has {length} lines, at most {FUNCTION_LINES_MAX}: make it a pipeline of named steps"
        for name, length in functions_of(source, path.suffix)
        if length > FUNCTION_LINES_MAX
    ]
    faults += [
        f"{path}: {part!r} says nothing: name it by what it does or is"
        for part in (*path.parts[:-1], path.stem)
        if part in REFUSED_NAMES
    ]
    return faults


def test_files_and_functions_are_small_and_named() -> None:
    found = [
        fault for path in files() for fault in faults_of(path.relative_to(ROOT), path.read_text())
    ]
    assert found == [], "\n".join(found)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("orch/long.py", "\n" * 401),
        ("orch/long.lua", "\n" * 401),
        ("orch/act.py", "def act():\n" + "    x = 1\n" * 60),
        ("orch/act.py", "class A:\n    async def act(self):\n" + "        x = 1\n" * 60),
        ("orch/act.lua", "local function act(x)\n" + "  x = 1\n" * 59 + "end\n"),
        ("orch/utils.py", ""),
        ("orch/helpers/claim.py", ""),
    ],
    ids=["file", "lua file", "function", "method", "lua function", "file name", "folder name"],
)
def test_what_is_too_long_or_says_nothing_is_noticed(name: str, source: str) -> None:
    assert len(faults_of(Path(name), source)) == 1


def test_what_is_just_short_enough_passes() -> None:
    source = "def act():\n" + "    x = 1\n" * 59 + "\n" * 340
    assert faults_of(Path("orch/act.py"), source) == []
    assert (
        faults_of(Path("orch/act.lua"), "local function act(x)\n" + "  x = 1\n" * 58 + "end\n")
        == []
    )
