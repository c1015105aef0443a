"""What do the jobs of a chaos run do?

Every agent appends lines `job attempt fence what pid uptime runner` to one file with O_APPEND. The order of
that file is the order in which agents acted, whatever any clock says: a line of claim A below the first line
of claim B of the same job is an act past a lease. The uptime (10 ms steps, read without a fork) and the pid
of its runner say whether an agent acted while its runner cannot have had a lease.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

AGENTS: Final = str(Path(__file__).parent / "agents")
# The agent's parent is its guard, the guard's parent is the runner.
TELL: Final = (
    '[ -n "$RUNNER" ] || read -r _ _ _ RUNNER _ < "/proc/$PPID/stat"; export RUNNER; '
    "t() { read -r now _ < /proc/uptime; "
    'echo "$ORCH_JOB_ID $ORCH_ATTEMPT $ORCH_FENCE $1 $$ $now $RUNNER" >> "$EFFECTS"; }; '
)
Spec = dict[str, Any]


def uptime_ms() -> int:
    """The clock of the traces."""
    return int(float(Path("/proc/uptime").read_text().split()[0]) * 1_000)


@dataclass(frozen=True, slots=True)
class Scene:
    """Where the agents of a run leave their traces."""

    effects: Path
    poison: Path
    """A poison agent writes the pid of the runner here before it kills it."""
    truce: Path
    """While this file exists no poison agent strikes: a guard is being hurt, one at a time is promised."""
    lease_ms: int

    @property
    def env(self) -> dict[str, str]:
        """For every agent."""
        return {"EFFECTS": str(self.effects), "POISON": str(self.poison), "TRUCE": str(self.truce)}


def told(scene: Scene, name: str, script: str, **spec: Any) -> Spec:
    """A line of shell that may tell what it does: `t begin`."""
    config = {"argv": ["/bin/sh", "-c", TELL + script], "env": scene.env}
    return {"name": name, "adapter": {"name": "command", "config": config}, **spec}


def _quick(scene: Scene, rng: Random) -> Spec:
    return told(scene, "quick", f"t begin; sleep {rng.uniform(0, 0.15):.3f}; t end")


def _python(scene: Scene, rng: Random) -> Spec:
    config = {
        "callable": "chaos_work:act", "args": [str(scene.effects), rng.randrange(150)], "path": AGENTS,
    }  # fmt: skip
    return {"name": "python", "adapter": {"name": "python", "config": config}}


def _steps(scene: Scene, rng: Random) -> Spec:
    def step(name: str, **more: Any) -> Spec:
        script = f'{TELL}t "begin:{name}"; sleep {rng.uniform(0, 0.1):.3f}; t "end:{name}"'
        return {"id": name, "argv": ["/bin/sh", "-c", script], **more}

    last = {"effect": "side_effect", "on_unknown": rng.choice(["ask", "fail", "retry"])}
    config = {"steps": [step("one"), step("two"), step("three", **last)], "env": scene.env}
    return {"name": "steps", "adapter": {"name": "steps", "config": config}}


def _long(scene: Scene, rng: Random) -> Spec:
    turns = int(scene.lease_ms * rng.uniform(1.2, 4.0) / 200)
    loop = f"i=0; while [ $i -lt {turns} ]; do sleep 0.2; t tick; i=$((i+1)); done"
    return told(scene, "long", f"t begin; {loop}; t end")


def _again(scene: Scene, rng: Random) -> Spec:
    script = 't begin; [ "$ORCH_ATTEMPT" -gt 1 ] || exit 75; t end'
    return told(scene, "again", script, retry={"attempts_max": 10})


def _fails(scene: Scene, rng: Random) -> Spec:
    return told(scene, "fails", "t begin; exit 3")


def _litters(scene: Scene, rng: Random) -> Spec:
    # `trap` and setsid: neither a signal to the group nor one to the session reaches the child.
    child = f"{TELL}trap '' TERM HUP INT; while :; do sleep 0.2; t tick; done"
    script = f"t begin; CHILD='{child.replace(chr(39), chr(39) + chr(92) + chr(39) + chr(39))}'; "
    return told(scene, "litters", script + 'setsid sh -c "$CHILD" & sleep 0.3; t end')


def _endless(scene: Scene, rng: Random) -> Spec:
    return told(scene, "endless", "t begin; while :; do sleep 0.3; t tick; done")


def _poison(scene: Scene, rng: Random) -> Spec:
    script = (
        't begin; while [ -e "$TRUCE" ]; do sleep 0.05; done; [ "$RUNNER" -gt 1 ] || exit 9; '
        'echo "$RUNNER" >> "$POISON"; kill -9 "$RUNNER"; sleep 30'
    )
    return told(scene, "poison", script)


def goes_on(scene: Scene) -> Spec:
    """A job that begins and never ends; for measuring."""
    return told(scene, "goes on", "t begin; sleep 3600")


Make = Callable[[Scene, Random], Spec]
KINDS: Final[Mapping[str, tuple[float, Make]]] = {
    "quick": (30, _quick),
    "python": (20, _python),
    "steps": (10, _steps),
    "long": (18, _long),
    "again": (6, _again),
    "fails": (4, _fails),
    "litters": (5, _litters),
    "endless": (5, _endless),
    "poison": (0.7, _poison),
}
"""Kind of job -> its share of the load, and how it is made. `endless` is canceled by its submitter."""


def draw(scene: Scene, rng: Random, mark: str) -> tuple[str, Spec]:
    """A job's kind and its spec, which carries its mark as a label."""
    kinds = list(KINDS)
    kind = rng.choices(kinds, [KINDS[name][0] for name in kinds])[0]
    return kind, {**KINDS[kind][1](scene, rng), "labels": {"mark": mark}}
