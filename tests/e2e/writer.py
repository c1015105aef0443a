"""One of many writers, a process of its own that `writers` starts: `python -m tests.e2e.writer START VERB …`.

It waits for the file START, so that all begin together, and leaves one JSON document on stdout.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

from contracts.errors import ErrorCode, Refused
from orch.client import Endpoint, OrchSync
from orch.store.keys import Keys
from tests.e2e.specs import call
from tests.e2e.stack import Stack, connect, environ, wait_until

REPO = Path(__file__).parents[2]


def small(n: int) -> dict[str, Any]:
    """A job that costs next to nothing."""
    return call("async_echo", n, config={"isolation": "inline"})


def writers(stack: Stack, words: Sequence[Sequence[object]]) -> list[Any]:
    """What so many writers, each with its words, said when all were done; they begin at the same moment."""
    start = stack.root / "start"
    with ExitStack() as open_ones:
        running = [
            open_ones.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.e2e.writer", str(start), *map(str, one)],
                    cwd=REPO,
                    env={**environ(), "PYTHONPATH": str(REPO)},
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for one in words
        ]
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        start.touch()
        said = [process.communicate(timeout=120)[0] for process in running]
        start.unlink()
    return [json.loads(one) for one in said]


def submit(seed: str, url: str, count: str) -> dict[str, tuple[str, bool]]:
    """The keys k0, k1 … in an order of its own, over HTTP: key -> (job id, duplicate)."""
    with OrchSync(Endpoint(url)) as client:
        answers = {f"k{n}": client.submit(small(n), f"k{n}") for n in order(seed, count)}
    return {key: (one.job_id, one.duplicate) for key, one in answers.items()}


def push(seed: str, url: str, count: str) -> dict[str, tuple[str, bool]]:
    """The same through the stream of raw requests."""
    with connect(url) as redis:
        for n in order(seed, count):
            spec = json.dumps({**small(n), "idempotency_key": f"k{n}"})
            fields = {"v": "1", "request_id": f"{seed}.{n}", "spec": spec}
            redis.xadd(Keys().requests, fields)
        texts = {
            f"k{n}": wait_until(lambda n=n: redis.get(Keys().answer(f"{seed}.{n}")))  # type: ignore[misc]
            for n in range(int(count))
        }
    answers = {key: json.loads(text) for key, text in texts.items()}
    return {key: (one["job_id"], one["duplicate"]) for key, one in answers.items()}


def steer(seed: str, url: str, job_id: str, count: str) -> dict[str, list[str]]:
    """Pauses and resumes one job, each time with words of its own: which were taken, which refused."""
    rng, taken, refused = Random(seed), [], []
    with OrchSync(Endpoint(url)) as client:
        for n in range(int(count)):
            words = f"{seed}.{n}"
            try:
                rng.choice((client.pause, client.resume))(job_id, words)
                taken.append(words)
            except Refused as error:
                if error.code is not ErrorCode.INVALID_TRANSITION:
                    raise
                refused.append(words)
    return {"taken": taken, "refused": refused}


def many(seed: str, url: str, count: str) -> list[str]:
    """Jobs without an id, a key or a trace of their own: the ids that they got."""
    with OrchSync(Endpoint(url)) as client:
        return [client.submit(small(n)).job_id for n in range(int(count))]


def order(seed: str, count: str) -> list[int]:
    """All numbers below `count`, shuffled."""
    numbers = list(range(int(count)))
    Random(seed).shuffle(numbers)
    return numbers


def main() -> None:
    """See the module."""
    start, verb, *words = sys.argv[1:]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    wait_until(Path(start).exists)
    said = {"submit": submit, "push": push, "steer": steer, "many": many}[verb](*words)  # type: ignore[operator]
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    main()
