"""`python -m ops.release.wheel`: dist/orch-<version>-….whl, the same bytes wherever this commit is built.

Built by the backend that pyproject.toml names, as pip would, with nothing of the machine in it: the one time
is the commit's, files are sorted, modes are plain. What stays is the zlib of the Python that builds: another
one may compress otherwise, and then the packed bytes differ, not the files (docs/releasing.md).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Final

from ops.release import DIST, ROOT, NotReleasableError, ended
from ops.release.commit import VARIABLE, changes, epoch

BUILD_S_MAX: Final = 120
_HOOK: Final = (
    "import importlib, sys\n"
    "backend = importlib.import_module(sys.argv[1])\n"
    "backend.build_wheel(sys.argv[2])\n"
)
"""PEP 517: the backend is asked in a process of its own that stands in the source."""


def build(source: Path, folder: Path, *, seconds: int) -> Path:
    """Builds the wheel of `source` into `folder`, and takes away older ones there.

    `seconds` is the time of every file in it. A build that fails leaves the folder as it was.

    Raises:
        NotReleasableError: the backend failed; its last line says why.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".wheel-") as fresh:
        _run_backend(source, Path(fresh), seconds)
        built = list(Path(fresh).glob("*.whl"))
        if len(built) != 1:
            raise NotReleasableError(f"the backend left {len(built)} wheels, not one")
        for old in folder.glob("orch-*.whl"):
            old.unlink()
        return built[0].replace(folder / built[0].name)


def _run_backend(source: Path, folder: Path, seconds: int) -> None:
    project = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))
    words = [sys.executable, "-P", "-c", _HOOK, project["build-system"]["build-backend"]]
    try:
        done = subprocess.run(
            [*words, str(folder.resolve())],
            cwd=source,
            env={**os.environ, VARIABLE: str(seconds)},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=BUILD_S_MAX,
        )
    except subprocess.TimeoutExpired as error:
        raise NotReleasableError(f"the backend took longer than {BUILD_S_MAX} s") from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["nothing"]
        raise NotReleasableError(f"the backend failed: {said[-1]}")


def _act() -> None:
    wheel = build(ROOT, DIST, seconds=epoch())
    sys.stdout.write(f"{wheel.relative_to(ROOT)}\n")
    if changes():
        sys.stdout.write("built from a tree with changes: no commit gives these bytes\n")


if __name__ == "__main__":
    sys.exit(ended(_act))
