"""What a story does about schedules: put, paused, taken away, fired when due, late, twice, by hand."""

from __future__ import annotations

from tests.sim.model.telling import BOUNDS, POOLS, PREFIX, TENANTS, Step, Telling, Word

OVERLAPS = ("skip", "queue", "replace")


class Timetables(Telling):
    """Schedules of a shard. Times are a few seconds apart: a function knows no calendar."""

    def _place(self) -> tuple[str, str]:
        name = f"{PREFIX}schedule:"
        known = [one.removeprefix(name) for one in self._model.space.names() if name in one]
        if known and self._rng.random() < 0.9:
            tenant, _, schedule_id = self._rng.choice(known).partition(":")
            return tenant, schedule_id
        return self._rng.choice(TENANTS), f"c{self._rng.randrange(4)}"

    def _later(self) -> int:
        return self._now + self._rng.choice((1, 300, 900, 5_000, 60_000))

    def _schedule(self) -> Step:
        tenant, schedule_id = self._place()
        fields = self._hash(f"schedule:{tenant}:{schedule_id}")
        if self._rng.random() < 0.15:
            return self._say("unschedule", tenant, schedule_id)
        about = f'{{"n":{self._rng.randrange(4)}}}'
        last = fields.get("last", "") if self._rng.random() < 0.9 else "7"
        revision = int(fields.get("rev", "0"))
        required = self._any("", "", revision, 0, 9)
        pool = self._rng.choice(("nowhere", "") if self._rng.random() < 0.1 else POOLS)
        paused = self._any(0, 0, 0, 1)
        words = (about, paused, self._later(), last, required, pool)
        return self._say("schedule", tenant, schedule_id, *words)

    def _fire(self) -> Step:
        tenant, schedule_id = self._place()
        fields = self._hash(f"schedule:{tenant}:{schedule_id}")
        revision = fields.get("rev", "1") if self._rng.random() < 0.95 else "99"
        lines = [line for name in ("mark", "marks") for line in fields.get(name, "").split("\n")]
        marks = [mark for line in lines if len(mark := line.partition("\t")[0].split(" ")) > 3]
        if marks and self._rng.random() < 0.2:  # a call before, once more
            expected, fire_at, next_at = (int(word) for word in self._rng.choice(marks)[:3])
        elif self._rng.random() < 0.2:
            expected, fire_at, next_at = 0, self._now, 0
        else:
            expected = int(fields.get("next", self._now))
            fire_at = self._rng.choice((expected, expected, expected + 1_000))
            next_at = self._rng.choice((self._later(), self._now - 5, 0))
        head: tuple[Word, ...] = (tenant, schedule_id, revision, expected, fire_at, next_at)
        policy = ("gateway", self._policy, self._any(self._bounds, self._bounds, *BOUNDS))
        missed, overlap = self._any(0, 0, 3), self._rng.choice(OVERLAPS)
        return self._say("fire", *policy, *head, missed, overlap, *self._wished(tenant, fire_at))

    def _wished(self, tenant: str, fire_at: Word) -> tuple[Word, ...]:
        roll = self._rng.random()
        if roll < 0.1:
            return ()
        if roll < 0.15:
            return "INVALID_SPEC", "priority: there is no class"
        class_name, pool = self._rng.choice(("hi", "lo")), self._rng.choice(POOLS)
        digest = self._any("d1", "d1", "d1", "d2")
        spec = '{"name":"x"}'
        job_id = f"f{fire_at}" if self._rng.random() < 0.8 else self._job()
        placed = self._any("", "", '{"pool":"a","why":"only"}')
        ties = self._any("", "", "k:k1", "s:s1", "s:s1 p:replace")
        key, nonce = self._rng.choice(
            (("", ""), ("", ""), ("i1", "n1"), ("i1", "n2"), ("i2", "n1"))
        )
        names = (key, nonce, "", "", placed, ties)
        return job_id, digest, tenant, pool, class_name, spec, 0, 0, *names
