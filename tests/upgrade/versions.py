"""Which two versions meet: this checkout, and another one whose packages lie in a folder of their own.

The other is an older commit, or the same code under another library hash: one comment more in a Lua file and
another version string, which is all that two versions need to be strangers to each other's functions.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

TREE: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = ("contracts", "orch", "actors")
_ASK: Final = """
import json
from contracts.defaults import DEFAULTS
from orch import __version__
from orch.store.library import SCHEMA, library
print(json.dumps([__version__, library().name, SCHEMA, sorted(DEFAULTS)]))
"""


@dataclass(frozen=True, slots=True)
class Version:
    """Packages in a folder, and what they say of themselves."""

    label: str
    tree: Path
    version: str
    library: str
    """Name of its function library."""
    schema: int
    settings: frozenset[str]

    @property
    def removes_libraries(self) -> bool:
        """Whether its reaper removes what nobody uses."""
        return "library_keep_ms" in self.settings

    def environ(self, home: Path) -> dict[str, str]:
        """For a process of this version: its packages come before any that are installed."""
        kept = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
        return {**kept, "HOME": str(home), "PYTHONPATH": str(self.tree)}


def version_in(tree: Path, label: str) -> Version:
    """What lies in this folder, as a process of it says."""
    words = [sys.executable, "-P", "-c", _ASK]
    env = {**os.environ, "PYTHONPATH": str(tree)}
    said = subprocess.run(words, env=env, cwd=tree, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    version, library, schema, settings = json.loads(said.stdout)
    return Version(label, tree, version, library, schema, frozenset(settings))


def this_version() -> Version:
    """The checkout that these tests belong to."""
    return version_in(TREE, "this")


def twin(folder: Path) -> Version:
    """The same code under another hash."""
    ignore = shutil.ignore_patterns("__pycache__")
    for name in PACKAGES:
        shutil.copytree(TREE / name, folder / name, ignore=ignore)
    with (folder / "orch/store/functions/shared.lua").open("a", encoding="utf-8") as lua:
        lua.write("-- The same code under another hash.\n")
    init = folder / "orch/__init__.py"
    text = init.read_text(encoding="utf-8")
    assert '__version__ = "' in text
    init.write_text(text.replace('__version__ = "', '__version__ = "0.twin.', 1), encoding="utf-8")
    return version_in(folder, "twin")


def of_commit(folder: Path, ref: str) -> Version:
    """What the packages were at a commit, a branch or a tag.

    Raises:
        LookupError: there is no such thing here.
    """
    words = ["git", "-C", str(TREE), "archive", "--format=tar", ref, *PACKAGES]
    packed = subprocess.run(words, capture_output=True, check=False)
    if packed.returncode != 0:
        raise LookupError(packed.stderr.decode(errors="replace").strip())
    with tarfile.open(fileobj=BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return version_in(folder, ref)


def last_tag() -> str | None:
    """The last release, as far as this checkout knows of any."""
    if shutil.which("git") is None:
        return None
    words = ["git", "-C", str(TREE), "describe", "--tags", "--abbrev=0"]
    said = subprocess.run(words, capture_output=True, text=True, check=False)
    return said.stdout.strip() or None if said.returncode == 0 else None


def other_version(folder: Path, ref: str | None) -> Version:
    """That commit; without one the last release; before there is any, this code under another hash."""
    folder.mkdir(parents=True)
    chosen = ref or last_tag()
    return twin(folder) if chosen is None else of_commit(folder, chosen)
