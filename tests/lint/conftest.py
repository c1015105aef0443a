"""A checkout that a test may spoil."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ops.generate import ROOT
from orch.lint.document import PATH, document_of


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A lint file that a test may spoil, and room for dashboards of its own; without code, which takes time
    to read."""
    (tmp_path / PATH).write_text(json.dumps(document_of({})))
    return tmp_path


@pytest.fixture
def with_code(checkout: Path) -> Path:
    """As `checkout`, with the code as it is."""
    for folder in ("actors", "orch"):
        (checkout / folder).symlink_to(ROOT / folder)
    return checkout
