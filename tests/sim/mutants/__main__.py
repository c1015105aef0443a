"""`python -m tests.sim.mutants`: plants each mutant, hunts it with the ordinary seeds; build/mutants.json.

Exit 1 when one is not noticed in some try, or when a seed that noticed one also fails on the true code.

--only NAME,…     these mutants only
--one NAME        plants it, runs the one seed --seed on --tier and shows the end of its trace
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.sim.mutants.catalogue import MUTANTS, Mutant
from tests.sim.mutants.hunt import Search, broken_server, search_all
from tests.sim.mutants.report import Row, table, write_report
from tests.sim.plan import plan_of
from tests.sim.swarm import run

TRY_APART = 100_000
"""The first seeds of two tries; their ranges never meet."""


def say(text: object) -> None:
    """One line on the terminal, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="names, with commas between them")
    parser.add_argument(
        "--tries", type=int, default=3, help="on the fast tier; one on the Lua tier"
    )
    parser.add_argument("--seeds-max", type=int, default=1_000, help="seeds a try")
    parser.add_argument("--seed", type=int, default=1, help="the first seed of the first try")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="worker processes")
    parser.add_argument("--one", choices=sorted(MUTANTS), help="see above")
    parser.add_argument("--tier", choices=("lua", "fast"), default="fast", help="with --one")
    parser.add_argument("--quiet", action="store_true", help="no build/mutants.json")
    return parser.parse_args()


def _one(mutant: Mutant, tier: str, seed: int) -> int:
    outcome = run(plan_of(seed, tier), broken_server(mutant, tier))
    say("\n".join(outcome.tail) if outcome.violations else "no violation")
    for kind, what in outcome.violations:
        say(f"{kind}: {what[:400]}")
    sys.stdout.flush()
    # Freeing what killed processes left would run their `finally`.
    os._exit(1 if outcome.violations else 0)


def searches_for(
    mutants: list[Mutant], *, tries: int, seed: int, seeds_max: int
) -> list[tuple[Mutant, str, list[Search]]]:
    """Per mutant and tier its searches, each with a range of its own."""
    rows = []
    for mutant in mutants:
        for tier in mutant.changes:
            starts = [seed + n * TRY_APART for n in range(tries if tier == "fast" else 1)]
            ranges = [range(start, start + seeds_max) for start in starts]
            rows.append((mutant, tier, [Search(mutant, tier, seeds) for seeds in ranges]))
    return rows


def _on_the_true_code(searches: list[Search], jobs: int) -> list[Search]:
    """The seeds that noticed something, on Orch as it is: there they must notice nothing."""
    again = sorted({(s.tier, found.seed) for s in searches for found in s.found})
    clean = [
        Search(None, tier, [seed for one, seed in again if one == tier], stop_at_first=False)
        for tier in ("fast", "lua")
    ]
    clean = [search for search in clean if search.seeds]
    search_all(clean, jobs=jobs)
    return clean


def main() -> int:
    """Runs it; the exit code."""
    arguments = _arguments()
    if arguments.one:
        return _one(MUTANTS[arguments.one], arguments.tier, arguments.seed)
    began = time.monotonic()
    names = arguments.only.split(",") if arguments.only else list(MUTANTS)
    rows = searches_for(
        [MUTANTS[name] for name in names],
        tries=arguments.tries, seed=arguments.seed, seeds_max=arguments.seeds_max,
    )  # fmt: skip
    every = [search for _, _, searches in rows for search in searches]
    search_all(every, jobs=arguments.jobs, done=_tell)
    true_code = _on_the_true_code(every, arguments.jobs)
    shown = [Row(mutant, tier, searches) for mutant, tier, searches in rows]
    say(table(shown, true_code))
    say(f"{sum(s.taken for s in every)} schedules in {time.monotonic() - began:.0f} s")
    if not arguments.quiet:
        write_report(shown, true_code, seed=arguments.seed)
    return 0 if all(row.caught for row in shown) and not any(s.found for s in true_code) else 1


def _tell(search: Search) -> None:
    assert search.mutant is not None
    seen = f"{search.found[0].kind}: {search.found[0].what[:70]}" if search.found else "NOT CAUGHT"
    say(f"{search.mutant.name} ({search.tier}), {search.taken} seeds: {seen}")


if __name__ == "__main__":
    sys.exit(main())
