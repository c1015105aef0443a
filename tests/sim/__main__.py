"""`python -m tests.sim --fast N --lua N --seed S`: many seeds, a table, build/sim.json; 1 on a violation.

--one        the one seed S of tier --tier, with the end of its trace when it fails
--shrink     with --one: a smaller plan that still fails
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.sim.campaign import Campaign, load_regressions
from tests.sim.plan import plan_of
from tests.sim.report import write_report
from tests.sim.shrink import shrink
from tests.sim.worker import run_alone

DEFAULT_FAST, DEFAULT_LUA = 3_000, 500


def say(text: object) -> None:
    """One line on the terminal, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--fast", type=int, default=DEFAULT_FAST, help="seeds on the pure model")
    parser.add_argument("--lua", type=int, default=DEFAULT_LUA, help="seeds on the real functions")
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="worker processes")
    parser.add_argument("--one", action="store_true", help="only the seed --seed")
    parser.add_argument("--tier", choices=("lua", "fast"), default="lua", help="with --one")
    parser.add_argument("--shrink", action="store_true", help="with --one")
    parser.add_argument("--quiet", action="store_true", help="no build/sim.json")
    return parser.parse_args()


def _one(arguments: argparse.Namespace) -> int:
    plan = plan_of(arguments.seed, arguments.tier)
    outcome = run_alone(plan)
    if arguments.shrink and outcome.violations:
        plan, outcome = shrink(plan, outcome, say=say)
    say("\n".join(outcome.tail) if outcome.violations else "no violation")
    say(plan)
    for kind, what in outcome.violations:
        say(f"{kind}: {what[:400]}")
    say(f"trace {outcome.digest}")
    return 1 if outcome.violations else 0


def main() -> int:
    """Runs it; the exit code."""
    arguments = _arguments()
    if arguments.one or arguments.shrink:
        return _one(arguments)
    began = time.monotonic()
    campaign = Campaign(jobs=arguments.jobs, say=say)
    campaign.run(load_regressions(), "kept seeds")
    for tier, count in (("lua", arguments.lua), ("fast", arguments.fast)):
        seeds = range(arguments.seed, arguments.seed + count)
        campaign.run([plan_of(seed, tier) for seed in seeds], tier)
    say(campaign.table())
    say(
        f"{campaign.runs} schedules in {time.monotonic() - began:.0f} s, first seed {arguments.seed}"
    )
    if not arguments.quiet:
        write_report(campaign, arguments.seed)
    return 1 if campaign.failures else 0


if __name__ == "__main__":
    sys.exit(main())
