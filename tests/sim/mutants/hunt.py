"""After how many of the ordinary seeds is a mutant noticed? Searches in processes that are broken on purpose.

Each search takes the seeds of its own range in their order, the very plans of `make sim`. A process runs some
of them and ends, because a run leaves behind what must never be freed.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import NamedTuple

from orch.store.library import library
from tests.sim import fast_backend, lua_backend
from tests.sim.backend import MakeBackend
from tests.sim.mutants.catalogue import Mutant
from tests.sim.mutants.plant import plant
from tests.sim.plan import plan_of
from tests.sim.swarm import Outcome, run

# Read once, before the first fork: nobody's edit changes what is tested half way.
PRELOADED = (library(), fast_backend, lua_backend)
RUNS_A_PROCESS = 20


class Found(NamedTuple):
    """A run that broke a promise."""

    seed: int
    kind: str
    what: str


@dataclass(eq=False)
class Search:
    """One try at one mutant (or at the true code, without one)."""

    mutant: Mutant | None
    tier: str
    seeds: Sequence[int]
    stop_at_first: bool = True
    found: list[Found] = field(default_factory=list)
    taken: int = 0
    """Seeds that were run."""

    @property
    def over(self) -> bool:
        """Nothing is left to run."""
        return self.taken == len(self.seeds) or (self.stop_at_first and bool(self.found))

    def heard(self, found: Sequence[Found], taken: int) -> None:
        """A process of it has ended."""
        self.found += found
        self.taken += taken


def broken_server(mutant: Mutant | None, tier: str) -> MakeBackend | None:
    """Plants the mutant in this process; what is to stand for its server, if not the tier's own."""
    if mutant is None:
        return None
    rewrite = plant(mutant.changes[tier])
    return partial(lua_backend.LuaBackend, rewrite=rewrite) if tier == "lua" else None


def judged(mutant: Mutant | None, outcome: Outcome) -> Found | None:
    """The first violation that counts: of a mutant, one that it must be caught as."""
    for kind, what in outcome.violations:
        if mutant is None or kind in mutant.caught_as:
            return Found(outcome.plan.seed, kind, what)
    return None


def _run_some(search: Search, seeds: Sequence[int], pipe: Connection) -> None:
    found: list[Found] = []
    taken, server = 0, broken_server(search.mutant, search.tier)
    for seed in seeds:
        taken += 1
        one = judged(search.mutant, run(plan_of(seed, search.tier), server))
        if one is not None:
            found.append(one)
            if search.stop_at_first:
                break
    pipe.send((found, taken))
    pipe.close()
    # Not by the way of `atexit`: freeing what killed processes left would run their `finally`.
    os._exit(0)


def search_all(
    searches: Iterable[Search], *, jobs: int, done: Callable[[Search], object] = lambda _: None
) -> None:
    """Carries them out, `jobs` at a time, longest waiting first; `done` hears of each that is over."""
    context = multiprocessing.get_context("fork")
    waiting, running = deque(searches), dict[Connection, Search]()
    while waiting or running:
        while waiting and len(running) < jobs:
            search = waiting.popleft()
            ours, theirs = context.Pipe(duplex=False)
            some = search.seeds[search.taken : search.taken + RUNS_A_PROCESS]
            sys.stdout.flush()
            context.Process(target=_run_some, args=(search, some, theirs)).start()
            theirs.close()
            running[ours] = search
        for pipe in wait(list(running)):
            assert isinstance(pipe, Connection)
            search = running.pop(pipe)
            search.heard(*pipe.recv())
            pipe.close()
            if search.over:
                done(search)
            else:
                waiting.appendleft(search)
