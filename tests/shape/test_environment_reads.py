"""What Orch reads of its environment: only names that a page documents, and the whole only in a few places.

A variable that nobody documented could switch off a check that everybody relies on. So every read by name is
looked up here, and whoever takes the environment as a whole stands in a list with the reason.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from contracts.defaults import DEFAULTS, FOREIGN, LOCATIONS
from contracts.errors import Refused
from orch.settings import _AGENT_NAMES, load_settings
from tests.shape.pages import pages

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDERS: Final = ("contracts", "orch", "actors")
MAPPINGS: Final = frozenset({"environ", "env"})
"""How a mapping of variables is called where it is handed on."""
NAME: Final = re.compile(r"(ORCH|OTEL)_[A-Z0-9_]*[A-Z0-9]")
GETENV: Final = ast.Name("environ", lineno=0)
"""Stands for the mapping that `os.getenv` reads."""
SETTINGS: Final = {row.env for row in DEFAULTS.values()} | {*LOCATIONS}
MARKS: Final = {"ORCH_GUARD", "ORCH_WORKER"}
"""A runner gives them to processes that it starts, to find them again; nobody reads what an operator sets."""
REQUESTS: Final = {("orch/telemetry/serve.py", "PATH_INFO")}
"""WSGI calls a request `environ`."""
WHOLE: Final = {
    "orch/settings.py": "each ORCH_ name in it is a setting, or refused",
    "orch/telemetry/sdk.py": "OpenTelemetry's names, read below by name",
    "orch/telemetry/logs.py": "values under telling names, to strike them out",
    "orch/cli/door.py": "ORCH_URL, ORCH_TOKEN, ORCH_SHARD, TRACEPARENT, read by name in the client",
    "orch/cli/stack.py": "the actors inherit it",
    "orch/adapters/environment.py": "PATH, HOME, LANG, by a list of names",
    "orch/adapters/launch.py": "LD_LIBRARY_PATH, by a list of names",
    "orch/adapters/pool_worker.py": "a callable's changes are taken back",
    "orch/demo/project.py": "PATH and HOME, by a list of names",
    "actors/runner/main.py": "http_env_allowed names them",
    "actors/start.py": "http_env_allowed names them; and OpenTelemetry's, read below by name",
    "actors/supervisor.py": "the actors inherit it",
}


def is_environment(node: ast.expr) -> bool:
    """`os.environ`, or a name under which it is handed on."""
    if isinstance(node, ast.Attribute):
        is_os = isinstance(node.value, ast.Name) and node.value.id == "os"
        return is_os and node.attr in {"environ", "environb"}
    return isinstance(node, ast.Name) and node.id in MAPPINGS


def name_in(node: ast.expr | None) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return None


def read_by(node: ast.AST) -> tuple[ast.expr, ast.expr | None] | None:
    """The mapping and the name of one read, if this is one."""
    match node:
        case ast.Subscript(value=mapping, slice=name):
            return mapping, name
        case ast.Call(func=ast.Attribute(value=mapping, attr="get" | "pop"), args=[name, *_]):
            return mapping, name
        case ast.Compare(left=name, ops=[ast.In() | ast.NotIn()], comparators=[mapping]):
            return mapping, name
        case ast.Call(func=ast.Attribute(value=ast.Name(id="os"), attr="getenv" | "getenvb")):
            return GETENV, node.args[0] if node.args else None
        case _:
            return None


def line_of(node: ast.AST) -> int:
    return int(getattr(node, "lineno", 0))


def reads(source: str) -> Iterator[tuple[int, str | None]]:
    """(line, name) of each read; None is the environment as a whole, or a name that is worked out."""
    tree = ast.parse(source)
    named: set[int] = set()
    for node in ast.walk(tree):
        mapping, name = read_by(node) or (None, None)
        if mapping is not None and is_environment(mapping) and name_in(name) is not None:
            named.add(id(mapping))
            yield line_of(node), name_in(name)
        elif mapping is GETENV:
            yield line_of(node), None
        elif isinstance(node, ast.keyword) and node.arg == "envvar":
            yield node.value.lineno, name_in(node.value)
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            names = {alias.name for alias in node.names}
            if names & {"environ", "environb", "getenv", "getenvb"}:
                yield node.lineno, None
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_environment(node) and id(node) not in named:
            yield node.lineno, None


@cache
def sources() -> dict[str, str]:
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    return {str(path.relative_to(ROOT)): path.read_text() for path in sorted(paths)}


def is_documented(name: str) -> bool:
    if name in SETTINGS | {*FOREIGN} | _AGENT_NAMES | MARKS:
        return True
    return name.startswith("OTEL_") and any(name in page.text for page in pages().values())


def faults_of(path: str, source: str) -> list[str]:
    faults = []
    for line, name in reads(source):
        if name is None and path not in WHOLE:
            faults.append(f"{path}:{line} takes the environment as a whole: name what you read")
        elif name is not None and not is_documented(name) and (path, name) not in REQUESTS:
            faults.append(f"{path}:{line} reads {name}, which no page documents")
    return faults


@pytest.mark.req("SIM-5", "CFG-1")
def test_orch_reads_no_variable_that_is_not_documented() -> None:
    found = sources()
    assert [fault for path, text in found.items() for fault in faults_of(path, text)] == []
    for path in WHOLE:
        assert None in {name for _, name in reads(found[path])}, f"{path} does so no more"


@pytest.mark.req("SIM-5", "CFG-1")
def test_every_name_of_ours_in_the_code_is_documented() -> None:
    undocumented = {
        f"{path}:{node.lineno} {node.value}"
        for path, text in sources().items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and NAME.fullmatch(node.value)
        and not is_documented(node.value)
    }
    assert undocumented == set()


@pytest.mark.req("SIM-5")
@pytest.mark.parametrize(
    "planted",
    [
        'os.environ.get("ORCH_NO_AUTH")',
        'os.environ["UNSAFE"]',
        'if "SKIP_TLS" in os.environ: pass',
        'if "SKIP_TLS" not in environ: pass',
        'os.getenv("DEBUG")',
        "os.getenv(name)",
        'os.environb.get(b"X")',
        "from os import environ",
        "run(env=os.environ)",
        'os.environ.get("ORCH_" + name)',
        "options = {**os.environ}",
        'typer.Option(envvar="ANYTHING")',
        'env.pop("ALLOW_ALL", None)',
    ],
)
def test_a_planted_read_is_found(planted: str) -> None:
    (fault, *_) = faults_of("orch/planted.py", planted)
    assert fault.startswith("orch/planted.py:1 ")


@pytest.mark.req("SIM-5", "CFG-2")
def test_a_name_like_ours_is_a_setting_or_refused_or_changes_nothing(tmp_path: Path) -> None:
    plain = load_settings(home=tmp_path, environ={})
    for name in ("ORCH_NO_AUTH", "ORCH_UNSAFE", "ORCH_SKIP_CHECKS", "ORCH_SLOT"):
        with pytest.raises(Refused):
            load_settings(home=tmp_path, environ={name: "1"})
    for name in ("ORCH_TEST_NO_AUTH", "ORCH_SIM_X", "ORCH_CHAOS_X", *MARKS & _AGENT_NAMES):
        assert load_settings(home=tmp_path, environ={name: "1"}) == plain
