"""What goes wrong with a shard's data beside its functions, and the sweep that mends it."""

from __future__ import annotations

from tests.sim.model.telling import (
    CLASSES,
    POOLS,
    PREFIX,
    REASSIGNED,
    RUNNERS,
    TENANTS,
    Step,
    Telling,
    Word,
)

INDEXES = (
    "queue turn ready due held undecided jobs dead idem slots retire counters tenants inbox instances active "
    "aside keyed parked session sessions unsent webhooks hooks schedules"
).split()


class Damage(Telling):
    """Lost indexes, entries that stand twice, and repair."""

    def _damage(self) -> Step:
        """An index is lost, or a part of it."""
        names = [
            name
            for name in self._model.space.names()
            if name.removeprefix(PREFIX).partition(":")[0] in INDEXES
        ]
        held = [
            name for name in names if ":held:" in name and self._hash(name.removeprefix(PREFIX))
        ]
        if held and self._rng.random() < 0.2:
            name = self._rng.choice(held)
            return self._say(
                "HSET", name, self._rng.choice(list(self._model.space.hash(name))), "9.9.z"
            )
        if self._rng.random() < 0.1:
            return self._say("HDEL", f"{PREFIX}beats", self._rng.choice(list(RUNNERS)))
        return self._say("DEL", self._rng.choice(names) if names else "nothing")

    def _repair(self) -> Step:
        """One page holds everything, so that no order of keys matters."""
        if self._rng.random() < 0.3:
            moves = int(self._hash("counters").get("moves", "0"))
            places = [f"depth:{pool}:{name}" for pool in POOLS for name in CLASSES]
            places += [f"waits:{tenant}" for tenant in TENANTS]
            rows: list[Word] = []
            for place in self._rng.sample(places, k=2):
                rows += (place, self._rng.choice((0, 1, 3)))
            return self._say("recount", self._any(moves, moves, 0), 2, *rows)
        if self._rng.random() < 0.3:
            waits = [f"{one}~{tie}" for one in TENANTS for tie in ("k:k1", "s:s1")]
            some = self._rng.sample(waits, k=self._rng.choice((0, 0, 4)))
            return self._say("realign", self._any(1, 1_000), self._policy, *some)
        tenants = [f"{pool}:{name}:{one}" for pool in POOLS for name in CLASSES for one in TENANTS]
        tenants += [f"{one}~{tie}" for one in TENANTS for tie in ("k:k1", "s:s1", "s:s2")]
        gathers = self._rng.sample(tenants, k=self._rng.choice((0, 0, 3, 18)))
        return self._say("repair", "0", 1_000, self._policy, *gathers)

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
