"""Who submits, answers and cancels while versions change, and what was accepted?

One producer for each door: HTTP, the store called directly, and the raw stream. Each asks for the same job
again until it is answered, as a careful producer does; how long it had to wait is told at the end.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import anyio
from redis.asyncio import Redis

from actors.body import make_store
from contracts.errors import ErrorCode, OrchError, Refused, Unavailable
from contracts.limits import MINUTE_MS
from contracts.states import STATE_CODES, State
from orch.client import Endpoint
from orch.client.client import Orch
from orch.core.asks import Ask
from orch.core.derived import job_id_of_fire
from orch.settings import settings_of
from orch.store.keys import Keys
from orch.system import monotonic_ms
from tests.chaos.verdict import RESTING
from tests.upgrade.load import FIRED, TURNS, Draw, Scene, Spec, fired

KEYS: Final = Keys()
PATIENCE_S: Final = 30.0
"""For one answer; nobody has to wait nearly so long."""
_POLL_S: Final = 0.02
_FOLLOW_S: Final = 0.1
_RESTING: Final = {STATE_CODES[state] for state in RESTING}


@dataclass
class Books:
    """What all producers of a story know together."""

    accepted: dict[str, str] = field(default_factory=dict)
    """Job -> kind."""
    doors: Counter[str] = field(default_factory=Counter)
    open: set[str] = field(default_factory=set)
    """Accepted jobs that were not seen at their end."""
    longest_ms: Counter[str] = field(default_factory=Counter)
    """The longest wait for an answer, by door."""
    refused: list[str] = field(default_factory=list)
    stopped: set[str] = field(default_factory=set)
    """Doors at which nobody submits any more."""

    def write(self, job_id: str, kind: str, door: str, took_ms: int) -> None:
        """One accepted job."""
        self.accepted[job_id] = kind
        self.open.add(job_id)
        self.doors[door] += 1
        self.longest_ms[door] = max(self.longest_ms[door], took_ms)

    @property
    def ended(self) -> int:
        """How many have come to their end."""
        return len(self.accepted) - len(self.open)


class Producers:
    """All of them, and who answers their questions."""

    def __init__(
        self, redis_url: str, gateway_url: str, scene: Scene, *, kinds: Sequence[str]
    ) -> None:
        self.books = Books()
        self.redis = Redis.from_url(redis_url, decode_responses=True, protocol=2)
        self._scene = scene
        self._turns = tuple(name for name in TURNS if name in kinds)
        self._follows = True
        self._client = Orch(Endpoint(gateway_url))
        self._store = make_store(settings_of({"redis_url": redis_url}), actor="producer")

    async def aclose(self) -> None:
        """Closes every socket but the one that looks; nobody is followed any more."""
        self._follows = False
        await self._client.close()
        await self._store.connection.aclose()

    # -- submitting

    async def produce(self, door: str, *, most_open: int, pause_s: float) -> None:
        """Submits until told to stop, as long as not too many jobs are open."""
        draw = Draw(self._scene, door, self._turns)
        while door not in self.books.stopped:
            if len(self.books.open) < most_open:
                spec = draw.next()
                began_ms = monotonic_ms()
                if await self._accepted(door, spec):
                    self.books.write(spec["id"], spec["name"], door, monotonic_ms() - began_ms)
            await anyio.sleep(pause_s)

    async def _accepted(self, door: str, spec: Spec) -> bool:
        doors = {"http": self._by_http, "direct": self._by_direct, "raw": self._by_raw}
        try:
            await _patiently(lambda: doors[door](spec))
        except Refused as refused:
            self.books.refused.append(f"{spec['id']}: {refused.message}")
            return False
        return True

    async def _by_http(self, spec: Spec) -> None:
        await self._client.submit(spec)

    async def _by_direct(self, spec: Spec) -> None:
        (answer,) = await self._store.admission.admit([Ask(spec)])
        if isinstance(answer, Refused):
            raise answer

    async def _by_raw(self, spec: Spec) -> None:
        fields = {"v": "1", "request_id": spec["id"], "spec": json.dumps(spec)}
        await self.redis.xadd(KEYS.requests, fields)  # type: ignore[arg-type]  # a dict is invariant
        while (text := await self.redis.get(KEYS.answer(spec["id"]))) is None:
            await anyio.sleep(_POLL_S)
        if "job_id" not in json.loads(text):
            raise Refused(ErrorCode.INVALID_SPEC, str(text))

    async def fire(self, schedule_id: str) -> None:
        """A schedule whose time has just come makes its one job, and is deleted."""
        document = {"schedule_id": schedule_id, "cron": "* * * * *", "spec": fired(self._scene)}
        began_ms = monotonic_ms()
        await _patiently(lambda: self._client.put_schedule(document))
        seconds, _ = await self.redis.time()
        at_ms = int(seconds) * 1_000 // MINUTE_MS * MINUTE_MS
        # As if nobody had run at the turn of the minute: no expression comes sooner.
        pipe = self.redis.pipeline(transaction=True)
        pipe.hset(KEYS.schedule("default", schedule_id), "next", at_ms)  # type: ignore[unused-awaitable]  # a pipeline's
        pipe.zadd(KEYS.due, {f"cron:default:{schedule_id}:0": at_ms})  # type: ignore[unused-awaitable]
        pipe.xadd(KEYS.alarm, {"at": at_ms})  # type: ignore[unused-awaitable]
        await pipe.execute()
        job_id = job_id_of_fire("default", schedule_id, at_ms)
        with anyio.fail_after(PATIENCE_S):
            while not await self.redis.exists(KEYS.job(job_id)):
                await anyio.sleep(_POLL_S)
        self.books.write(job_id, FIRED, "schedule", monotonic_ms() - began_ms)
        with suppress(Refused):  # a repeat finds it gone
            await _patiently(lambda: self._client.delete_schedule(schedule_id))

    # -- following

    async def follow(self) -> None:
        """Looks which jobs have ended, answers questions, cancels what never ends."""
        while self._follows:
            states = await self._states(sorted(self.books.open))
            for job_id, state in states.items():
                kind = self.books.accepted[job_id]
                if kind == "asks" and state == STATE_CODES[State.BLOCKED]:
                    await self._answer(job_id)
                elif kind == "endless" and state == STATE_CODES[State.RUNNING]:
                    with suppress(OrchError):
                        await self._client.cancel(job_id)
                elif state in _RESTING:
                    self.books.open.discard(job_id)
            await anyio.sleep(_FOLLOW_S)

    async def _answer(self, job_id: str) -> None:
        # What failed is tried again at the next look; an answer that was given already is refused.
        with suppress(OrchError):
            question = (await self._client.job(job_id)).question
            if question is not None:
                await self._client.answer(job_id, question.question_id, "approve")

    async def _states(self, job_ids: Sequence[str]) -> dict[str, str]:
        pipe = self.redis.pipeline(transaction=False)
        for job_id in job_ids:
            pipe.hget(KEYS.job(job_id), "state")  # type: ignore[unused-awaitable]  # a pipeline's
        return dict(zip(job_ids, await pipe.execute(), strict=True))


async def _patiently(ask: Callable[[], Awaitable[object]]) -> None:
    """Asks again for what nobody could answer now; all of it is safe to ask twice."""
    with anyio.fail_after(PATIENCE_S):
        while True:
            try:
                await ask()
            except Unavailable:
                await anyio.sleep(_POLL_S)
            else:
                return
