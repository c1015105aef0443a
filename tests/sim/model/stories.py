"""Random stories of a shard: sensible calls of every verb, repeated, late, stale and refused ones among them.

A story looks at the model to find what could be said next (which claim is in force, what waits for a
decision); the real servers are told the same. Stream ids differ between servers, so an entry is named by its
place: `Entry(stream, n)`.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from contracts.states import State
from orch.store.library import SCHEMA
from tests.sim.model.commanding import Commanding
from tests.sim.model.hooking import Hooking
from tests.sim.model.server import ModelServer
from tests.sim.model.telling import (
    ACTORS,
    BOUNDS,
    CLASSES,
    EPOCH_MS,
    PAYLOADS,
    POOLS,
    PREFIX,
    RUNNERS,
    SESSION_POLICIES,
    TENANTS,
    Step,
    Word,
)
from tests.sim.model.timetables import Timetables


class Story(Commanding, Hooking, Timetables):
    """The next step of a shard's life, as often as it is asked."""

    def __init__(self, seed: int, model: ModelServer) -> None:
        super().__init__(seed, model)
        self._jobs_max = self._rng.choice((5, 30, 80))
        self._tied = self._rng.choice((0.0, 0.2, 0.6))
        self._open: list[Step] = [
            Step("hello", (0, "", SCHEMA), self._now),
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
            self._schedule: 3,
            self._fire: 4,
            self._steer_desired: 2,
            self._tamper: 1,
            self._damage: 1,
            self._steer_intake: 1,
            self._repair: 2,
            self._command: 4,
            self._obey: 3,
            self._webhook: 8,
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

    # -- acts

    def _admit(self) -> Step:
        count = self._rng.choice((1, 1, 2, 6))
        items = [self._item() for _ in range(count)]
        flat = [word for item in items for word in item]
        return self._say(
            "admit", "gateway", self._policy, self._limit(), f"y{self._count}", count, *flat
        )

    def _limit(self) -> Word:
        """Mostly the story's own bounds."""
        return self._bounds if self._rng.random() < 0.9 else self._any(*BOUNDS)

    def _item(self) -> tuple[Word, ...]:
        chance = self._rng.random
        now = self._now
        job_id = f"j{self._rng.randrange(self._jobs_max)}"
        odd = chance() < 0.1
        return (
            job_id,
            self._any("d1", "d2") if odd else "d1",
            self._rng.choice(TENANTS),
            self._rng.choice((*POOLS, "nowhere", "")) if odd else "a" if chance() < 0.8 else "b",
            "none" if chance() < 0.01 else self._rng.choice(CLASSES),
            '{"name":"x"}',
            0 if chance() < 0.7 else now + self._rng.choice((-5, 0, 500, 30_000)),
            0 if chance() < 0.7 else now + self._rng.choice((-5, 100, 8_000, 7_200_000)),
            f"k{self._rng.randrange(9)}" if chance() < 0.2 else "",
            f"n{self._rng.randrange(3)}" if chance() < 0.3 else "",
            "",
            "",
            '{"pool":"a","why":"pinned"}' if odd or chance() < 0.1 else "",
            self._ties(),
        )

    def _ties(self) -> str:
        """Mostly none; few keys and sessions, so that jobs meet."""
        words = []
        if self._rng.random() < self._tied:
            words.append(self._rng.choice(("k:k1", "k:k1", "k:k2")))
        if self._rng.random() < self._tied:
            words.append(self._rng.choice(("s:s1", "s:s1", "s:s2")))
            if self._rng.random() < 0.6:
                words.append(f"p:{self._rng.choice(SESSION_POLICIES)}")
        return " ".join([*words, *(["w"] if self._rng.random() < 0.02 else [])])

    def _steer_desired(self) -> Step:
        """What `apply` would write: pauses, drains and limits, mostly taken back."""
        tenant, pool = self._rng.choice(TENANTS), self._rng.choice(POOLS)
        names: dict[str, tuple[Word, ...]] = {
            "*:dispatch": ("paused",),
            f"pool:{pool}:dispatch": ("paused",),
            f"pool:{pool}:drain": ("c1",),
            f"queue:{pool}:{self._rng.choice(CLASSES)}:dispatch": ("paused",),
            f"runner:{self._rng.choice(list(RUNNERS))}:drain": ("c2",),
            f"tenant:{tenant}:dispatch": ("paused",),
            f"tenant:{tenant}:running_max": (0, 1, 2, 3),
            f"tenant:{tenant}:weight": (1, 2, 3, 8),
            f"key:{tenant}:k1:running_max": (0, 1, 2, 3),
            f"key:{tenant}:k1:key_jobs_max": (0, 1, 3),
        }
        if self._rng.random() < 0.6:
            return self._say("HDEL", f"{PREFIX}desired", *names)
        name = self._rng.choice(list(names))
        value = self._rng.choice(names[name])
        return self._say("HSET", f"{PREFIX}desired", "rev", self._count, name, value)

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
        *head, _, _, placed, ties = self._item()
        item = (*head, entry, request, placed, ties)
        return self._say(
            "admit", "admission", self._policy, self._limit(), f"y{self._count}", 1, *item
        )

    def _cycle(self) -> Step:
        runner = self._rng.choice(list(RUNNERS))
        last = int(self._hash(f"lastcall:{runner}").get("number", "0"))
        number = last + self._rng.choice((1, 1, 1, 1, 1, 0, -1))
        endings = [self._ending() for _ in range(self._rng.choice((0, 0, 1, 1, 2, 4)))]
        flat = [word for ending in endings for word in ending]
        head = (runner, RUNNERS[runner], number, self._any(0, 1, 2, 5), f"x{self._count}")
        return self._say("cycle", *head, self._policy, self._heard(runner), len(endings), *flat)

    def _heard(self, runner: str) -> Word:
        """Mostly the newest that it was handed; one that says nothing takes no job while it rests."""
        epoch = int(self._hash(f"lastcall:{runner}").get("handed", "").partition(" ")[0] or 0)
        return self._any(epoch, epoch, epoch, max(0, epoch - 1), 0, "")

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
            rows += (
                job_id,
                claim,
                4294967303,
                attempt + self._rng.choice((1, 1, 0)),
                notes,
                progress,
            )
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
        about = json.dumps({"role": role, "pool": pool, "slots": slots, "serves": "a b"})
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
        return self._say(verb, *words, self._policy)

    def _steer_intake(self) -> Step:
        """What an operator sets over the settings, and takes back."""
        pool, name, tenant = self._any(*POOLS), self._any(*CLASSES), self._any(*TENANTS)
        fields = (
            ("*:intake", "paused"),
            (f"pool:{pool}:intake", "paused"),
            (f"queue:{pool}:{name}:intake", "paused"),
            (f"tenant:{tenant}:intake", "paused"),
            (f"queue:{pool}:{name}:queue_jobs_max", self._any(0, 2, 50)),
            (f"pool:{pool}:pool_jobs_max", self._any(0, 3, 50)),
            (f"pool:{pool}:full_policy", self._any("reject", "drop-lru", "shed-low-priority")),
            (f"tenant:{tenant}:tenant_jobs_max", self._any(0, 1, 20)),
            (f"tenant:{tenant}:rate", self._any("0.02", "0.5")),
            (f"tenant:{tenant}:burst", self._any(40, 50)),
        )
        field, value = self._rng.choice(fields)
        if self._hash("desired") and self._rng.random() < 0.5:
            return self._say(
                "HDEL", f"{PREFIX}desired", self._rng.choice(list(self._hash("desired")))
            )
        return self._say("HSET", f"{PREFIX}desired", field, value)

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
        head = ("gateway", self._policy, self._limit(), '"me"')
        return self._say("replay", *head, len(pairs) // 2, *pairs)

    def _live(self) -> Step:
        if self._rng.random() < 0.2:
            incarnation = int(self._hash("meta").get("incarnation", "0"))
            seen = max(0, incarnation + self._rng.choice((-1, 0, 0, 2)))
            # Servers have run ids of their own; the only one that a story can name is a stranger's.
            return self._say("hello", seen, self._any("", "", f"{seen}:another"), SCHEMA)
        return self._say("beat", self._rng.choice([*RUNNERS, *ACTORS, "stranger"]))
