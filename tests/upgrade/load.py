"""What the jobs of an upgrade do, and what each kind must come to.

Agents append lines `job attempt fence what pid uptime 0` to one file, which `tests.chaos.verdict` reads: the
order of the lines is the order in which agents acted. An inline job has no environment of its own, so it
leaves its mark in a second file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Final

from contracts.states import State

AGENTS: Final = str(Path(__file__).parent / "agents")
_CHAOS_AGENTS: Final = str(Path(__file__).parents[1] / "chaos" / "agents")
LONG_S: Final = 3
"""Longer than a runner that leaves gives its agents: such a job is handed back."""
_SESSIONS: Final = 2
_TELL: Final = (
    't() { read -r now _ < /proc/uptime; echo "$ORCH_JOB_ID $ORCH_ATTEMPT $ORCH_FENCE $1 $$ $now 0" >> '
    '"$EFFECTS"; }; '
)
Spec = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scene:
    """Where agents leave their traces."""

    effects: Path
    inline: Path

    @property
    def env(self) -> dict[str, str]:
        """For every agent."""
        return {"EFFECTS": str(self.effects)}


def _shell(scene: Scene, script: str, **spec: Any) -> Spec:
    config = {"argv": ["/bin/sh", "-c", _TELL + script], "env": scene.env}
    return {"adapter": {"name": "command", "config": config}, **spec}


def _inline(scene: Scene, mark: str) -> Spec:
    config = {
        "callable": "upgrade_work:tell", "isolation": "inline", "path": AGENTS,
        "args": [str(scene.inline), mark],
    }  # fmt: skip
    return {"adapter": {"name": "python", "config": config}}


def _quick(scene: Scene, mark: str) -> Spec:
    return _shell(scene, "t begin; sleep 0.05; t end")


def _python(scene: Scene, mark: str) -> Spec:
    config = {
        "callable": "chaos_work:act", "args": [str(scene.effects), 50], "path": _CHAOS_AGENTS,
    }  # fmt: skip
    return {"adapter": {"name": "python", "config": config}}


def _again(scene: Scene, mark: str) -> Spec:
    script = 't begin; [ "$ORCH_ATTEMPT" -gt 1 ] || exit 75; t end'
    return _shell(scene, script, retry={"attempts_max": 10})


def _asks(scene: Scene, mark: str) -> Spec:
    def step(name: str, **more: Any) -> Spec:
        script = f'{_TELL}t "begin:{name}"; t "end:{name}"'
        return {"id": name, "argv": ["/bin/sh", "-c", script], **more}

    go = {"text": "Go on?", "kind": "approve"}
    config = {"steps": [step("one"), step("two", decision=go)], "env": scene.env}
    return {"adapter": {"name": "steps", "config": config}}


def _session(scene: Scene, mark: str) -> Spec:
    number = int(mark.rpartition("-")[2])
    return _quick(scene, mark) | {"session": f"{mark.partition('-')[0]}{number % _SESSIONS}"}


def _endless(scene: Scene, mark: str) -> Spec:
    return _shell(scene, "t begin; while :; do sleep 0.2; done")


def _long(scene: Scene, mark: str) -> Spec:
    return _shell(scene, f"t begin; sleep {LONG_S}; t end")


def fired(scene: Scene) -> Spec:
    """The template of a schedule."""
    return {"name": FIRED, **_shell(scene, "t begin; t end")}


FIRED: Final = "fired"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of job."""

    make: Callable[[Scene, str], Spec]
    end: State = State.COMPLETED


KINDS: Final[Mapping[str, Kind]] = {
    "inline": Kind(_inline),
    "quick": Kind(_quick),
    "python": Kind(_python),
    "again": Kind(_again),
    "asks": Kind(_asks),
    "session": Kind(_session),
    "endless": Kind(_endless, State.CANCELED),
    "long": Kind(_long),
}
"""`asks` waits for an answer, `endless` is canceled, `again` fails first, `long` outlives a grace."""
TURNS: Final = (
    "inline", "quick", "session", "inline", "again", "inline", "session", "asks", "inline", "endless",
    "quick", "inline", "python", "session", "inline", "long",
)  # fmt: skip
"""The order in which a producer submits, over and over: every kind is there from the beginning."""


class Draw:
    """The jobs of one producer."""

    def __init__(self, scene: Scene, producer: str, turns: tuple[str, ...] = TURNS) -> None:
        self._scene = scene
        self._producer = producer
        self._turns = cycle(turns)
        self._count = 0

    def next(self) -> Spec:
        """The next one; its id is its mark, so that asking again is safe."""
        self._count += 1
        mark = f"{self._producer}-{self._count}"
        name = next(self._turns)
        return {"id": mark, "name": name, **KINDS[name].make(self._scene, mark)}
