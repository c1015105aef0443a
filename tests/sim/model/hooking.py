"""The part of a story that is about webhooks: registered, delivered, given up, asked for again."""

from __future__ import annotations

import json

from contracts.webhooks import WebhookEvent
from tests.sim.model.damage import Damage
from tests.sim.model.telling import PREFIX, TENANTS, Step, Word

HOOKS = ("h1", "h2", "h3")
EVENTS = tuple(event.value for event in WebhookEvent)


class Hooking(Damage):
    """Few hooks, so that the steps of a story meet."""

    def _webhook(self) -> Step:
        act = self._rng.choice(
            (self._hook, self._collect, self._deliver, self._deliver, self._post)
        )
        return act()

    def _place(self) -> tuple[str, str]:
        """A hook, mostly one that is there."""
        known = [
            (tenant, hook) for tenant in TENANTS for hook in sorted(self._hash(f"hooks:{tenant}"))
        ]
        if known and self._rng.random() < 0.9:
            return self._rng.choice(known)
        return self._rng.choice(TENANTS), self._rng.choice(HOOKS)

    def _hook(self) -> Step:
        tenant, hook_id = self._rng.choice(TENANTS), self._rng.choice(HOOKS)
        what = self._rng.choice(("put", "put", "put", "put", "on", "remove"))
        events = self._rng.sample(EVENTS, k=self._rng.choice((1, 3, len(EVENTS))))
        text = json.dumps({"events": events, "n": self._count % 7})
        seen = self._hash(f"hooks:{tenant}").get(hook_id, "") if self._rng.random() < 0.8 else "{}"
        return self._say(
            "hook", what, tenant, hook_id, text, seen, self._any(2, 20), self._any(4, 99)
        )

    def _collect(self) -> Step:
        return self._say(
            "collect", self._any(1, 3, 100), self._any(1, 2, 16), self._any(500, 60_000)
        )

    def _members(self, tenant: str, hook_id: str) -> list[str]:
        return [one for _, one in self._model.space.zset(f"{PREFIX}posts:{tenant}:{hook_id}")]

    def _deliver(self) -> Step:
        tenant, hook_id = self._place()
        place = f"{tenant}:{hook_id}"
        members = self._members(tenant, hook_id)
        rows: list[Word] = []
        count = self._rng.choice((0, 1, 1, 2))
        for n in range(count):
            member = self._rng.choice(members) if members else f"c:3:{self._now}:j1"
            tries, _, last = self._hash(f"tries:{place}").get(member, "0").partition(" ")
            tries = tries if self._rng.random() < 0.9 else "7"
            verdict = self._any("delivered", "again", "again", "dead")
            about = f'{{"n":{self._count}{n}}}'
            if last and self._rng.random() < 0.5:  # the call that wrote the last try, once more
                about = last
            rows += (member, tries, verdict, self._any(5_000, 300_000), about)
        known = self._hash(f"tally:{place}").get("busy", "1")
        busy = known if self._rng.random() < 0.9 else "1"
        return self._say(
            "deliver", tenant, hook_id, busy, self._any("", "", "", "", "410"), count, *rows
        )

    def _post(self) -> Step:
        tenant, hook_id = self._place()
        dead = self._model.space.line(f"{PREFIX}undelivered:{tenant}:{hook_id}")
        rows: list[Word] = []
        count = self._rng.choice((1, 2))
        for n in range(count):
            about = self._rng.choice(dead) if dead and self._rng.random() < 0.7 else ""
            about = about if self._rng.random() < 0.9 else '{"n":"gone"}'
            tests = self._hash(f"tally:{tenant}:{hook_id}").get("tests", "").split()
            member = f"t:0:{self._now}:x{self._count}{n}"
            if tests and self._rng.random() < 0.3:  # a call before, once more
                member = self._rng.choice(tests)
            rows += (member, about)
        return self._say("post", tenant, hook_id, count, *rows)
