"""What a story is told with: steps, names, and what can be learned of the shard from the model."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from contracts.states import STATE_CODES, State
from orch.store.keys import Keys
from tests.sim.model.server import ModelServer
from tests.sim.model.values import id_text

PREFIX = Keys(0).prefix
EPOCH_MS = 1_750_000_000_000
POOLS = ("a", "b")
CLASSES = ("hi", "mid", "lo")
TENANTS = ("t1", "t2", "t3")
POLICIES = (
    "fair 60000 hi:8 mid:3 lo:1",
    "fair 700 hi:3 mid:2 lo:1",
    "strict 1000 hi:8 mid:3 lo:1",
    "fair 5000 hi:8 mid:3 lo:1 key_running_max=2 session_policy=replace",
    "fair 5000 hi:2 mid:1 lo:1 tenant_running_max=2 session_policy=interrupt",
)
BOUNDS = (
    "queue_jobs_max=10000",
    "queue_jobs_max=3",
    "queue_jobs_max=10000 pool_jobs_max=6 full_policy=drop-lru",
    "queue_jobs_max=10000 pool_jobs_max=6 full_policy=shed-low-priority",
    "queue_jobs_max=3 tenant_jobs_max=4 full_policy=drop-lru",
    "queue_jobs_max=10000 tenant_jobs_max=3 full_policy=shed-low-priority",
    "queue_jobs_max=10000 key_jobs_max=2 pool_jobs_max=6 full_policy=drop-lru",
)
SESSION_POLICIES = ("reject", "enqueue", "interrupt", "replace")
RUNNERS = {"r1": "a", "r2": "a", "r3": "b"}
ACTORS = {"ad1": "admission", "ad2": "admission", "fb1": "fallback", "fb2": "fallback"} | {
    "sc1": "scheduler",
    "re1": "reaper",
    "su1": "supervisor",
    "no1": "notifier",
}
PAYLOADS = {
    "settle": {"outcome": "done", "exit_code": 0},
    "release": {"outcome": "transient", "reason": "exit_code"},
    "ask": {"outcome": "human", "block_reason": "approval"},
    "handback": {"outcome": "human", "reason": "interrupted"},
    "stop": {"outcome": "human", "reason": "paused"},
    "fail": {"outcome": "logic", "reason": "attempts_used", "last": "logic"},
    "block": {"block_reason": "error"},
}
REASSIGNED = "reassigned"
"""A run id that no server has: the next hello finds another incarnation."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The n-th entry that a stream has now; its id differs from server to server."""

    stream: str
    n: int


Word = str | int | Entry


@dataclass(frozen=True, slots=True)
class Step:
    """A call of a verb or, in capitals, a plain command; at a time."""

    name: str
    words: tuple[Word, ...]
    at_ms: int


class Telling:
    """One story as far as it has been told."""

    def __init__(self, seed: int, model: ModelServer) -> None:
        self._rng = Random(seed)
        self._model = model
        self._now = EPOCH_MS
        self._count = 0
        self._policy = self._rng.choice(POLICIES)
        self._bounds = self._rng.choice(BOUNDS)
        self._given: list[tuple[str, str]] = []
        """Claims ever given, the old ones too."""

    def _hash(self, name: str) -> dict[str, str]:
        return self._model.space.hash(PREFIX + name)

    def _ids(self) -> list[str]:
        name = f"{PREFIX}job:"
        return [one.removeprefix(name) for one in self._model.space.names() if name in one]

    def _job(self) -> str:
        ids = self._ids()
        return self._rng.choice(ids) if ids and self._rng.random() < 0.95 else "nobody"

    def _state(self, job_id: str) -> str:
        return self._hash(f"job:{job_id}").get("state", "")

    def _in_state(self, state: State) -> list[str]:
        return [one for one in self._ids() if self._state(one) == STATE_CODES[state]]

    def _claim(self) -> tuple[str, str]:
        """A job and its claim, mostly the one in force."""
        held = [pair for one in RUNNERS for pair in self._hash(f"held:{one}").items()]
        self._given += [pair for pair in held if pair not in self._given[-40:]]
        if held and self._rng.random() < 0.8:
            return self._rng.choice(held)
        if self._given and self._rng.random() < 0.9:
            return self._rng.choice(self._given)
        return self._job(), "9.9.never"

    def _entry(self, name: str) -> Word:
        stream = self._model.space.stream(PREFIX + name)
        if stream is None or not len(stream) or self._rng.random() < 0.1:
            return ""
        return Entry(name, self._rng.randrange(len(stream)))

    def _say(self, name: str, *words: Word) -> Step:
        return Step(name, words, self._now)

    def _any(self, *words: Word) -> Word:
        return self._rng.choice(words)


def entry_id(model: ModelServer, entry: Entry) -> str:
    """The id that the model gave it."""
    stream = model.space.stream(PREFIX + entry.stream)
    assert stream is not None, entry
    return id_text(stream.after((-1, 0), None)[entry.n])
