"""Is every metric made where the contract says, and no other? Read from the source's syntax, not words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

from orch.lint.fault import Fault

_NAME: Final = re.compile(r"(orch|process)(_[a-z0-9]+)+")
_FOLDERS: Final = ("actors", "orch")
_SELF: Final = "orch/lint"
_MAKERS: Final = frozenset(
    {"counter", "gauge", "histogram", "read", "counted_elsewhere", "counted_by"}
)


def faults_of(document: Any, root: Path) -> Iterator[Fault]:
    """Compares the rows with the code below `root`."""
    made = names_made(root)
    rows = {row["name"]: row for row in document["metrics"]}
    for name, row in rows.items():
        site = row["emitted_by"]
        if site in made.get(name, ()):
            continue
        places = ", ".join(sorted(made.get(name, ())))
        fix = (
            f"Set emitted_by to {places} in contracts/metrics.py."
            if places
            else f"Make it in {site}, or take its row out of contracts/metrics.py."
        )
        message = (
            f"{site} does not use it" if (root / site).is_file() else f"there is no file {site}"
        )
        yield Fault("site", name, message, fix)
    for name in sorted(made.keys() - rows.keys()):
        places = ", ".join(sorted(made[name]))
        fix = "Give it a row in contracts/metrics.py."
        yield Fault("site", name, f"is made in {places} and stands in no contract", fix)


def names_made(root: Path) -> dict[str, set[str]]:
    """Metric -> files that make it: by a call of `Metrics`, or from a table of names in such a file."""
    made: dict[str, set[str]] = {}
    for folder in _FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            place = path.relative_to(root).as_posix()
            if not place.startswith(_SELF):
                for name in _names_in(path.read_text(encoding="utf-8")):
                    made.setdefault(name, set()).add(place)
    return made


@cache
def _names_in(source: str) -> set[str]:
    if "orch_" not in source and "process_" not in source:
        return set()
    tree = ast.parse(source)
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in _MAKERS and node.args:
                found |= _literals(node.args[0])
        elif isinstance(node, ast.Tuple | ast.Set):
            found |= {name for element in node.elts for name in _literals(element)}
    return found


def _literals(node: ast.expr) -> set[str]:
    value = node.value if isinstance(node, ast.Constant) else None
    return {value} if isinstance(value, str) and _NAME.fullmatch(value) else set()
