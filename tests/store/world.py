"""Small builders: jobs, runners and the whole content of a server, so that a test reads as a story."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from contracts.errors import Refused
from contracts.record import LedgerEvent, Submitted
from contracts.states import State
from orch.core.asks import Ask
from orch.core.bounds import Bounds
from orch.core.handover import ClaimEnding, Cycled, EndingVerb, Offer, Undecided, Verdict
from orch.core.ledger import parse_ledger, state_of
from orch.core.scheduling import SchedulingPolicy, TiePolicy, scheduling_policy
from orch.store.connection import Connection
from orch.store.leases import Burial, Instance
from orch.store.library import library
from orch.store.store import Store, open_store
from orch.system import SystemIds

HOUR_MS = 3_600_000
ENDINGS: Mapping[str, dict[str, Any]] = {
    "settle": {"outcome": "done", "reason": "completed", "exit_code": 0},
    "release": {"outcome": "transient", "reason": "exit_code", "exit_code": 75},
    "ask": {"outcome": "human", "reason": "question"},
    "handback": {"outcome": "human", "reason": "interrupted"},
    "stop": {"outcome": "human", "reason": "paused"},
}
"""What a runner says at the end of an attempt, by verb."""


def policy(
    *classes: str, scheduling: str = "fair", aging_ms: int = 24 * HOUR_MS, **ties: Any
) -> SchedulingPolicy:
    """A policy; aging is so slow that it decides nothing unless a test wants it to."""
    words = classes or ("interactive:8", "batch:1")
    last = words[-1].partition(":")[0]
    return scheduling_policy(
        words,
        default_class=last,
        scheduling=scheduling,
        aging_ms=aging_ms,
        ties=TiePolicy(**ties),
    )


def spec(**keys: Any) -> dict[str, Any]:
    """The smallest valid job, with `keys` over it."""
    adapter = {"name": "command", "config": {"argv": ["true"]}}
    return {"name": "a job", "adapter": adapter, **keys}


def question(question_id: str = "q1", **keys: Any) -> str:
    """What an agent asks, as the runner hands it to the store."""
    asked = {"question_id": question_id, "text": "go on?", "kind": "approve", "options": None}
    return orjson.dumps({**asked, "block_reason": "approval", "step_id": "s1", **keys}).decode()


def started(step_id: str) -> dict[str, Any]:
    """What an attempt notes before a step."""
    return {"step_id": step_id, "key": "k", "executed": True}


def ending(verb: EndingVerb, offer: Offer, **keys: Any) -> ClaimEnding:
    """An ending of the offer's claim."""
    data = {"settle": '{"answer":42}', "ask": question()}.get(verb, "")
    return ClaimEnding(
        verb=verb,
        job_id=offer.job_id,
        claim=keys.get("claim", offer.claim),
        payload=keys.get("payload", ENDINGS[verb]),
        data=keys.get("data", data),
        expires_in_ms=keys.get("expires_in_ms", HOUR_MS if verb == "ask" else 0),
    )


@dataclass(slots=True)
class Runner:
    """A runner that does what the test says."""

    store: Store
    runner_id: str
    pool: str
    slots: int
    number: int = 0

    async def cycle(
        self,
        *endings: ClaimEnding,
        free: int | None = None,
        number: int | None = None,
        heard: int | None = None,
    ) -> Cycled:
        """One call; the next number unless one is given, all slots free unless told. With `heard` it rests if
        it has room left, and may be handed a job."""
        if number is None:
            self.number += 1
        cycled = await self.store.claims.cycle(
            self.runner_id,
            self.pool,
            number=self.number if number is None else number,
            free=self.slots if free is None else free,
            random=f"r{self.number}",
            endings=endings,
            heard=heard,
        )
        assert cycled is not None, "the server came back: reclaim first"
        return cycled

    async def claim_one(self) -> Offer:
        """The one job that is there for it."""
        (offer,) = (await self.cycle(free=1)).offers
        return offer

    async def end(self, *endings: ClaimEnding) -> list[str]:
        """Delivers endings and claims nothing."""
        return list((await self.cycle(*endings, free=0)).judgements)


