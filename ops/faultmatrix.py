"""Which fault happened how often, and what was broken by it? `python -m ops.faultmatrix build/*.json`.

Sums what `make sim` and `make chaos` wrote and prints the fault matrix in Markdown: how often each fault took
effect, on each proving ground, and the violations that are charged to it. Keep a copy of each build/sim.json:
the next run writes it anew. A file of a format that is not known here, or the same run twice, is refused.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

PLACES: Final = ("fast", "lua", "sim", "chaos")
"""Proving grounds. `sim`: of a simulation whose file does not say on which of its two tiers."""
KINDS: Final = (
    "lost", "double", "undetected", "orphan", "stuck", "broken", "index", "past_lease",
)  # fmt: skip
"""Violations. The simulation tells an index as `broken` and an act past a lease as `double`."""
NEVER_COUNTED: Final = "-"
"""Of a fault that a proving ground does not have."""
_SPELLED: Final = {"orphans": "orphan"}
_SIM: Final = frozenset(("seed", "schedules", "counted", "failed", "faults"))
_TIERS: Final = "tiers"
_TIER: Final = frozenset(("schedules", "counted", "faults"))
_CHAOS: Final = frozenset(("seed", "on", "minutes", "faults", "recovery", "jobs", "runs"))
_SUMMED: Final = frozenset(("count", "lost", "double", "undetected", "orphans"))
"""A row of a simulation of both tiers: `lost` has what was stuck, and what was broken is not told."""
_SIM_KINDS: Final = frozenset(("lost", "double", "undetected", "orphan", "stuck", "broken"))
_READ: Final = (
    "A violation is charged to every fault of its run (simulation) or around it (chaos): a fault whose"
    " violations are all 0 was survived as often as it happened. The simulation tells an index as broken and"
    " an act past a lease as double."
)
_UNSPLIT: Final = (
    "`sim` is of files that do not tell the tiers apart: there lost has what was stuck, and what was broken"
    " is seen only in the schedules that failed."
)


class UnknownFormat(Exception):
    """A file is not what `make sim` or `make chaos` writes; the message says where it differs."""


@dataclass(slots=True)
class Matrix:
    """Sums of any number of files."""

    times: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """Proving ground -> fault -> how often it took effect."""
    found: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """Fault -> kind of violation -> how many were charged to it."""
    schedules: Counter[str] = field(default_factory=Counter)
    """Of the simulation, by proving ground; those that failed are `failed`."""
    chaos_minutes: float = 0.0
    runs: list[Mapping[str, Any]] = field(default_factory=list)
    """The documents themselves."""

    def add(self, document: object) -> None:
        """One file more.

        Raises:
            UnknownFormat: it is no such document, or is in the sums already; nothing was added.
        """
        if not isinstance(document, dict):
            raise UnknownFormat("it is no JSON object")
        if document in self.runs:
            raise UnknownFormat("the same run is given twice")
        names = document.keys()
        if names == _CHAOS:
            rows = {"chaos": _rows(document["faults"], {"count", *_chaos_kinds()})}
        elif names == _SIM:
            rows = {"sim": _rows(document["faults"], _SUMMED)}
        elif names == _SIM | {_TIERS}:
            rows = dict(_tiers(document[_TIERS]))
        else:
            raise UnknownFormat(f"its keys are {sorted(names)}")
        _check_sums(document)
        self._count_runs(document)
        self.runs.append(document)
        for place, faults in rows.items():
            self._count_faults(place, faults)

    def _count_faults(self, place: str, faults: Mapping[str, Mapping[str, int]]) -> None:
        for fault, row in faults.items():
            self.times[place][fault] += row["count"]
            charged = {_SPELLED.get(kind, kind): n for kind, n in row.items() if kind != "count"}
            self.found[fault].update(charged)

    def _count_runs(self, document: Mapping[str, Any]) -> None:
        if document.keys() == _CHAOS:
            self.chaos_minutes += document["minutes"]
            return
        self.schedules["failed"] += len(document["failed"])
        tiers = document.get(_TIERS) or {"sim": document}
        for place, told in tiers.items():
            self.schedules[place] += told["schedules"]


def _check_sums(document: Mapping[str, Any]) -> None:
    told = [document, *document.get(_TIERS, {}).values()]
    fits = all(type(one.get("schedules", 0)) is int for one in told)
    fits = fits and type(document.get("failed", [])) is list
    if not fits or type(document.get("minutes", 0)) not in (int, float):
        raise UnknownFormat("its schedules, failed or minutes are not what they should be")


def _chaos_kinds() -> Iterator[str]:
    return ("orphans" if kind == "orphan" else kind for kind in KINDS)


def _tiers(found: object) -> Iterator[tuple[str, dict[str, dict[str, int]]]]:
    if not isinstance(found, dict) or not found.keys() <= set(PLACES):
        raise UnknownFormat(f"its tiers are {found!r:.100}")
    for tier, told in found.items():
        if not isinstance(told, dict) or told.keys() != _TIER:
            raise UnknownFormat(f"tier {tier} is {told!r:.100}")
        yield tier, _rows(told["faults"], {"count", *_SIM_KINDS})


def _rows(faults: object, columns: Iterable[str]) -> dict[str, dict[str, int]]:
    """The rows, each of which has exactly these columns."""
    if not isinstance(faults, dict):
        raise UnknownFormat(f"its faults are {faults!r:.100}")
    for fault, row in faults.items():
        if not isinstance(row, dict) or row.keys() != set(columns):
            raise UnknownFormat(f"the row of fault {fault} is {row!r:.200}")
        if not all(type(number) is int for number in row.values()):
            raise UnknownFormat(f"the row of fault {fault} has something else than numbers")
    return faults


# -- how it is printed


def markdown(matrix: Matrix) -> str:
    """The table, and below it what was run."""
    places = [place for place in PLACES if place in matrix.times]
    heads = ["fault", *places, *(kind.replace("_", " ") for kind in KINDS)]
    faults = sorted({fault for place in places for fault in matrix.times[place]})
    lines = [heads, ["---", *["--:"] * (len(heads) - 1)]]
    for fault in faults:
        times = [_times(matrix.times[place], fault) for place in places]
        lines.append([fault, *times, *(str(matrix.found[fault][kind]) for kind in KINDS)])
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"{table}\n\n{_about(matrix)}\n"


def _times(counted: Mapping[str, int], fault: str) -> str:
    return f"{counted[fault]:,}" if fault in counted else NEVER_COUNTED


def _about(matrix: Matrix) -> str:
    schedules = matrix.schedules
    said = [f"{schedules[place]:,} schedules on {place}" for place in PLACES if schedules[place]]
    if said:
        said.append(f"{schedules['failed']:,} schedules failed")
    if "chaos" in matrix.times:
        said.append(f"{matrix.chaos_minutes:,.1f} minutes of chaos")
    return "\n\n".join(
        [f"{'; '.join(said)}. {_READ}", *([_UNSPLIT] if "sim" in matrix.times else [])]
    )


def summed(paths: Sequence[Path]) -> Matrix:
    """All of these files.

    Raises:
        UnknownFormat: naming the first file that cannot be read, or is of no known format.
    """
    matrix = Matrix()
    for path in paths:
        try:
            matrix.add(json.loads(path.read_bytes()))
        except (OSError, ValueError, UnknownFormat) as error:
            raise UnknownFormat(f"{path}: {error}") from error
    return matrix


def main(words: Sequence[str] | None = None) -> int:
    """Prints the matrix; 2 and one line on stderr when a file is not one of ours."""
    parser = argparse.ArgumentParser(prog="python -m ops.faultmatrix", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="build/sim.json|build/chaos.json")
    try:
        matrix = summed(parser.parse_args(words).files)
    except UnknownFormat as error:
        sys.stderr.write(f"UNKNOWN_FORMAT: {error}\n")
        return 2
    sys.stdout.write(markdown(matrix))
    return 0


if __name__ == "__main__":
    sys.exit(main())
