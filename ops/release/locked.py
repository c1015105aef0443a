"""What do we ship besides our own code? The packages of requirements.lock, and what installed ones say.

The lock is the truth: a package that is not installed here (another Python, another system) is still shipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Final
from urllib.parse import quote

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from ops.release import ROOT, NotReleasableError

LOCK: Final = ROOT / "requirements.lock"
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_PINNED: Final = re.compile(r"==[^*,=]+")


@dataclass(frozen=True, slots=True)
class Locked:
    """A package at the one version that is shipped."""

    name: str
    """As the package index spells it: lower case, dashes."""
    version: str
    marker: str
    """Where it is installed; empty: everywhere."""
    hashes: tuple[str, ...]
    """SHA-256 of each file that the lock accepts (source, wheels by platform), sorted."""

    @property
    def purl(self) -> str:
        """The package in one word: a package URL."""
        return f"pkg:pypi/{self.name}@{quote(self.version, safe='')}"


def locked(path: Path = LOCK) -> list[Locked]:
    """The packages of a lock file, by name.

    Raises:
        NotReleasableError: an entry is not one version with hashes.
    """
    entries = path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    return sorted((_entry(one) for one in entries if one.strip()), key=lambda one: one.name)


def _entry(text: str) -> Locked:
    head, _, _ = text.partition(" --hash=")
    try:
        need = Requirement(head.strip())
    except InvalidRequirement as error:
        raise NotReleasableError(f"the lock has an entry that is none: {head[:80]!r}") from error
    hashes = tuple(sorted(_HASH.findall(text)))
    if need.url or not _PINNED.fullmatch(str(need.specifier)) or not hashes:
        raise NotReleasableError(f"{need.name} is not locked to one version with hashes")
    version = str(need.specifier).removeprefix("==")
    return Locked(canonicalize_name(need.name), version, str(need.marker or ""), hashes)


def installed(path: list[str] | None = None) -> dict[str, Distribution]:
    """Name -> what is installed; of two the one that imports would find. `path`: folders to look in."""
    found: dict[str, Distribution] = {}
    every: Iterable[Distribution] = distributions() if path is None else distributions(path=path)
    for one in every:
        if name := field(one, "Name"):
            found.setdefault(canonicalize_name(name), one)
    return found


def field(one: Distribution, name: str) -> str:
    """A field of a distribution's metadata; empty without it."""
    values = one.metadata.get_all(name) or [""]
    return str(values[0]).strip()


def needs(one: Distribution) -> list[str]:
    """The names of what a distribution asks for on some platform, without what only an extra asks for."""
    asked = (Requirement(text) for text in one.requires or ())
    wanted = (need for need in asked if "extra" not in str(need.marker or ""))
    return sorted({str(canonicalize_name(need.name)) for need in wanted})
