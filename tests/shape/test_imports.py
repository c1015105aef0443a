"""Imports run one way; the linter's rules are in pyproject.toml, and each is shown to bite."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("contracts", "orch", "actors")

# What is wrong: the contract that notices (how its name begins), the file, the line that breaks it.
BREAKS = {
    "contracts import orch": ("one way", "contracts/limits.py", "import orch.ports"),
    "orch imports actors": ("one way", "orch/ports.py", "import actors"),
    "ports import a store": ("inside orch", "orch/ports.py", "import orch.store"),
    "a module of orch without a place": ("inside orch", "orch/toolbox.py", ""),
    "siblings import each other": ("inside orch", "orch/store/embedded.py", "import orch.blobs"),
    "roles import each other": (
        "inside actors",
        "actors/reaper/__init__.py",
        "import actors.gateway",
    ),
    "a module of actors without a place": ("inside actors", "actors/toolbox.py", ""),
    "a client speaks Redis": ("only orch.store", "orch/client/extra.py", "import redis"),
    "an actor speaks Redis": ("only orch.store", "actors/gateway/extra.py", "import redis"),
    "contracts read the clock": ("contracts and core", "contracts/limits.py", "import time"),
    "core takes chance": ("contracts and core", "orch/core/extra.py", "import secrets"),
    "the command line opens a store": (
        "the command line",
        "orch/cli/extra.py",
        "import orch.store",
    ),
    "a cycle": ("no cycles", "contracts/errors.py", "import contracts.ids"),
}


def lint(where: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [program, "--no-logo", "--no-cache"], cwd=where, capture_output=True, text=True, check=False
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the packages that a test may spoil; every folder of `orch` and `actors` is a package."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in PACKAGES:
        ignore = shutil.ignore_patterns("__pycache__", "*.lua", "*.json")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignore)
    return tmp_path


def test_every_import_follows_the_rules() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("wrong", BREAKS)
def test_a_broken_rule_is_noticed(copy: Path, wrong: str) -> None:
    rule, name, line = BREAKS[wrong]
    path = copy / name
    path.parent.mkdir(exist_ok=True)
    (path.parent / "__init__.py").touch()
    with path.open("a") as file:
        file.write(f"\n{line}\n")
    said = " ".join(lint(copy).stdout.split())
    assert re.search(rf"{rule}[^.]*? BROKEN", said), said
