"""Which commit is this, and when was it made? That time goes into every file of a release, no other.

SOURCE_DATE_EPOCH is the name that build tools have agreed on: seconds since 1970, from outside or, without
it, of the last commit.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ops.release import ROOT, NotReleasableError

VARIABLE: Final = "SOURCE_DATE_EPOCH"
EPOCH_MIN: Final = 315_532_800
"""1980-01-01: a zip file knows no time before it."""
EPOCH_MAX: Final = 4_354_819_199
"""2107-12-31, the last day of a zip file."""
PROGRAM_S_MAX: Final = 60
PACKED: Final = (
    "contracts", "orch", "actors", "pyproject.toml", "README.md", "LICENSE", ".gitignore",
)  # fmt: skip
"""What a wheel is built from."""


def git(root: Path, *words: str) -> bytes:
    """What git says.

    Raises:
        NotReleasableError: it is missing, says no, or this is no checkout.
    """
    return _said(["git", "-C", str(root), *words])


def _said(words: list[str], given: bytes = b"") -> bytes:
    try:
        done = subprocess.run(
            words, input=given, capture_output=True, check=False, timeout=PROGRAM_S_MAX
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotReleasableError(f"{words[0]} cannot be asked: {error}") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
        raise NotReleasableError(f"{words[0]} says: {said[0]}")
    return done.stdout


def epoch(root: Path = ROOT, environment: Mapping[str, str] = os.environ) -> int:
    """The one time of a release, in seconds since 1970.

    Raises:
        NotReleasableError: the variable holds no such time, or there is neither it nor a commit.
    """
    given = environment.get(VARIABLE, "")
    text = given or git(root, "log", "-1", "--format=%ct").decode().strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise NotReleasableError(f"{VARIABLE} takes seconds since 1970, not {text[:40]!r}")
    if not EPOCH_MIN <= int(text) <= EPOCH_MAX:
        raise NotReleasableError(f"{VARIABLE}={text}: a zip file knows only 1980 to 2107")
    return int(text)


def changes(root: Path = ROOT) -> list[str]:
    """Files that are not as the commit has them, new ones included, as git lists them."""
    return git(root, "status", "--porcelain").decode(errors="replace").splitlines()


def export(root: Path, folder: Path) -> None:
    """Writes what the last commit says a wheel is built from, whatever the working tree holds."""
    packed = git(root, "archive", "--format=tar", "HEAD", *PACKED)
    folder.mkdir(parents=True)
    _said(["tar", "-x", "-C", str(folder)], packed)
