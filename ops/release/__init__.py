"""How does a commit become files that a stranger can check? docs/releasing.md tells it for people.

`commit` gives the time that goes into every file, `wheel` builds, `locked` reads what we ship besides our own
code, `licences` judges it, `sbom` lists it, `checksums` adds it all up, and `gate` is the last look.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
DIST: Final = ROOT / "dist"
"""Where a release is laid out; what lies there goes out."""


class NotReleasableError(Exception):
    """What stands in the way, one line a fault. Nothing was written, or what was written is whole."""


def ended(act: Callable[[], None]) -> int:
    """The exit code of a program of this package: faults on stderr and 1, or 0."""
    try:
        act()
    except NotReleasableError as error:
        sys.stderr.writelines(f"orch: {line}\n" for line in str(error).splitlines())
        return 1
    return 0
