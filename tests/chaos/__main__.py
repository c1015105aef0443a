"""`python -m tests.chaos`: faults on real processes; a table, build/chaos.json, 1 on a violation.

--minutes    how long, all runs together (healing and checking come on top)
--seed       draws faults, load and timing; the kernel's scheduling is not drawn, so a seed repeats a storm,
             not a run
--on         what the storms are run on, separated by commas: always, everysec (one server with that
             appendfsync), full (one whose disk is full again and again), sentinels (a primary with
             replicas), cluster; all of them otherwise
--only       these faults alone, separated by commas
--recovery   measures recovery also at the default lease of 15 s, ten minutes on top; with --minutes 0 it
             does nothing else
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import anyio

from orch.telemetry.logs import configure_logs
from tests.chaos.nemesis import PER_MINUTE
from tests.chaos.plan import SHARES, Plan, lacking, plan_of
from tests.chaos.recovery import measure
from tests.chaos.report import Tally, document, keep_evidence, write
from tests.chaos.run import Run
from tests.chaos.shape import Outcome

_SHOWN = 20


def say(text: object) -> None:
    """One line on the terminal, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", default=str(Random().randrange(10**6)))
    parser.add_argument("--lease-ms", type=int, default=1_000)
    parser.add_argument("--on", default=",".join(SHARES), metavar="SERVERS,...")
    parser.add_argument("--engine", choices=("valkey", "redis"), default="valkey")
    parser.add_argument("--only", default="", metavar="FAULT,...")
    parser.add_argument("--recovery", action="store_true")
    parser.add_argument("--quiet", action="store_true", help="no build/chaos.json")
    parsed = parser.parse_args()
    parsed.only = tuple(word for word in parsed.only.split(",") if word)
    parsed.on = tuple(word for word in parsed.on.split(",") if word)
    for flag, known in (("only", PER_MINUTE), ("on", SHARES)):
        unknown = set(getattr(parsed, flag)) - known.keys()
        if unknown:
            parser.error(f"--{flag}: no {sorted(unknown)}; there are {', '.join(known)}")
    return parsed


def _tell(outcome: Outcome) -> None:
    jobs = ", ".join(f"{count} {name}" for name, count in sorted(outcome.jobs.items()))
    say(f"{outcome.shape.name}: {jobs}; healed in {outcome.notes.get('healed_ms')} ms")
    for name, reason in outcome.skipped.items():
        say(f"  skipped {name}: {reason}")
    for why in outcome.invalid:
        say(f"  PROVES TOO LITTLE: {why}")
    for violation in outcome.violations[:_SHOWN]:
        say(f"  {violation.kind.upper()}: {violation.what[:300]}")
    if outcome.violations:
        say(f"  {len(outcome.violations)} violations; evidence in {keep_evidence(outcome)}")


async def _campaign(plan: Plan, seed: str, root: Path) -> tuple[list[Outcome], dict[str, Any]]:
    outcomes: list[Outcome] = []
    recovery: dict[str, Any] = {}
    for shape in plan.storms:
        run = Run(shape, f"{seed}/{shape.name}", root / shape.name, say=say)
        outcomes.append(await run.whole())
        _tell(outcomes[-1])
    for one in plan.recoveries:
        outcome, figures = await measure(seed, root, one)
        outcomes.append(outcome)
        recovery[outcome.shape.name] = figures
        _tell(outcome)
        say(f"  {figures}")
    return outcomes, recovery


def main() -> int:
    """Runs it; the exit code."""
    given = _arguments()
    say(f"seed {given.seed}")
    configure_logs("error", actor="chaos")  # burials are told by their thousands otherwise
    plan = plan_of(
        given.minutes,
        on=given.on,
        engine=given.engine,
        lease_ms=given.lease_ms,
        only=given.only,
        recovery=given.recovery,
    )
    for name, reason in lacking(given.on).items():
        say(f"skipped {name}: {reason}")
    if not plan.storms and not plan.recoveries:
        say(f"nothing to run: on {', '.join(given.on)} in {given.minutes:g} minutes")
        return 1
    root = Path(tempfile.mkdtemp(prefix="orch-chaos-"))
    try:
        outcomes, recovery = anyio.run(_campaign, plan, given.seed, root)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    tally = Tally(outcomes)
    say(tally.table())
    if tally.never:
        say(f"PROVES TOO LITTLE: never took effect: {', '.join(tally.never)}")
    found = document(
        outcomes, seed=given.seed, on=given.on, minutes=given.minutes, recovery=recovery
    )
    if not given.quiet:
        say(f"written: {write(found)}")
    late = [name for name, figures in recovery.items() if not figures["met"]]
    for name in late:
        say(f"TOO SLOW: {name}: {recovery[name]}")
    failed = (
        late or tally.never or any(outcome.violations or outcome.invalid for outcome in outcomes)
    )
    say(f"seed {given.seed}: {'FAILED' if failed else 'no violation'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
