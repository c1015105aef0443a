"""Runs plans in processes of their own: a run leaves behind what must never be freed."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import BaseContext

from orch.store.library import library
from tests.sim import lua_backend
from tests.sim.plan import Plan
from tests.sim.swarm import Outcome, run

# Read once, before the first fork: nobody's edit changes what is tested half way.
PRELOADED = (library(), lua_backend)
RUNS_A_PROCESS = 25
"""A run leaks its coroutines on purpose; some megabytes each."""


def _forking() -> BaseContext:
    # Forked children have everything imported; the parent runs no threads yet when they start.
    return multiprocessing.get_context("fork")


def _silent() -> None:
    # At exit Python frees what killed processes left, and each complains that nobody awaited it.
    sys.unraisablehook = lambda _args: None


def _run_some(plans: list[Plan]) -> list[Outcome]:
    outcomes = []
    for plan in plans:
        outcome = run(plan)
        if not outcome.violations:
            outcome.tail = []
        outcomes.append(outcome)
    return outcomes


def run_alone(plan: Plan) -> Outcome:
    """One plan in a fresh process."""
    return next(run_many([plan], jobs=1))


def run_many(plans: Iterable[Plan], *, jobs: int) -> Iterator[Outcome]:
    """All plans, in their order; each process ends after a few."""
    every = list(plans)
    size = max(1, min(RUNS_A_PROCESS, len(every) // jobs or 1))
    chunks = [every[at : at + size] for at in range(0, len(every), size)]
    context = _forking()
    for at in range(0, len(chunks), jobs):
        with ProcessPoolExecutor(jobs, mp_context=context, initializer=_silent) as pool:
            for outcomes in pool.map(_run_some, chunks[at : at + jobs]):
                yield from outcomes
