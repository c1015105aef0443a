"""Random stories of a shard: sensible calls of every verb, repeated, late, stale and refused ones among them.

A story looks at the model to find what could be said next (which claim is in force, what waits for a
decision); the real servers are told the same. Stream ids differ between servers, so an entry is named by its
place: `Entry(stream, n)`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from contracts.states import STATE_CODES, State
from orch.store.keys import Keys
from orch.store.library import SCHEMA
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
)
RUNNERS = {"r1": "a", "r2": "a", "r3": "b"}
ACTORS = {"ad1": "admission", "ad2": "admission", "fb1": "fallback", "fb2": "fallback"} | {
    "sc1": "scheduler",
    "re1": "reaper",
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


class Story:
    """The next step of a shard's life, as often as it is asked."""

    def __init__(self, seed: int, model: ModelServer) -> None:
        self._rng = Random(seed)
        self._model = model
        self._now = EPOCH_MS
        self._count = 0
        self._jobs_max = self._rng.choice((5, 30, 80))
        self._policy = self._rng.choice(POLICIES)
        self._given: list[tuple[str, str]] = []
        """Claims ever given, the old ones too."""
        self._open: list[Step] = [
            Step("hello", (0, SCHEMA), self._now),
            Step("declare", POOLS, self._now),
        ]
        self._open += [self._registration(name) for name in RUNNERS if self._rng.random() < 0.8]
        self._acts: dict[Callable[[], Step], int] = {
            self._admit: 14,
            self._cycle: 26,
            self._register: 4,
            self._decide: 9,
            self._note: 4,
            self._emit: 3,
            self._due: 4,
            self._steer: 6,
            self._answer: 2,
            self._bury: 2,
            self._sweep: 6,
            self._read: 4,
            self._request: 3,
            self._replay: 2,
            self._live: 3,
            self._reclaim: 3,
            self._tamper: 1,
        }

    def step(self) -> Step:
        """What happens next."""
        self._count += 1
        if self._open:
            return self._open.pop(0)
        if self._rng.random() < 0.4:
            jumps = (1, 1, 1, 20, 20, 300, 1_000, 1_000, 5_000, 40_000, 3_600_000, -1_500)
            self._now = max(EPOCH_MS, self._now + self._rng.choice(jumps))
        acts, weights = list(self._acts), list(self._acts.values())
        return self._rng.choices(acts, weights)[0]()

    # -- what the model knows

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

    # -- acts

    def _admit(self) -> Step:
        count = self._rng.choice((1, 1, 2, 6))
        items = [self._item() for _ in range(count)]
        capacity = self._any(10_000, 10_000, 2)
        flat = [word for item in items for word in item]
        return self._say("admit", "gateway", self._policy, capacity, count, *flat)

    def _item(self) -> tuple[Word, ...]:
        chance = self._rng.random
        now = self._now
        job_id = f"j{self._rng.randrange(self._jobs_max)}"
        odd = chance() < 0.1
        return (
            job_id,
            self._any("d1", "d2") if odd else "d1",
            self._rng.choice(TENANTS),
            self._rng.choice((*POOLS, "nowhere")) if odd else "a" if chance() < 0.8 else "b",
            "none" if chance() < 0.01 else self._rng.choice(CLASSES),
            '{"name":"x"}',
            0 if chance() < 0.7 else now + self._rng.choice((-5, 0, 500, 30_000)),
            0 if chance() < 0.7 else now + self._rng.choice((-5, 100, 8_000, 7_200_000)),
            f"k{self._rng.randrange(9)}" if chance() < 0.2 else "",
            f"n{self._rng.randrange(3)}" if chance() < 0.3 else "",
            "",
            "",
        )

    def _request(self) -> Step:
        """A raw request: written, read, then admitted or refused and answered."""
        entry = self._entry("requests")
        if not entry or self._rng.random() < 0.3:
            return self._say("XADD", f"{PREFIX}requests", "*", "spec", "{}")
        if self._rng.random() < 0.1:
            entry = "1-1"  # settled long ago, or handed on
        request = f"q{self._count}"
        self._open.append(self._say("GET", f"{PREFIX}answer:{request}"))
        if self._rng.random() < 0.3:
            return self._say("refuse", entry, request, '{"code":"INVALID_SPEC"}')
        item = (*self._item()[:-2], entry, request)
        return self._say("admit", "admission", self._policy, 10_000, 1, *item)

    def _cycle(self) -> Step:
        runner = self._rng.choice(list(RUNNERS))
        last = int(self._hash(f"lastcall:{runner}").get("number", "0"))
        number = last + self._rng.choice((1, 1, 1, 1, 1, 0, -1))
        endings = [self._ending() for _ in range(self._rng.choice((0, 0, 1, 1, 2, 4)))]
        flat = [word for ending in endings for word in ending]
        head = (runner, RUNNERS[runner], number, self._any(0, 1, 2, 5), f"x{self._count}")
        return self._say("cycle", *head, self._policy, len(endings), *flat)

    def _reclaim(self) -> Step:
        """Mostly a runner that was asked, with claims it has, once had, or never did."""
        asked = [
            name
            for name, pool in RUNNERS.items()
            if self._hash(f"slots:{pool}").get(name, "").startswith("?")
        ]
        runner = self._rng.choice(asked or list(RUNNERS))
        rows: list[Word] = []
        count = self._rng.choice((0, 1, 1, 3))
        for _ in range(count):
            job_id, claim = self._claim()
            if self._rng.random() < 0.5:
                job_id, claim = self._job(), f"1.7{self._count}.r"
            attempt = int(self._hash(f"job:{job_id}").get("attempt", "0"))
            notes = self._rng.choice((0, 0, 1, 3, 5))
            progress = f'{{"at":{self._count}}}' if notes and self._rng.random() < 0.7 else ""
            rows += (job_id, claim, 4294967303, attempt + self._rng.choice((1, 1, 0)), notes, progress)
        more = self._any(0, 0, 0, 1)
        return self._say("reclaim", runner, RUNNERS[runner], more, count, *rows)

    def _ending(self) -> tuple[Word, ...]:
        job_id, claim = self._claim()
        verb = self._rng.choice(("settle", "settle", "release", "release", *PAYLOADS))
        verb = verb if verb not in {"fail", "block"} else "release"
        data, number = "", 0
        if verb == "settle":
            data = (
                '{"answer":"é"}'
                if self._rng.random() < 0.8
                else json.dumps("é" * 300, ensure_ascii=False)
            )
        if verb == "ask":
            asked = {"question_id": f"w{self._rng.randrange(4)}", "block_reason": "approval"}
            if self._rng.random() < 0.7:
                asked["step_id"] = "s1"
            data, number = json.dumps(asked), self._rng.choice((1_000, 9_000_000))
        return verb, job_id, claim, json.dumps(PAYLOADS[verb]), data, number

    def _register(self) -> Step:
        return self._registration(self._rng.choice([*RUNNERS, *RUNNERS, *ACTORS]))

    def _registration(self, name: str) -> Step:
        role, pool = ACTORS.get(name, "runner"), RUNNERS.get(name, "")
        slots = self._rng.choice((0, 1, 3, 6)) if pool else 0
        about = json.dumps({"role": role, "pool": pool, "slots": slots})
        return self._say("register", name, role, about, pool, slots, 0)

    def _decide(self) -> Step:
        waiting = [member for _, member in self._model.space.zset(f"{PREFIX}undecided")]
        rows: list[Word] = []
        count = self._rng.choice((1, 1, 2, 3))
        for _ in range(count):
            job_id, _, seq = (self._rng.choice(waiting) if waiting else "j1:2").partition(":")
            seq = seq if self._rng.random() < 0.9 else "1"
            verb = self._rng.choice(("retry", "backoff", "fail", "block"))
            delay, payload = self._any(0, 700, 60_000), json.dumps(PAYLOADS.get(verb, {}))
            # Only one hint a call: a place in the stream is a place before the call.
            entry = self._entry("outcomes") if not rows else ""
            rows += (job_id, seq, entry, verb, delay, payload, self._any(1, 2), self._any(0, 1))
        return self._say("decide", self._policy, count, *rows)

    def _note(self) -> Step:
        job_id, claim = self._claim()
        done = int(self._hash(f"job:{job_id}").get("notes", "0"))
        number = max(1, done + self._rng.choice((1, 1, 1, 0, 2)))
        progress = "" if self._rng.random() < 0.5 else f'{{"at":{self._count}}}'
        kind = self._rng.choice(("step_started", "step_finished", "answer_consumed"))
        consume = self._any(0, 1)
        return self._say("note", job_id, claim, number, progress, consume, kind, '{"step_id":"s1"}')

    def _emit(self) -> Step:
        words: list[Word] = []
        count = self._rng.choice((1, 2))
        for _ in range(count):
            job_id, claim = self._claim()
            outs = int(self._hash(f"job:{job_id}").get("outs", "0"))
            pieces = self._rng.choice((0, 1, 3))
            first = max(1, outs + self._rng.choice((1, 1, 0, -1)))
            words += (job_id, claim, first, pieces)
            for n in range(pieces):
                words += (self._any("stdout", "stderr"), f"line {self._count} {n}")
        return self._say("emit", count, *words)

    def _due(self) -> Step:
        return self._say("due", self._any(1, 3, 1_000), self._policy)

    def _steer(self) -> Step:
        verb, who = self._rng.choice(("cancel", "pause", "pause", "resume", "resume")), '"by":"me"'
        if self._rng.random() < 0.3:
            who += ',"note":"why"'
        likely = {
            "pause": (State.RUNNING, State.SCHEDULED),
            "resume": (State.PAUSED, State.RUNNING),
        }
        state = self._rng.choice(likely.get(verb, tuple(State)))
        fitting = self._in_state(state) if self._rng.random() < 0.7 else []
        words = (self._rng.choice(fitting) if fitting else self._job(), who, "gateway")
        return self._say(verb, *words, *((self._policy,) if verb == "resume" else ()))

    def _answer(self) -> Step:
        blocked = self._in_state(State.BLOCKED)
        job_id = self._rng.choice(blocked) if blocked else self._job()
        asked = self._hash(f"job:{job_id}").get("question_id") or "w0"
        question = asked if self._rng.random() < 0.8 else "w1"
        words = (job_id, question, '"yes"', '"me"', self._any("null", '"so"'), "gateway")
        return self._say("answer", *words, self._policy, f"a{self._rng.randrange(3)}")

    def _bury(self) -> Step:
        name = self._rng.choice([*RUNNERS, *ACTORS, "stranger"])
        if self._rng.random() < 0.2:
            return self._say("leave", name)
        counter = self._hash("beats").get(name, "1") if self._rng.random() < 0.8 else "77"
        return self._say("bury", name, counter, 15_000, self._any(1, 1_000))

    def _sweep(self) -> Step:
        verb = self._rng.choice(("dispatch", "unready", "announce", "retire"))
        pool, most = self._rng.choice(POOLS), self._any(1, 4, 1_000)
        words: dict[str, tuple[Word, ...]] = {
            "dispatch": (pool, most, self._policy, "scheduler"),
            "unready": (pool, most),
            "announce": (self._any(0, 2_000), self._any(2_000, 60_000), most),
            # Whom SPOP takes is chance, so a call takes everybody.
            "retire": (self._any(0, 9_000_000), 1_000, self._any(1, 5, 48)),
        }
        return self._say(verb, *words[verb])

    def _read(self) -> Step:
        streams = {"ad1": "requests", "ad2": "requests", "fb1": "outcomes", "fb2": "outcomes"}
        streams |= {name: f"wake:{pool}" for name, pool in RUNNERS.items()}
        streams |= {f"inbox {name}": f"inbox:{name}" for name in RUNNERS} | {"sc1": "alarm"}
        who = self._rng.choice(list(streams))
        name = streams[who]
        group = ACTORS.get(who, "runners")
        own = group in {"admission", "fallback"}
        options = () if own else ("NOACK",)
        start = "0" if own and self._rng.random() < 0.3 else ">"
        reader = who.rpartition(" ")[2]
        head = ("GROUP", group, reader, "COUNT", self._any(1, 5), *options)
        return self._say("XREADGROUP", *head, "STREAMS", PREFIX + name, start)

    def _replay(self) -> Step:
        dead = self._in_state(State.FAILED)
        pairs: list[Word] = []
        for n in range(self._rng.choice((1, 2))):
            old = self._rng.choice(dead) if dead and self._rng.random() < 0.9 else self._job()
            known = self._hash(f"job:{old}").get("replayed_as")
            pairs += (old, known if known and self._rng.random() < 0.3 else f"p{self._count}{n}")
        head = ("gateway", self._policy, self._any(10_000, 2), '"me"')
        return self._say("replay", *head, len(pairs) // 2, *pairs)

    def _live(self) -> Step:
        if self._rng.random() < 0.2:
            incarnation = int(self._hash("meta").get("incarnation", "0"))
            return self._say("hello", max(0, incarnation + self._rng.choice((-1, 0, 0, 2))), SCHEMA)
        return self._say("beat", self._rng.choice([*RUNNERS, *ACTORS, "stranger"]))

    def _tamper(self) -> Step:
        """What a restart, a lost stream or a repair leaves behind."""
        job_id = self._job()
        fields = self._hash(f"job:{job_id}")
        again = f"{job_id}:{fields.get('ticket', '1')}"
        place = ":".join(fields.get(name, "x") for name in ("pool", "class", "tenant"))
        choices = [
            self._say("HSET", f"{PREFIX}meta", "run_id", REASSIGNED),
            self._say("DEL", f"{PREFIX}ready:a"),
            self._say("DEL", f"{PREFIX}outcomes"),
        ]
        if fields:
            choices += [self._say("XADD", f"{PREFIX}ready:{fields['pool']}", "*", "j", again)] * 3
        if fields and PREFIX + "queue:" + place in self._model.space.names():
            choices += [self._say("RPUSH", f"{PREFIX}queue:{place}", again)] * 3
        return self._rng.choice(choices)


def entry_id(model: ModelServer, entry: Entry) -> str:
    """The id that the model gave it."""
    stream = model.space.stream(PREFIX + entry.stream)
    assert stream is not None, entry
    return id_text(stream.after((-1, 0), None)[entry.n])
