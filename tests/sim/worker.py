"""Runs plans in processes of their own: a run leaves behind what must never be freed."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkContext, ForkProcess

from orch.store.library import library
from tests.sim import fast_backend, lua_backend
from tests.sim.plan import Plan
from tests.sim.swarm import Outcome, run

# Read once, before the first fork: nobody's edit changes what is tested half way.
PRELOADED = (library(), lua_backend, fast_backend)
RUNS_A_PROCESS = 25
"""A run leaks its coroutines on purpose; some megabytes each."""


class WorkerDied(Exception):
    """A process ended without its outcomes; what it wrote to stderr says more."""


class Worker:
    """A process that runs some plans and ends; its parent must run no threads when it starts."""

    def __init__(self, context: ForkContext, plans: Sequence[Plan], *, traced: bool) -> None:
        self.pipe, theirs = context.Pipe(duplex=False)
        self._process: ForkProcess = context.Process(
            target=_run_some, args=(plans, theirs, traced), daemon=True
        )
        self._process.start()
        theirs.close()

    def outcomes(self) -> list[Outcome]:
        """What came of its plans.

        Raises:
            WorkerDied: nothing did.
        """
        try:
            outcomes: list[Outcome] = self.pipe.recv()
        except EOFError:
            raise WorkerDied from None
        finally:
            self._process.join()
            self.pipe.close()
        return outcomes


def _run_some(plans: Sequence[Plan], pipe: Connection, traced: bool) -> None:
    # Python frees what killed processes left, and each complains that nobody awaited it.
    sys.unraisablehook = lambda _args: None
    outcomes = []
    for plan in plans:
        outcome = run(plan, traced=traced)
        if outcome.violations and not traced:
            outcome = run(plan)  # the same once more, to tell how it came
        outcomes.append(outcome)
    pipe.send(outcomes)


def run_alone(plan: Plan) -> Outcome:
    """One plan in a fresh process, with its trace."""
    return next(run_many([plan], jobs=1, traced=True))


def run_many(plans: Iterable[Plan], *, jobs: int, traced: bool = False) -> Iterator[Outcome]:
    """All plans, in their order; a process ends after a few, and the next one takes its place at once.

    Without `traced` only plans that fail have a trace: they are run once more for it.
    """
    every = list(plans)
    size = max(1, min(RUNS_A_PROCESS, len(every) // jobs or 1))
    chunks = [every[at : at + size] for at in range(0, len(every), size)]
    context = multiprocessing.get_context("fork")
    started, at_work, finished = 0, dict[int, Worker](), dict[int, list[Outcome]]()
    for number in range(len(chunks)):
        while number not in finished:
            while started < len(chunks) and len(at_work) < jobs:
                at_work[started] = Worker(context, chunks[started], traced=traced)
                started += 1
            ready = wait([worker.pipe for worker in at_work.values()])
            for n in [n for n, worker in at_work.items() if worker.pipe in ready]:
                finished[n] = at_work.pop(n).outcomes()
        yield from finished.pop(number)
