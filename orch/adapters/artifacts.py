"""Which files of an agent are kept as evidence, and which are refused?

Two ways in: paths a step declares, below its directory, and whatever lies in ORCH_ARTIFACT_DIR. The tree
is dead when its files are read, so nobody swaps them meanwhile.
"""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from contracts import limits
from contracts.outcomes import Outcome, ReasonCode
from orch.adapters.protocol import Desk, Ending


class Refusal(Exception):
    """An artifact that is missing, outside or too much; carries how the attempt ends."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.message)
        self.ending = ending


def _refuse(reason: ReasonCode, message: str, outcome: Outcome = Outcome.LOGIC) -> Refusal:
    return Refusal(Ending(outcome, reason, message))


@contextmanager
def artifact_folder(scratch: Path) -> Iterator[Path]:
    """A fresh, empty ORCH_ARTIFACT_DIR, removed at the end."""
    scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(mkdtemp(prefix="artifacts-", dir=scratch))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def declared(paths: Sequence[str], root: Path) -> list[tuple[str, Path]]:
    """The declared artifacts as (name, file).

    Raises:
        Refusal: one is missing, no regular file, or not below `root` once every link is followed.
    """
    real_root = root.resolve()
    return [(path, _inside(path, real_root)) for path in paths]


def _inside(path: str, root: Path) -> Path:
    relative = Path(path)
    if relative.is_absolute() or ".." in relative.parts:
        raise _refuse(ReasonCode.ARTIFACT, f"artifact {path!r} is not a path below the directory")
    try:
        real = (root / relative).resolve(strict=True)
        mode = real.lstat().st_mode
    except (OSError, RuntimeError):
        raise _refuse(ReasonCode.ARTIFACT, f"artifact {path!r} was not made") from None
    if not real.is_relative_to(root):
        raise _refuse(ReasonCode.ARTIFACT, f"artifact {path!r} leads out of the directory")
    if not stat.S_ISREG(mode):
        raise _refuse(ReasonCode.ARTIFACT, f"artifact {path!r} is not a regular file")
    return real


def dropped(folder: Path) -> list[tuple[str, Path]]:
    """The regular files in ORCH_ARTIFACT_DIR by relative name; links, sockets and pipes are passed over.

    Raises:
        Refusal: there are more than ARTIFACTS_PER_JOB_MAX.
    """
    found: list[tuple[str, Path]] = []
    for path in sorted(folder.rglob("*")):  # rglob does not follow links
        if stat.S_ISREG(path.lstat().st_mode):
            found.append((str(path.relative_to(folder)), path))
        if len(found) > limits.ARTIFACTS_PER_JOB_MAX:
            raise _refuse(
                ReasonCode.ARTIFACT,
                f"more than {limits.ARTIFACTS_PER_JOB_MAX} files in ORCH_ARTIFACT_DIR",
                Outcome.RESOURCE,
            )
    return found


async def record(
    files: Sequence[tuple[str, Path]], desk: Desk, *, step_id: str | None = None
) -> None:
    """Stores each file through the desk.

    Raises:
        Refusal: one is larger than ARTIFACT_BYTES_MAX, or its name too long.
    """
    for name, path in files:
        if len(name) > limits.ARTIFACT_NAME_CHARS_MAX:
            raise _refuse(ReasonCode.ARTIFACT, f"artifact name too long: {name[:80]!r}…")
        if path.stat().st_size > limits.ARTIFACT_BYTES_MAX:
            message = f"artifact {name!r} has more than {limits.ARTIFACT_BYTES_MAX} bytes"
            raise _refuse(ReasonCode.ARTIFACT, message, Outcome.RESOURCE)
        await desk.artifact(name, path, step_id=step_id)
