"""Linters that are no packages of ours: a test asks one where it is installed, and says so where it is not.

`.github/actions/machine` installs them by hash (requirements-ci.lock), and jobs that test say
ORCH_TEST_LINTERS=here; then one that is missing is a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest


def said_by(tool: str, *words: str) -> tuple[int, str]:
    """Exit code and all it said."""
    found = shutil.which(tool)
    if found is None:
        missing = f"{tool} is not installed: nobody asked it"
        if os.environ.get("ORCH_TEST_LINTERS"):
            pytest.fail(f"{missing}, though this machine promises it")
        pytest.skip(missing)
    done = subprocess.run([found, *words], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr
