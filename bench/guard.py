"""`python -m bench.guard [RESULTS]`: fails when a ratio got worse than the kept one by more than its margin.

Kept ratios stand in perf/ratios.json with the margin of each, a share of the kept value. Only ratios of rows
of one run are compared, never times: another machine gives other times and, if it is quiet, the same ratios.
--accept   keeps the ratios of RESULTS instead; margins that are there stay
Exit code: 0 as good as kept, 1 worse, 3 the run was too noisy to tell.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.environments import ROOT
from bench.ratios import TARGETS

KEPT: Final = ROOT / "perf" / "ratios.json"
RESULTS: Final = ROOT / "bench" / "results" / "latest.json"
MARGIN: Final = 0.25
"""Of a ratio that has none of its own: shared machines move ratios of two medians by a fifth."""
WORSE: Final = 1
NOISY: Final = 3


@dataclass(frozen=True, slots=True)
class Compared:
    """One ratio, now and as it was kept."""

    name: str
    now: float
    kept: float
    margin: float
    more_is_better: bool

    @property
    def bound(self) -> float:
        """The worst value that is still as good."""
        return self.kept * (1 - self.margin if self.more_is_better else 1 + self.margin)

    @property
    def is_worse(self) -> bool:
        """Beyond its margin."""
        return self.now < self.bound if self.more_is_better else self.now > self.bound

    def line(self) -> str:
        """For the terminal."""
        word = "WORSE" if self.is_worse else "as good"
        return f"{self.name}: {self.now:.3g}, kept {self.kept:.3g}, bound {self.bound:.3g}: {word}"


def compared(ratios: Mapping[str, Any], kept: Mapping[str, Any]) -> list[Compared]:
    """The ratios that both have, in the order of the targets."""
    return [
        Compared(
            target.name,
            ratios[target.name]["value"],
            kept[target.name]["value"],
            kept[target.name]["margin"],
            more_is_better=target.bound != "at most",
        )
        for target in TARGETS
        if target.name in ratios and target.name in kept
    ]


def accepted(ratios: Mapping[str, Any], kept: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """What is kept from now on; a ratio that this run did not measure stays as it is."""
    new = {
        name: {"value": row["value"], "margin": kept.get(name, {}).get("margin", MARGIN)}
        for name, row in ratios.items()
    }
    return {**kept, **new}


def _write(kept: Mapping[str, Any]) -> None:
    KEPT.write_text(json.dumps(dict(sorted(kept.items())), indent=1) + "\n")


def main() -> int:
    """Compares or accepts; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.guard", description=__doc__)
    parser.add_argument("results", type=Path, nargs="?", default=RESULTS)
    parser.add_argument("--accept", action="store_true", help="keep these ratios from now on")
    options = parser.parse_args()
    found = json.loads(options.results.read_text())
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    if found["noisy"]:
        print("guard: the run was too noisy to tell; nothing is compared or kept")
        return NOISY
    if options.accept:
        _write(accepted(found["ratios"], kept))
        return 0
    rows = compared(found["ratios"], kept)
    print("\n".join(row.line() for row in rows))
    return WORSE if any(row.is_worse for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
