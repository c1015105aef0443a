"""What the linter says, in one line a fault."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from orch.lint.run import lint_metrics


def said(root: Path, rule: str, scrapes: Mapping[str, str] = {}, **more: bool) -> list[str]:
    faults = lint_metrics(root, scrapes, **more).faults
    assert all(fault.fix for fault in faults)
    return [f"{one.where}: {one.message} | {one.fix}" for one in faults if one.rule == rule]
