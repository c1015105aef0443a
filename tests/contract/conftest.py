"""The running system that the contract is held against."""

from __future__ import annotations

from tests.e2e.conftest import stack, start_stack

__all__ = ["stack", "start_stack"]
