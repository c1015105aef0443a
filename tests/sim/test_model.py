"""The model and the real functions answer alike and leave the same data behind, call by call.

`ORCH_MODEL_CALLS=1000000` tells longer stories than a test run has time for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from fakeredis import FakeRedis, FakeServer
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.sim.model.servers import Told, ToldModel, ToldRedis
from tests.sim.model.stories import Step, Story

CALLS = int(os.environ.get("ORCH_MODEL_CALLS", "10000"))
STORY_CALLS = 250
LOOK_EVERY = 10


def difference(seed: int, calls: int, model: ToldModel, real: Told, *, look_every: int) -> str:
    """The first step after which the two differ, told with what led to it; empty when they never do."""
    model.begin()
    real.begin()
    story = Story(seed, model.server)
    steps: list[Step] = []
    for n in range(1, calls + 1):
        step = story.step()
        steps.append(step)
        # The real one first: an entry is named by its place in the model before the call.
        answers = {"real": real.do(step), "model": model.do(step)}
        if answers["real"] != answers["model"]:
            return _told(seed, steps, answers)
        if n % look_every == 0 or n == calls:
            seen = {"real": real.look(), "model": model.look()}
            if seen["real"] != seen["model"]:
                return _told(seed, steps, _parts(seen["real"], seen["model"]))
    return ""


def _parts(real: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {"real": real.get(name), "model": model.get(name)}
        for name in sorted(real.keys() | model.keys())
        if real.get(name) != model.get(name)
    }


def _told(seed: int, steps: list[Step], differing: object) -> str:
    lines = [f"seed {seed}, step {len(steps)}", *(str(step)[:500] for step in steps[-12:])]
    return "\n".join([*lines, str(differing)])


def first_difference(real: Told, calls: int, model: ToldModel) -> str:
    """Stories until `calls` were compared or one differs; then the very step that made it."""
    for seed in range(max(1, calls // STORY_CALLS)):
        if difference(seed, STORY_CALLS, model, real, look_every=LOOK_EVERY):
            return difference(seed, STORY_CALLS, model, real, look_every=1) or "only now and then"
    return ""


@pytest.fixture
def fake() -> ToldRedis:
    return ToldRedis(FakeRedis(server=FakeServer(), decode_responses=True, protocol=2))


@pytest.fixture
def valkey(server_url: str) -> Iterator[ToldRedis]:
    with redis.Redis.from_url(
        server_url, decode_responses=True, protocol=2, retry=Retry(NoBackoff(), 0)
    ) as client:
        told = ToldRedis(client)
        yield told
        told.end()


@pytest.mark.req("SIM-1")
@pytest.mark.timeout(max(60, CALLS // 100))
def test_on_valkey_the_model_answers_as_the_functions_do(valkey: ToldRedis) -> None:
    found = first_difference(valkey, CALLS, ToldModel())
    assert found == "", found
