"""Every mutant, as `catalogue.toml` tells it.

What is broken in Lua is broken in the model of the functions too, and hunted on both tiers. Python
runs in both anyway: the fast one is enough.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.sim.mutants.plant import Change

SOURCE = Path(__file__).parent / "catalogue.toml"
_FOLDERS = {"lua": "orch/store/functions/", "model": "tests/sim/model/", "python": ""}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One bug."""

    name: str
    stands_for: str
    """What real bug, in a sentence."""
    caught_as: frozenset[str]
    """Kinds of violation (tests.sim.history) that count."""
    changes: Mapping[str, Change]
    """Tier -> what is broken there."""


def _mutant_of(row: dict[str, Any]) -> Mutant:
    found = {
        kind: Change(folder + row[kind]["file"], row[kind]["old"], row[kind]["new"])
        for kind, folder in _FOLDERS.items()
        if kind in row
    }
    changes = (
        {"fast": found["python"]}
        if "python" in found
        else {"fast": found["model"], "lua": found["lua"]}
    )
    return Mutant(row["name"], row["stands_for"], frozenset(row["caught_as"].split()), changes)


def load_mutants() -> dict[str, Mutant]:
    """By name, in the order of the catalogue."""
    rows = tomllib.loads(SOURCE.read_text(encoding="utf-8"))["mutant"]
    mutants = {row["name"]: _mutant_of(row) for row in rows}
    assert len(mutants) == len(rows), "every mutant has a name of its own"
    return mutants


MUTANTS = load_mutants()
