"""The fault matrix: sums of what `make sim` and `make chaos` write, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from ops.faultmatrix import KINDS, Matrix, UnknownFormat, main, markdown
from tests.chaos.nemesis import Nemesis
from tests.chaos.report import document
from tests.chaos.shape import Outcome, Shape
from tests.chaos.verdict import KINDS as CHAOS_KINDS
from tests.chaos.verdict import Violation
from tests.sim.campaign import COLUMNS, Campaign
from tests.sim.plan import FAULTS
from tests.sim.report import write_report

Document = dict[str, Any]


def simulated(
    tmp_path: Path, *, kills: dict[str, int], orphans: int = 0, seed: int = 1
) -> Document:
    """What a simulation wrote: so many kills by tier, and orphans that are charged to them on fast."""
    campaign = Campaign(jobs=1, say=lambda _text: None)
    for tier, count in kills.items():
        campaign.runs += 10
        campaign.faults["kill"] += count
        campaign.tiers[tier].runs += 10
        campaign.tiers[tier].faults["kill"] += count
    campaign.found["kill"]["orphan"] += orphans
    campaign.tiers["fast"].found["kill"]["orphan"] += orphans
    write_report(campaign, seed, tmp_path / "sim.json")
    found: Document = json.loads((tmp_path / "sim.json").read_bytes())
    return found


def stormy(tmp_path: Path, *, kills: int, violation: str = "", seed: str = "1") -> Document:
    """What chaos wrote: so many kills of runners, and a violation beside them."""

    async def kill(_rng: object) -> bool:
        return True

    nemesis = Nemesis("1", {"kill_runner": kill}, tmp_path / "history", seconds=1)
    for _ in range(kills):
        nemesis.note("kill_runner", 0)
    found = [Violation(violation, "so it was")] if violation else []
    outcome = Outcome(Shape("x"), "1", tmp_path, found, nemesis)
    return document([outcome], seed=seed, on=["always"], minutes=1.5, recovery={})


def summed(*documents: Document) -> Matrix:
    matrix = Matrix()
    for one in documents:
        matrix.add(one)
    return matrix


def cells(matrix: Matrix, fault: str) -> dict[str, str]:
    """The row of a fault as it is printed, by column."""
    lines = [
        line.strip("| ").split(" | ") for line in markdown(matrix).splitlines() if line[:1] == "|"
    ]
    (row,) = [line for line in lines if line[0] == fault]
    return dict(zip(lines[0], row, strict=True))


@pytest.mark.req("SIM-3")
def test_files_are_summed_by_fault_and_each_proving_ground_has_its_column(tmp_path: Path) -> None:
    matrix = summed(
        simulated(tmp_path, kills={"fast": 600, "lua": 5}),
        simulated(tmp_path, kills={"fast": 500}, seed=2),
        stormy(tmp_path, kills=7),
    )
    row = cells(matrix, "kill")
    assert (row["fast"], row["lua"], row["chaos"]) == ("1,100", "5", "-")
    assert (cells(matrix, "kill_runner")["chaos"], cells(matrix, "kill_runner")["lua"]) == (
        "7",
        "-",
    )
    assert cells(matrix, "term")["fast"] == "0", "drawn, and never happened"
    assert set(FAULTS) <= set(matrix.times["fast"])
    assert "20 schedules on fast; 10 schedules on lua; 0 schedules failed; 1.5 minutes" in markdown(
        matrix
    )


@pytest.mark.req("SIM-3")
def test_violations_stand_beside_the_faults_that_they_are_charged_to(tmp_path: Path) -> None:
    matrix = summed(
        simulated(tmp_path, kills={"fast": 3}, orphans=2),
        stormy(tmp_path, kills=1, violation="orphan"),
        stormy(tmp_path, kills=1, violation="past_lease"),
    )
    assert (cells(matrix, "kill")["orphan"], cells(matrix, "kill")["lost"]) == ("2", "0")
    row = cells(matrix, "kill_runner")
    assert (row["orphan"], row["past lease"], row["stuck"], row["chaos"]) == ("1", "1", "0", "2")


@pytest.mark.req("SIM-3")
def test_a_simulation_that_does_not_tell_its_tiers_has_a_column_of_its_own(tmp_path: Path) -> None:
    old = simulated(tmp_path, kills={"fast": 3, "lua": 1}, orphans=1)
    del old["tiers"]
    matrix = summed(old)
    assert (cells(matrix, "kill")["sim"], cells(matrix, "kill")["orphan"]) == ("4", "1")
    assert "do not tell the tiers apart" in markdown(matrix)
    assert "fast" not in markdown(matrix).splitlines()[0]


def test_every_kind_of_violation_of_both_proving_grounds_has_a_column() -> None:
    assert set(KINDS) == {*CHAOS_KINDS, *COLUMNS}


def _without(key: str) -> Callable[[Document], object]:
    return lambda found: found.pop(key)


def _sums(value: object) -> Callable[[Document], object]:
    return lambda found: found.update(
        dict.fromkeys(found.keys() & {"schedules", "failed", "minutes"}, value)
    )


def _row(**changes: object) -> Callable[[Document], object]:
    return lambda found: next(iter(found["faults"].values())).update(changes)


@pytest.mark.req("SIM-3")
@pytest.mark.parametrize("kind", ["sim", "chaos"])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_without("faults"), id="a key is missing"),
        pytest.param(lambda found: found.update(more=1), id="a key is new"),
        pytest.param(lambda found: found.update(faults=[]), id="faults are no object"),
        pytest.param(_row(count="7"), id="a count is no number"),
        pytest.param(_row(count=True), id="a count is no number either"),
        pytest.param(_row(strange=1), id="a kind of violation is new"),
        pytest.param(_sums("2"), id="a sum is no number"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_refused_and_nothing_of_it_is_counted(
    tmp_path: Path, kind: str, change: Callable[[Document], object]
) -> None:
    good = simulated(tmp_path, kills={"fast": 1})
    del good["tiers"]
    bad = deepcopy(good) if kind == "sim" else stormy(tmp_path, kills=1)
    change(bad)
    matrix = summed(good)
    before = markdown(matrix)
    with pytest.raises(UnknownFormat):
        matrix.add(bad)
    assert markdown(matrix) == before


@pytest.mark.parametrize(
    "tiers",
    [None, [], {"slow": {}}, {"fast": {}}, {"fast": {"schedules": 1, "counted": 1, "faults": {"kill": {}}}}],
)  # fmt: skip
def test_a_tier_that_is_not_known_is_refused(tmp_path: Path, tiers: object) -> None:
    found = {**simulated(tmp_path, kills={"fast": 1}), "tiers": tiers}
    with pytest.raises(UnknownFormat):
        Matrix().add(found)


def test_the_same_run_is_not_counted_twice(tmp_path: Path) -> None:
    found = stormy(tmp_path, kills=1)
    matrix = summed(found)
    with pytest.raises(UnknownFormat, match="twice"):
        matrix.add(deepcopy(found))
    assert cells(matrix, "kill_runner")["chaos"] == "1"


@pytest.mark.req("SIM-3")
@pytest.mark.parametrize("text", ["", "[]", "{}", "\xff", None])
def test_the_command_prints_the_table_or_one_error_that_names_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None
) -> None:
    good, bad = tmp_path / "chaos.json", tmp_path / "bad.json"
    good.write_text(json.dumps(stormy(tmp_path, kills=2)))
    assert main([str(good)]) == 0
    assert capsys.readouterr().out == markdown(summed(stormy(tmp_path, kills=2)))
    if text is not None:
        bad.write_bytes(text.encode("latin-1"))
    assert main([str(good), str(bad)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"UNKNOWN_FORMAT: {bad}: ") or (text is None and str(bad) in err)
