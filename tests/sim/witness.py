"""Who watched long enough, and who obeyed: two promises about burials that the data do not show.

A reaper may bury an instance only after it saw its counter unmoved for a whole lease, and two looks further
apart than two seconds add only these: one that slept saw nothing meanwhile. And a runner that was told that
it is over leaves no agent of that life behind, whatever keeps its main thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

from orch.store.keys import Keys
from tests.sim.loop import Process
from tests.sim.nemesis import Nemesis
from tests.sim.server import Message
from tests.sim.world import World

GAP_S_MAX = 2.0
"""What a longer pause between two looks adds to a silence (DESIGN, the lease)."""
SLACK_MS = 50
OBEYED_S = 0.5
"""Far more than a line through a pipe takes."""


@dataclass(slots=True)
class Looks:
    """What one process can know of the beats, at the times when it learns it."""

    at: float
    newest: int = 0
    """Of the looks that were heard, the one that the server carried out last: its number."""
    beats: dict[str, str] = field(default_factory=dict)
    silent_s: dict[str, float] = field(default_factory=dict)

    def look(self, number: int, now: float, beats: dict[str, str]) -> None:
        """One more read of the counters; one that was carried out before another heard one tells nothing."""
        if number < self.newest:
            return
        self.newest = number
        gap = min(now - self.at, GAP_S_MAX)
        self.silent_s = {
            name: self.silent_s.get(name, 0.0) + gap if self.beats.get(name) == counter else 0.0
            for name, counter in beats.items()
        }
        self.at, self.beats = now, beats

    def seen_s(self, instance: str, now: float) -> float:
        """How long it was seen silent, the time since the last look included."""
        return self.silent_s.get(instance, 0.0) + min(now - self.at, GAP_S_MAX)


@dataclass(slots=True)
class _Told:
    """A beat under way; `at` once its sender has heard that it is over."""

    message: Message
    instance: str
    at: float | None = None


class Witness:
    """Sees every command that the server carries out."""

    def __init__(self, world: World, nemesis: Nemesis) -> None:
        self._world = world
        self._nemesis = nemesis
        self._looks: dict[Process, Looks] = {}
        self._reads = count(1)
        self._burials: dict[str, tuple[int, str]] = {}
        """Instance -> how often it was buried, and by which counter last."""
        self._gone: set[str] = set()
        """Instances that were buried and not registered since."""
        self._rollbacks = 0
        """How often data had gone back when that was written."""
        self._beats: list[_Told] = []
        self._before: Callable[[Message], None] = world.server.on_executed
        world.server.on_executed = self._executed

    def _executed(self, message: Message) -> None:
        self._before(message)
        now, command = self._world.loop.time(), message.command
        if command[0] == "HGETALL" and command[1] == Keys(0).beats:
            looks = self._looks.setdefault(message.link.process, Looks(now))
            beats = _flat(self._world.server.backend.execute(["HGETALL", command[1]]))
            # A reaper times its looks by their replies, which may come late; one that it never hears is none.
            message.heard = partial(self._heard, looks, next(self._reads), beats)
        elif command[0] == "FCALL":
            verb = message.verb
            if verb == "bury":
                self._judge_burial(message, str(command[4]), counter=str(command[5]))
            elif verb == "register":
                self._gone.discard(str(command[4]))
            elif verb == "beat":
                self._beats.append(_Told(message, str(command[4])))
        if self._beats:
            self._beats = [
                told for told in self._beats if told.message.is_open or self._still_open(told, now)
            ]

    def _heard(self, looks: Looks, number: int, beats: dict[str, str]) -> None:
        looks.look(number, self._world.loop.time(), beats)

    def _judge_burial(self, message: Message, instance: str, *, counter: str) -> None:
        times = self._world.history.buried.get(instance, [])
        burials, last_counter = self._burials.get(instance, (0, "0"))
        done = len(times) > burials
        self._burials[instance] = len(times), counter if done else last_counter
        if self._rollbacks != len(self._nemesis.rollbacks):
            self._rollbacks = len(self._nemesis.rollbacks)
            self._gone.clear()
        was_gone = instance in self._gone
        if done:
            self._gone.add(instance)
        # Without a counter: it was buried and not emptied, or its beat is not there. With the same one: the
        # burial judged before, sent anew; what a repair had found of the dead is freed with it. Of one that
        # is gone: by a reaper that had decided before another one buried it, and was cut off meanwhile.
        judged = done and not was_gone and counter not in {"0", last_counter}
        if not judged or message.link.process.name.startswith("supervisor"):
            return
        looks, now = self._looks.get(message.link.process), self._world.loop.time()
        seen_s = 0.0 if looks is None else looks.seen_s(instance, now)
        lease_ms = self._world.plan.lease_ms
        if seen_s * 1010 + SLACK_MS < lease_ms:
            what = f"{instance} was buried after {seen_s:.3f} s of watched silence of {lease_ms} ms"
            self._world.history.violation("broken", what)

    def _still_open(self, told: _Told, now: float) -> bool:
        process = told.message.link.process
        if process.dead:
            return False
        if told.at is None:
            future = told.message.future
            if not future.done():
                return not told.message.gone
            if future.cancelled() or future.exception() or future.result()[0] != "runner_over":
                return False
            told.at = now
        if process.frozen or now - max(told.at, self._nemesis.thawed_at.get(process, 0)) < OBEYED_S:
            return True
        self._judge_obedience(process, told.instance)
        return False

    def _judge_obedience(self, process: Process, instance: str) -> None:
        history = self._world.history
        house = next(unit.house for unit in self._world.units if unit.process is process)
        for tree in house.living() if house is not None else ():
            if history.holder.get(tree.claim) == instance:
                what = f"{process} heard that it is over, and the agent of {tree.claim} lives on"
                history.violation("orphan", what)


def _flat(reply: Any) -> dict[str, str]:
    """A hash, as one or the other tier answers it."""
    return (
        dict(reply) if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
    )
