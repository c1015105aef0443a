"""A smaller plan that still fails: fewer kinds of faults, fewer processes, fewer jobs."""

from __future__ import annotations

from collections.abc import Callable

from tests.sim.plan import Plan
from tests.sim.swarm import Outcome
from tests.sim.worker import run_alone

TRIES_MAX = 200


def shrink(plan: Plan, outcome: Outcome, *, say: Callable[[str], object]) -> tuple[Plan, Outcome]:
    """Greedy: the first cut that keeps the kind of violation is taken, until none does."""
    kinds = {kind for kind, _ in outcome.violations}
    tries, found = 0, True
    while found and tries < TRIES_MAX:
        found = False
        for smaller in plan.smaller():
            tries += 1
            attempt = run_alone(smaller)
            if kinds & {kind for kind, _ in attempt.violations}:
                say(f"smaller: {smaller}")
                plan, outcome, found = smaller, attempt, True
                break
    return plan, outcome
