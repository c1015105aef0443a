"""A checkout that a test may spoil."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ops.generate import ROOT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A lint file that a test may spoil, and room for dashboards; without code, which takes time to read."""
    shutil.copy(ROOT / "metrics.lint.json", tmp_path)
    return tmp_path


@pytest.fixture
def with_code(checkout: Path) -> Path:
    """As `checkout`, with the code as it is."""
    for folder in ("actors", "orch"):
        (checkout / folder).symlink_to(ROOT / folder)
    return checkout
