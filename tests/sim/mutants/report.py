"""What the hunt showed: a table for people and build/mutants.json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import orjson

from tests.sim.mutants.catalogue import Mutant
from tests.sim.mutants.hunt import Search

TARGET = Path(__file__).parents[3] / "build" / "mutants.json"
MEDIAN_SEEDS_MAX = 200
"""One that needs more is caught, but so seldom that an invariant or a fault seems to be missing."""


@dataclass(frozen=True, slots=True)
class Row:
    """One mutant on one tier."""

    mutant: Mutant
    tier: str
    searches: Sequence[Search]

    @property
    def caught(self) -> bool:
        """In every try."""
        return all(search.found for search in self.searches)

    @property
    def median(self) -> float:
        """Seeds that a try took; a try that caught nothing took all it had."""
        return median(search.taken for search in self.searches)

    @property
    def kinds(self) -> str:
        """What it was noticed as, the usual first."""
        counted = Counter(found.kind for search in self.searches for found in search.found)
        return " ".join(kind for kind, _ in counted.most_common())

    @property
    def seeds(self) -> str:
        """Of each try."""
        return " ".join(f"{s.taken}" if s.found else f">{s.taken}" for s in self.searches)


def table(rows: Sequence[Row], true_code: Sequence[Search]) -> str:
    """A line for each mutant and tier."""
    lines = [f"{'mutant':34}{'tier':6}{'median':>7}  {'seeds of each try':24}noticed as"]
    for row in rows:
        mark = "" if row.median <= MEDIAN_SEEDS_MAX else f"  more than {MEDIAN_SEEDS_MAX}"
        seen = f"{row.kinds}{mark}" if row.caught else f"{row.kinds}  NOT CAUGHT IN EVERY TRY"
        lines.append(f"{row.mutant.name:34}{row.tier:6}{row.median:>7.0f}  {row.seeds:24}{seen}")
    for search in true_code:
        lines.append(
            f"true code ({search.tier}): {search.taken} of the seeds that noticed something, "
            f"{len(search.found)} failed"
        )
        lines += [f"  seed {one.seed} {one.kind}: {one.what[:300]}" for one in search.found]
    return "\n".join(lines)


def write_report(
    rows: Sequence[Row], true_code: Sequence[Search], *, seed: int, target: Path = TARGET
) -> None:
    """Writes it, making the folder."""
    document = {
        "seed": seed,
        "median_seeds_max": MEDIAN_SEEDS_MAX,
        "mutants": [
            {
                "name": row.mutant.name,
                "stands_for": row.mutant.stands_for,
                "tier": row.tier,
                "caught": row.caught,
                "median_seeds": row.median,
                "tries": [
                    {
                        "first_seed": search.seeds[0],
                        "seeds": search.taken,
                        "found": search.found[0]._asdict() if search.found else None,
                    }
                    for search in row.searches
                ],
            }
            for row in rows
        ],
        "true_code": [
            {
                "tier": search.tier,
                "seeds": search.taken,
                "failed": [found._asdict() for found in search.found],
            }
            for search in true_code
        ],
    }
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
