"""`python -m ops.release.checksums`: dist/SHA256SUMS over all of dist/, as `sha256sum --check` reads it."""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path
from typing import Final

from ops.files import write_atomically
from ops.release import DIST, NotReleasableError, ended

NAME: Final = "SHA256SUMS"
FILES_MAX: Final = 100
_LINE: Final = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9][A-Za-z0-9._+-]*)")


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests(folder: Path) -> dict[str, str]:
    """File -> SHA-256 of what goes out, by name.

    Raises:
        NotReleasableError: nothing there, too much, or something that is no file with a plain name.
    """
    paths = sorted(path for path in _listed(folder) if path.name != NAME)
    strange = [path.name for path in paths if path.is_symlink() or not path.is_file()]
    strange += [path.name for path in paths if not _LINE.fullmatch(f"{'0' * 64}  {path.name}")]
    if strange:
        raise NotReleasableError(f"{folder.name}/ holds what cannot go out: {sorted(set(strange))}")
    if not 0 < len(paths) <= FILES_MAX:
        raise NotReleasableError(f"{folder.name}/ holds {len(paths)} files, not 1 to {FILES_MAX}")
    return {path.name: digest_of(path) for path in paths}


def _listed(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def text_of(sums: dict[str, str]) -> str:
    """The file: one line each, two blanks between."""
    return "".join(f"{digest}  {name}\n" for name, digest in sums.items())


def faults(folder: Path) -> list[str]:
    """Where the file of checksums and the folder disagree."""
    path = folder / NAME
    if not path.is_file():
        return [f"{NAME} is missing: make checksums"]
    lines = path.read_text(encoding="utf-8").splitlines()
    bad = [f"{NAME}: {line[:80]!r} is no line of it" for line in lines if not _LINE.fullmatch(line)]
    told = {found[2]: found[1] for line in lines if (found := _LINE.fullmatch(line))}
    there = digests(folder)
    bad += [f"{name} is not in {NAME}: make checksums" for name in there.keys() - told.keys()]
    bad += [f"{name} is in {NAME} and not in {folder.name}/" for name in told.keys() - there.keys()]
    changed = {name for name in told.keys() & there.keys() if told[name] != there[name]}
    return sorted(bad + [f"{name} has changed since {NAME} was written" for name in changed])


def _act() -> None:
    sums = digests(DIST)
    write_atomically(DIST / NAME, text_of(sums))
    sys.stdout.write(text_of(sums))


if __name__ == "__main__":
    sys.exit(ended(_act))
