"""`python -m tests.chaos.restarts`: is every restart noticed, and every loss of acknowledged writes counted?

A real private server and several clients that write and remember what was acknowledged. First kill -9 and
start again on the same data: each client notices, nobody counts a loss. Then losses, by force: the data go
back to an earlier copy, or the append-only file is cut at any byte, twice in a row, or the numbers of
incarnations are given again by who never met them. Every client whose acknowledged writes are gone counts.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

import anyio

from orch.system import monotonic_ms
from tests.chaos.ground import CLIENTS, Ground, ground

LOSSES_PER_SERVER: Final = 20
"""Then a new data folder: copying a large one proves no more."""


@dataclass
class Score:
    """A row of the table, and every miss in words."""

    injected: int = 0
    noticed: int = 0
    counted: int = 0
    """Lost writes that were counted."""
    gone: int = 0
    """Acknowledged writes that were gone."""
    misses: list[str] = field(default_factory=list)


# -- clean restarts


async def clean(root: Path, rng: Random, times: int) -> Score:
    """kill -9 with every write on disk: noticed by all who speak again, and no false alarm."""
    score = Score()
    async with ground(root, rng) as here:
        for n in range(times):
            for client in here.clients:
                client.new_restarts()
            writers = here.some()
            await here.restart(partial(here.write, writers))
            speakers = here.some()
            await here.write(speakers, 1)
            score.injected += 1
            silent = [client.name for client in speakers if not client.new_restarts()]
            score.noticed += not silent
            score.misses += [f"clean {n}: {name} did not notice the restart" for name in silent]
            _look_for_alarms(here, score, n)
        for client in here.clients:
            await client.write()
            missing = await client.gone(here.server)
            score.gone += len(missing)
            score.misses += [f"clean: {job_id} was acknowledged and is gone" for job_id in missing]
        _look_for_alarms(here, score, times)
    return score


def _look_for_alarms(here: Ground, score: Score, n: int) -> None:
    for client in here.clients:
        lost = client.new_losses()
        score.counted += lost
        if lost:
            score.misses.append(f"clean {n}: {client.name} counts {lost} writes that are there")


# -- losses


async def _rollback(here: Ground) -> None:
    here.down()
    here.keep()
    for _ in range(here.rng.randrange(1, 4)):
        await here.up()
        await here.write(here.some())
        here.down()
    here.go_back()
    await here.up()


async def _cut(here: Ground) -> None:
    floor = here.size()
    await here.write(here.clients)
    here.down()
    here.cut(floor)
    await here.up()


async def _twice(here: Ground) -> None:
    here.down()
    here.keep()
    await here.up()
    await here.write(here.some())
    here.down()
    here.go_back()
    await here.up()
    # Some meet the server in between, and what it tells them is undone as well.
    await here.write(here.some())
    here.down()
    here.go_back()
    await here.up()


async def _reused(here: Ground) -> None:
    await _rollback(here)
    await here.stranger(most=30)
    if here.rng.random() < 0.5:
        here.down()
        await here.up()
        await here.stranger(most=30)


async def _reused_twice(here: Ground) -> None:
    await _reused(here)
    floor = here.size()
    await here.stranger(most=30)
    await here.write(here.some()[:1])
    here.down()
    here.cut(floor)
    await here.up()
    await here.stranger(most=5)


LOSSES: Final[dict[str, tuple[str, Callable[[Ground], Awaitable[None]]]]] = {
    "rolled back": ("always", _rollback),
    "cut": ("everysec", _cut),
    "twice in a row": ("always", _twice),
    "number reused": ("always", _reused),
    "reused, then cut": ("everysec", _reused_twice),
}
"""Kind of loss -> the persistence under which it is made, and how."""


async def judge(here: Ground, score: Score, where: str) -> bool:
    """Everybody speaks, in any order; whether anything acknowledged is gone at all."""
    total = 0
    for client in here.rng.sample(here.clients, CLIENTS):
        await client.write(here.rng.randrange(1, 10))
        missing, counted = await client.gone(here.server), client.new_losses()
        total += len(missing)
        score.counted += counted
        if missing and not counted:
            what = f"{len(missing)} acknowledged writes are gone ({missing[0]} …), nothing counted"
            score.misses.append(f"{where}: {client.name}: {what}")
    score.gone += total
    return total > 0


async def lose(root: Path, rng: Random, kind: str, times: int) -> Score:
    """So many losses of one kind; a cut that took nothing acknowledged is made again."""
    appendfsync, make = LOSSES[kind]
    score = Score()
    part = 0
    while score.injected < times:
        part += 1
        async with ground(root / str(part), rng, appendfsync=appendfsync) as here:
            for n in range(LOSSES_PER_SERVER):
                before = len(score.misses)
                await make(here)
                if await judge(here, score, f"{kind} {part}.{n}"):
                    score.injected += 1
                    score.noticed += len(score.misses) == before
                if score.injected == times:
                    break
    return score


# -- the program


def table(scores: dict[str, Score]) -> str:
    """For the terminal."""
    lines = [f"{'':18}{'injected':>10}{'noticed':>10}{'gone':>8}{'counted':>9}{'misses':>8}"]
    for name, s in scores.items():
        lines.append(
            f"{name:18}{s.injected:>10}{s.noticed:>10}{s.gone:>8}{s.counted:>9}{len(s.misses):>8}"
        )
    return "\n".join(lines)


async def whole(root: Path, seed: str, *, clean_restarts: int, losses: int) -> dict[str, Score]:
    """Everything, by name."""
    scores = {"clean kill -9": await clean(root / "clean", Random(f"{seed}/clean"), clean_restarts)}
    share = Counter(list(LOSSES)[n % len(LOSSES)] for n in range(losses))
    for number, (kind, times) in enumerate(share.items()):
        rng = Random(f"{seed}/{kind}")
        scores[kind] = await lose(root / f"loss-{number}", rng, kind, times)
    return scores


def main() -> int:
    """Runs it; 1 when anything was missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.restarts")
    parser.add_argument("--clean", type=int, default=500)
    parser.add_argument("--losses", type=int, default=100)
    parser.add_argument("--seed", default=str(Random().randrange(10**6)))
    given = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="orch-restarts-"))
    began = monotonic_ms()
    try:
        scores = anyio.run(
            lambda: whole(root, given.seed, clean_restarts=given.clean, losses=given.losses)
        )
    finally:
        shutil.rmtree(root, ignore_errors=True)
    misses = [miss for score in scores.values() for miss in score.misses]
    for line in (table(scores), *misses[:20]):
        sys.stdout.write(f"{line}\n")
    took_s = (monotonic_ms() - began) // 1_000
    verdict = f"{len(misses)} MISSES" if misses else "nothing was missed"
    sys.stdout.write(f"seed {given.seed}: {verdict}; {took_s} s\n")
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main())
