"""What operators do to a shard in a story: commands pushed, written by hand, applied and obeyed."""

from __future__ import annotations

import json
from typing import Any

from tests.sim.model.damage import Damage
from tests.sim.model.telling import ACTORS, POOLS, PREFIX, RUNNERS, Entry, Step, Word

_KEYS = ("c1", "c2", "c3")
_CANCELS: tuple[dict[str, Any], ...] = (
    {"filter": {"state": "queued"}},
    {"filter": {"tenant": "t1"}, "dry_run": True},
    {"filter": {"name": "x", "pool": "a"}},
    {"filter": {"label": "team=a"}},
    {},
)


class Commanding(Damage):
    """Commands."""

    def _command(self) -> Step:
        """One is pushed, or the next one of the stream is applied, in and out of order."""
        stream = self._model.space.stream(f"{PREFIX}control")
        waiting = 0 if stream is None else len(stream)
        if not waiting or self._rng.random() < 0.3:
            return self._pushed()
        place = 0 if self._rng.random() < 0.8 else self._rng.randrange(waiting)
        return self._applied(Entry("control", place))

    def _pushed(self) -> Step:
        name = f"{self._rng.choice(_KEYS)}x{self._count // 40}"
        if self._rng.random() < 0.4:
            return self._say("XADD", f"{PREFIX}control", "*", "v", "1", "id", name)
        revision, token = self._any("", "", "0", "3"), self._any("t1", "t2")
        return self._say("push", name, "drain", "pool:a", "{}", revision, "me", token)

    def _applied(self, entry: Entry) -> Step:
        stream = self._model.space.stream(f"{PREFIX}control")
        assert stream is not None, "something waits in it"
        fields = list(stream.entries())[entry.n][1]
        kind = self._rng.choice(("drain", "undrain", "limit", "cancel", "reload", "error"))
        target, roles, only, of, args, writes = self._plan(kind, fields["id"])
        error = json.dumps({"code": "INVALID_REQUEST"}) if kind == "error" else ""
        words = (fields["id"], fields.get("token", ""), kind, target, args, "me", error)
        pool = "nowhere" if self._rng.random() < 0.05 else "a" if target == "pool:a" else ""
        runner = only if target.startswith("runner:") else ""
        revision = int(self._hash("desired").get("rev", "0"))
        if_revision = self._any("", "", revision, revision + 1)
        head = (entry, *words, if_revision, pool, runner, roles, only, of)
        return self._say("apply", *head, len(writes) // 2, *writes)

    def _plan(self, kind: str, command_id: str) -> tuple[str, str, str, str, str, list[Word]]:
        runner = self._rng.choice(list(RUNNERS))
        target, only = self._rng.choice((("*", ""), ("pool:a", "a"), (f"runner:{runner}", runner)))
        if kind == "drain":
            by = self._any("", "+5000")
            writes: list[Word] = [f"{target}:drain", command_id, f"{target}:drain_by", by]
            return target, "runner", only, "works", "{}", writes
        if kind == "undrain":
            return target, "runner", only, "", "{}", [f"{target}:drain", ""]
        if kind == "cancel":
            args = json.dumps(self._rng.choice(_CANCELS))
            where = self._rng.choice(("*", "pool:b", "tenant:t2", "queue:a:hi"))
            return where, "", "", "cancels", args, []
        if kind == "reload":
            return "*", "supervisor", "", "works", "{}", ["reload", command_id]
        return "pool:a", "admission scheduler", "", "", "{}", ["pool:a:pool_jobs_max", "9"]

    def _obey(self) -> Step:
        chance = self._rng.random()
        if chance < 0.3:
            return self._say("proceed", self._any(1, 3, 250))
        if chance < 0.4:
            return self._say("census", self._any(1, 100), self._any(100, 1000))
        if chance < 0.5:
            return self._say("survey", self._any(*POOLS, "nowhere"), self._any(0, 1, 100))
        who = self._rng.choice([*RUNNERS, *ACTORS, "stranger"])
        revision = int(self._hash("desired").get("rev", "0")) - self._rng.choice((0, 0, 1))
        of = [one for _, one in self._model.space.zset(f"{PREFIX}open")]
        command_id = self._rng.choice(of) if of and self._rng.random() < 0.6 else ""
        status = self._any("done", "done", "failed")
        return self._say("acknowledge", who, revision, command_id, status, '{"left":0}')
