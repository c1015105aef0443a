"""The little git repository that the demo's agents work in: a package with a real bug and its tests.

git is told to ignore everything that belongs to the user: configuration, hooks, templates, `GIT_*`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import anyio

from contracts.errors import ErrorCode, Refused
from orch.demo.agents import coder
from orch.demo.agents.coder import BUG, FIX

CODER: Final = coder.__file__
GIT_ENV: Final = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
AGENT_ENV: Final = {**GIT_ENV, "PYTHONDONTWRITEBYTECODE": "1"}
"""What an agent in the repository gets besides PATH, HOME, LANG and ORCH_*."""

FILES: Final = {
    ".gitignore": "__pycache__/\nfix.patch\n",
    "bill/__init__.py": '"""Bills, shared and tipped."""\n',
    "bill/split.py": f'''\
"""Share a restaurant bill, in cents."""


def split(total_cents, people):
    """What each of `people` pays."""
{BUG}''',
    "test_split.py": """\
import unittest

from bill.split import split


class SplitTest(unittest.TestCase):
    def test_everybody_pays_the_same(self):
        self.assertEqual(split(900, 3), [300, 300, 300])

    def test_no_cent_is_lost(self):
        self.assertEqual(sum(split(1000, 3)), 1000)


if __name__ == "__main__":
    unittest.main()
""",
}


def need_git() -> None:
    """Raises Refused DEPENDENCY_MISSING when there is no git."""
    if shutil.which("git") is None:
        raise Refused(
            ErrorCode.DEPENDENCY_MISSING,
            "git is not on PATH; the demo's coding job works in a git repository",
            hint="Install git (Debian: apt-get install git) and run it again.",
        )


async def make_project(folder: Path, *, has_bug: bool) -> None:
    """A repository with one commit; with the bug its tests fail.

    Raises:
        Refused: DEPENDENCY_MISSING when git cannot make it.
    """
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text if has_bug else text.replace(BUG, FIX))
    await git(folder, "init", "--quiet", "--template=")
    await git(folder, "symbolic-ref", "HEAD", "refs/heads/main")
    await git(folder, "config", "user.name", "Orch demo")
    await git(folder, "config", "user.email", "demo@localhost")
    await git(folder, "add", ".")
    await git(folder, "commit", "--quiet", "--message", "Share a bill")


async def git(folder: Path, *words: str) -> str:
    """The output of one git command.

    Raises:
        Refused: DEPENDENCY_MISSING when it fails; the demo only asks for what every git can.
    """
    done = await anyio.run_process(
        ["git", *words],
        cwd=folder,
        env=_git_environ(),
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode != 0:
        raise Refused(
            ErrorCode.DEPENDENCY_MISSING,
            f"git {words[0]} failed: {done.stdout.decode(errors='replace').strip()}",
            hint="The demo needs a git that works, version 2.20 or newer.",
        )
    return done.stdout.decode(errors="replace")


def _git_environ() -> dict[str, str]:
    return {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ} | GIT_ENV


def coder_step(deed: str, *paths: Path, **more: Any) -> dict[str, Any]:
    """A step in which the coding agent does one deed; its id is the deed's name."""
    argv = [sys.executable, CODER, deed, *map(str, paths)]
    return {"id": deed, "argv": argv, **more}


def tests_step() -> dict[str, Any]:
    """A step that runs the project's tests."""
    return {"id": "verify", "argv": [sys.executable, "-m", "unittest"]}


def steps_job(job_id: str, name: str, folder: Path, steps: list[dict[str, Any]]) -> dict[str, Any]:
    """The spec of a steps job in `folder`, as a user would write it."""
    config = {"cwd": str(folder), "env": AGENT_ENV, "wall_ms": 120_000, "steps": steps}
    return {"id": job_id, "name": name, "adapter": {"name": "steps", "config": config}}
