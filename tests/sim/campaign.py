"""Many runs together: what was found, by which fault, and whether the runs were worth counting."""

from __future__ import annotations

import time
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tests.sim.plan import FAULTS, LATER_FAULTS, Plan, plan_of
from tests.sim.swarm import Outcome
from tests.sim.worker import run_many

REGRESSIONS = Path(__file__).parent / "regressions.toml"
COLUMNS = ("lost", "double", "undetected", "orphan", "stuck", "broken")
MUST_HAPPEN = (
    "acknowledged direct",
    "acknowledged raw",
    "buried",
    "lost a job",
    "suspended",
    "cancel",
)
"""Labels that a thousand runs must each have met, or the runs prove less than they seem to."""
ENOUGH_RUNS = 1_000


def load_regressions(path: Path = REGRESSIONS) -> list[Plan]:
    """Seeds that once found something, each with the part of its plan that must not change."""
    kept = tomllib.loads(path.read_text()).get("seed", [])
    return [_plan_of(row) for row in kept]


def _plan_of(row: dict) -> Plan:
    plan = plan_of(row["seed"], row.get("tier", "lua"))
    for fault in LATER_FAULTS:  # the seed found what it found without them, and without schedules
        plan = plan.without(fault)
    return replace(plan, **{"schedules": 0, **row.get("plan", {})})


class Tier:
    """What the runs of one tier add up to."""

    def __init__(self) -> None:
        self.runs = 0
        self.counted = 0
        self.faults: Counter[str] = Counter()
        self.found: dict[str, Counter[str]] = defaultdict(Counter)


class Campaign:
    """Runs plans and adds up."""

    def __init__(self, *, jobs: int, say: Callable[[str], object]) -> None:
        self._jobs = jobs
        self._say = say
        self.runs = 0
        self.counted = 0
        self.faults: Counter[str] = Counter()
        self.sometimes: Counter[str] = Counter()
        self.found: dict[str, Counter[str]] = defaultdict(Counter)
        self.failures: list[Outcome] = []
        self.tiers: dict[str, Tier] = defaultdict(Tier)

    def run(self, plans: Sequence[Plan], what: str) -> None:
        """Runs them and says how it went."""
        if not plans:
            return
        began, before = time.monotonic(), len(self.failures)
        for outcome in run_many(plans, jobs=self._jobs):
            self._add(outcome)
        took = time.monotonic() - began
        failed = len(self.failures) - before
        self._say(f"{what}: {len(plans)} schedules, {len(plans) / took:.1f}/s, {failed} failed")

    def _add(self, outcome: Outcome) -> None:
        self.runs += 1
        self.counted += outcome.valid
        self.faults += outcome.faults
        tier = self.tiers[outcome.plan.tier]
        tier.runs += 1
        tier.counted += outcome.valid
        tier.faults += outcome.faults
        for label in outcome.sometimes:
            self.sometimes[label] += 1
        if outcome.violations:
            self.failures.append(outcome)
            self._tell(outcome)
        for kind, _ in outcome.violations:
            # Which of a run's faults was the cause is not known: each of them is charged.
            for fault in outcome.plan.faults or {"none": 1.0}:
                self.found[fault][kind] += 1
                tier.found[fault][kind] += 1

    def _tell(self, outcome: Outcome) -> None:
        plan = outcome.plan
        self._say(f"seed {plan.seed} of tier {plan.tier} failed; the end of its trace:")
        for line in outcome.tail[-25:]:
            self._say(f"  {line[:220]}")
        for kind, what in outcome.violations[:5]:
            self._say(f"  {kind}: {what[:300]}")
        self._say(f"  again: make sim SEED={plan.seed} ONE={plan.tier} [SHRINK=1]")

    @property
    def missing(self) -> list[str]:
        """Labels that so many runs should have met."""
        if self.runs < ENOUGH_RUNS:
            return []
        return [label for label in MUST_HAPPEN if not self.sometimes[label]]

    def table(self) -> str:
        """A row for each kind of fault."""
        lines = [f"{'fault':16}{'count':>9}" + "".join(f"{name:>12}" for name in COLUMNS)]
        for fault in (*FAULTS, "none"):
            row = self.found[fault]
            if fault != "none" or row:
                cells = "".join(f"{row[name]:>12}" for name in COLUMNS)
                lines.append(f"{fault:16}{self.faults[fault]:>9}{cells}")
        lines.append(
            f"{self.counted} of {self.runs} runs count: jobs completed, drawn faults happened"
        )
        met = ", ".join(f"{label} {count}" for label, count in sorted(self.sometimes.items()))
        lines.append(f"runs that met: {met}")
        lines += [f"NEVER MET: {label}" for label in self.missing]
        return "\n".join(lines)
