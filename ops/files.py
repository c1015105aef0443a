"""How does a generated file get to its place? Whole, or not at all, whatever dies in between.

The text goes to a temporary file, is synced, and takes the name in one rename; then the folder is synced,
so that the name survives a power cut too. The standard library only: a test kills it at each of its lines.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

_LEFT = re.compile(r"\.(?P<name>.+)\.(?P<pid>\d+)\.tmp")


def write_atomically(path: Path, text: str, *, staging: Path | None = None) -> bool:
    """Writes the file as UTF-8; False when it was current.

    `path` may be a symbolic link: what it leads to is replaced. `staging` is where the text is written first,
    by default the file's own folder; it may be on another device.

    Raises:
        OSError, UnicodeError: the file is as it was.
    """
    target = path.resolve()
    if target.exists() and target.read_text(encoding="utf-8") == text:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target)
    temporary = _beside(target, staging)
    try:
        _fill(temporary, text)
        _publish(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync(target.parent)
    return True


def _beside(target: Path, folder: Path | None = None) -> Path:
    return (folder or target.parent) / f".{target.name}.{os.getpid()}.tmp"


def _fill(temporary: Path, text: str) -> None:
    with temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _publish(temporary: Path, target: Path) -> None:
    """One rename; across devices there is none, so a copy beside the target is renamed instead."""
    if target.exists():
        shutil.copymode(target, temporary)
    try:
        temporary.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        near = _beside(target)
        try:
            shutil.copyfile(temporary, near)
            shutil.copymode(temporary, near)
            _sync(near)
            near.replace(target)
        except BaseException:
            near.unlink(missing_ok=True)
            raise
        temporary.unlink()


def _sweep(target: Path) -> None:
    """Removes what writers of this file left beside it when they were killed."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.tmp"):
        found = _LEFT.fullmatch(left.name)
        if found and found["name"] == target.name and not _lives(int(found["pid"])):
            left.unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    with suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
