"""`python -m tests.soak`: a stack under a steady load; a table, build/soak.json, 1 when something grew.

--minutes    how long, after some seconds in which what is bounded by number is filled
--rate       jobs a second on average
--every      seconds between two samples; at least 40 samples are needed to judge growth
--seed       draws the load
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from random import Random

from contracts.limits import FEED_ENTRIES_MAX
from orch.telemetry.logs import configure_logs
from tests.soak.judge import rows_of, too_few
from tests.soak.report import document, table, too_little, write
from tests.soak.run import Plan, Result, run

_SHOWN = 20


def say(text: object) -> None:
    """One line on the terminal, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _plan() -> Plan:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=1.5)
    parser.add_argument("--every", type=float, default=5.0)
    parser.add_argument("--seed", default=str(Random().randrange(10**6)))
    given = parser.parse_args()
    return Plan(given.minutes * 60, given.rate, given.every, FEED_ENTRIES_MAX, given.seed)


def verdict(result: Result) -> bool:
    """Says what came of it; whether it is good."""
    rows = rows_of(result.samples)
    say(table(rows))
    books = result.books
    say(f"jobs: {dict(books.judged)}; ends: {dict(books.ends)}; {dict(books.counts)}")
    say(
        f"{result.removed} removed by retention, {result.hooked} webhooks, {result.fired} fires in time"
    )
    for why in too_little(result):
        say(f"PROVES TOO LITTLE: {why}")
    for violation in result.violations[:_SHOWN]:
        say(f"{violation.kind.upper()}: {violation.what[:300]}")
    grown = [] if too_few(result.samples) else [row for row in rows if row.grew]
    for row in grown:
        say(f"GREW: {row.measure}: {row.second:.1f} to {row.last:.1f}")
    say(f"written: {write(document(result, rows))}")
    return not (grown or result.violations or list(too_little(result)))


def main() -> int:
    """Runs it; the exit code."""
    plan = _plan()
    say(f"seed {plan.seed}")
    configure_logs("error", actor="soak")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: the stack goes with us
    root = Path(tempfile.mkdtemp(prefix="orch-soak-"))
    try:
        good = verdict(run(plan, root, say))
    finally:
        shutil.rmtree(root, ignore_errors=True)
    say(f"seed {plan.seed}: {'nothing grew, nothing broke' if good else 'FAILED'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