@dataclass(slots=True)
class World:
    """A store and what a test does around it."""

    connection: Connection
    policy: SchedulingPolicy = field(default_factory=policy)
    bounds: Bounds = Bounds(1_000_000)  # noqa: RUF009 - a frozen value
    half_written: bool = False
    """The test broke an index itself: only ledgers and key families are checked after it."""
    runners: int = 0

    @property
    def store(self) -> Store:
        """The store under the world's policy and capacity as they are now."""
        return open_store(
            self.connection,
            SystemIds(),
            self.policy,
            actor="gateway",
            bounds=self.bounds,
        )

    async def redis(self, *command: str | int) -> Any:
        """One command."""
        return await self.connection.execute(*command)

    async def hello(self, seen: int, schema: int, *, known: str = "") -> list[Any]:
        """What the server says to a client that greets it."""
        function = library().function("hello")
        prefix = self.connection.keys.prefix
        return list(
            await self.redis(
                "FCALL", function, 1, prefix, seen, known and f"{seen}:{known}", schema
            )
        )

    async def bury(self, runner: Runner, *, age_ms: int = 1, most: int = 10) -> Burial:
        """As a reaper does that saw the beat unmoved."""
        counter = (await self.store.leases.beats()).get(runner.runner_id, 0)
        return await self.store.leases.bury(runner.runner_id, counter, age_ms=age_ms, most=most)

    async def wait_a_ms(self) -> None:
        """Until the server's clock shows another millisecond."""
        now = await self.now_ms()
        while await self.now_ms() == now:
            pass

    async def now_ms(self) -> int:
        """The server's time."""
        seconds, micros = await self.redis("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    async def pool(self, *names: str) -> None:
        """Makes pools exist."""
        await self.store.timers.declare(names or ("default",))

    async def ask(self, *documents: Any, **keys: Any) -> list[Submitted | Refused]:
        """Submits documents in one call; `keys` go into each Ask."""
        return await self.store.admission.admit([Ask(document, **keys) for document in documents])

    async def submit(self, job_id: str, **keys: Any) -> Submitted:
        """Submits one job that is accepted."""
        (answer,) = await self.ask(spec(id=job_id, **keys))
        assert isinstance(answer, Submitted), answer
        return answer

    async def submit_many(self, prefix: str, count: int, **keys: Any) -> list[str]:
        """Submits `count` jobs that are all accepted, in the order of their ids."""
        ids = [f"{prefix}{n:04}" for n in range(count)]
        answers = await self.ask(*(spec(id=job_id, **keys) for job_id in ids))
        assert all(isinstance(answer, Submitted) for answer in answers), answers
        return ids

    async def wish(self, **fields: str | int) -> None:
        """What operators wish, as `apply` writes it: `pool__a__drain="c1"` is the field `pool:a:drain`."""
        flat = [word for name, value in fields.items() for word in (name.replace("__", ":"), value)]
        await self.redis("HSET", self.connection.keys.desired, "rev", 1)
        await self.redis("HSET", self.connection.keys.desired, *flat)

    async def unwish(self, *fields: str) -> None:
        """Takes fields back."""
        await self.redis("HSET", self.connection.keys.desired, "rev", 1)
        await self.redis("HDEL", self.connection.keys.desired, *fields)

    async def runner(self, slots: int = 1, pool: str = "default") -> Runner:
        """Registers a runner."""
        self.runners += 1
        runner_id = f"runner-{self.runners}"
        await self.store.leases.register(
            Instance(runner_id, "runner", {"lease_ms": 15_000}, pool=pool, slots=slots)
        )
        return Runner(self.store, runner_id, pool, slots)

    async def running(self, job_id: str = "job", **keys: Any) -> tuple[Runner, Offer]:
        """A runner with one slot, and the job that it runs."""
        runner = await self.runner()
        await self.submit(job_id, **keys)
        return runner, await runner.claim_one()

    async def fields(self, job_id: str) -> dict[str, str]:
        """The job hash."""
        found: dict[str, str] = await self.redis("HGETALL", self.connection.keys.job(job_id))
        return found

    async def state(self, job_id: str) -> State:
        """Where the job stands."""
        return state_of((await self.fields(job_id))["state"])

    async def states(self, job_ids: Sequence[str]) -> list[State]:
        """Where the jobs stand."""
        return [await self.state(job_id) for job_id in job_ids]

    async def ledger(self, job_id: str) -> list[LedgerEvent]:
        """The job's history."""
        return parse_ledger(await self.fields(job_id))

    async def story(self, job_id: str) -> list[str]:
        """The job's history in words: causes of transitions, types of other events."""
        events = await self.ledger(job_id)
        return [event.payload.get("cause") or event.type.value for event in events]

    async def undecided(self, job_id: str) -> Undecided:
        """The outcome that waits for a decision, behind the last hint about it."""
        entries = await self.redis("XREVRANGE", self.connection.keys.outcomes, "+", "-")
        for entry_id, entry in entries:
            named, _, seq = entry["j"].partition(":")
            if named == job_id:
                found = await self.store.outcomes.load(job_id, seq, entry_id)
                if found is not None:
                    return found
        raise AssertionError(f"no outcome of {job_id} waits for a decision")

    async def decide(self, job_id: str, verb: Any, **keys: Any) -> bool:
        """Carries out a decision about the outcome that waits."""
        found = await self.undecided(job_id)
        return (await self.store.outcomes.decide([verdict(found, verb, **keys)]))[0]

    async def contents(self) -> dict[str, Any]:
        """Everything on the server but the number of the last call."""
        found = {name: await self._value(name) for name in sorted(await self.redis("KEYS", "*"))}
        found.get(self.connection.keys.meta, {}).pop("seq", None)
        return found

    async def go_back(self, contents: Mapping[str, Any]) -> None:
        """Jobs and indexes as they were: what a server that lost its last second has. Who lives stays."""
        stay = ("meta", "beats", "seen", "instances", "slots", "pools", "inbox", "lastcall", "fair")
        for name in await self.redis("KEYS", "*"):
            if not _is_of(name, stay) and await self.redis("TYPE", name) != "stream":
                await self.redis("DEL", name)
        for name, value in contents.items():
            if not _is_of(name, stay) and (kind := await self._writes(name, value)):
                await self.redis(*kind)

    async def _writes(self, name: str, value: Any) -> tuple[str | int, ...]:
        if isinstance(value, dict):
            return "HSET", name, *(word for pair in value.items() for word in pair)
        if isinstance(value, set):
            return "SADD", name, *sorted(value)
        if isinstance(value, list) and value and isinstance(value[0], tuple):
            is_stream = isinstance(value[0][1], dict)
            return () if is_stream else ("ZADD", name, *(w for m, s in value for w in (s, m)))
        return ("RPUSH", name, *value) if isinstance(value, list) and value else ()

    async def _value(self, name: str) -> Any:
        read: dict[str, tuple[str | int, ...]] = {
            "string": ("GET", name),
            "hash": ("HGETALL", name),
            "list": ("LRANGE", name, 0, -1),
            "set": ("SMEMBERS", name),
            "zset": ("ZRANGE", name, 0, -1, "WITHSCORES"),
            "stream": ("XRANGE", name, "-", "+"),
        }
        kind = await self.redis("TYPE", name)
        value = await self.redis(*read[kind])
        return list(zip(value[::2], value[1::2], strict=True)) if kind == "zset" else value


def _is_of(name: str, families: Sequence[str]) -> bool:
    return name.partition("}:")[2].partition(":")[0] in families


def verdict(found: Undecided, verb: Any, **keys: Any) -> Verdict:
    """A decision about an outcome."""
    payloads: dict[str, dict[str, Any]] = {
        "retry": {"after": "transient"},
        "backoff": {"after": "transient", "delay_ms": HOUR_MS},
        "fail": {"reason": "attempts_used", "last": "transient"},
        "block": {"block_reason": "error"},
    }
    counts = {"failures": found.failures + 1, "crashes": found.crashes}
    return Verdict(
        job_id=found.job_id,
        seq=keys.get("seq", found.seq),
        entry_id=found.entry_id,
        verb=verb,
        delay_ms=keys.get("delay_ms", HOUR_MS if verb == "backoff" else 0),
        payload={**counts, **keys.get("payload", payloads[verb])},
        failures=found.failures + 1,
        crashes=found.crashes,
    )
