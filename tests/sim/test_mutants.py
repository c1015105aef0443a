"""The catalogue of mutants fits the code, and the hunt tells a mutant from the truth.

All mutants are hunted by `make mutants`; here two of them that the very first seeds notice.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from orch.store.library import library
from tests.sim.mutants.catalogue import MUTANTS, Mutant
from tests.sim.mutants.hunt import Found, Search
from tests.sim.mutants.plant import Change, Misfit, changed_functions, plant, rewritten
from tests.sim.mutants.report import Row, table
from tests.sim.plan import plan_of

IN_LUA, IN_PYTHON = "burial_keeps_claim", "pel_not_reread"
BLIND = "watermark_blind"
SEEDS = 10


def hunt(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`make mutants` in a process of its own."""
    command = [sys.executable, "-m", "tests.sim.mutants", "--quiet", "--jobs", "2", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=list(MUTANTS))
def test_the_catalogue_fits_the_code(mutant: Mutant) -> None:
    for change in mutant.changes.values():
        if change.path.endswith(".lua"):
            assert rewritten(change, library().code) != library().code
        else:
            assert changed_functions(change)


@pytest.mark.parametrize("old", ["no such text anywhere", "redis.call("])
def test_a_text_that_is_not_there_exactly_once_is_refused(old: str) -> None:
    with pytest.raises(Misfit, match="not once"):
        plant(Change("orch/store/functions/bury.lua", old, ""))


def test_a_change_of_what_never_runs_is_refused() -> None:
    change = Change("actors/reaper/decide.py", "a reaper that slept saw nothing", "")
    with pytest.raises(Misfit, match="nothing that runs changes"):
        plant(change)


def test_lua_is_broken_on_its_way_to_the_server_and_nowhere_else() -> None:
    change = MUTANTS["fence_off"].changes["lua"]
    code = library().code
    rewrite = plant(change)
    assert rewrite(code) == code.replace(change.old, change.new) != code
    assert library().code == code
    with pytest.raises(Misfit, match="does not hold"):
        rewrite("#!lua name=another")


@pytest.mark.req("SIM-1")
def test_mutants_are_noticed_by_seeds_that_are_clean_on_the_true_code() -> None:
    few_seeds = ("--seed", "1", "--seeds-max", str(SEEDS), "--tries", "1")
    done = hunt("--only", f"{IN_LUA},{IN_PYTHON}", *few_seeds)
    assert done.returncode == 0, done.stdout + done.stderr
    for noticed in (f"{IN_LUA} (fast)", f"{IN_LUA} (lua)", f"{IN_PYTHON} (fast)"):
        assert noticed in done.stdout
    assert done.stdout.count("seeds that noticed something, 0 failed") == 2


def test_a_mutant_that_no_seed_notices_fails_the_hunt() -> None:
    seed = next(seed for seed in range(1, 100) if "rollback" not in plan_of(seed, "fast").faults)
    one_seed = ("--seed", str(seed), "--seeds-max", "1", "--tries", "1")
    done = hunt("--only", BLIND, *one_seed)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "NOT CAUGHT" in done.stdout


def test_the_table_shows_a_try_that_caught_nothing_and_a_seed_that_fails_on_the_true_code() -> None:
    found = Found(7, "double", "two claims in force")
    mutant = MUTANTS[IN_LUA]
    caught = Search(mutant, "fast", range(1, 11), found=[found], taken=7)
    missed = Search(mutant, "fast", range(101, 111), taken=10)
    truth = Search(None, "fast", [7], stop_at_first=False, found=[found], taken=1)
    row = Row(mutant, "fast", [caught, missed])
    assert not row.caught
    assert row.seeds == "7 >10"
    shown = table([row], [truth])
    assert "NOT CAUGHT IN EVERY TRY" in shown
    assert "seed 7 double: two claims in force" in shown
