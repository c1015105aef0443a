"""What tests of the workshop take from those of the linter."""

from __future__ import annotations

from tests.lint.conftest import checkout

__all__ = ["checkout"]
