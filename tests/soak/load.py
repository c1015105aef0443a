"""What do the jobs of a soak do?

Most kinds are those of chaos (`tests/chaos/load.py`), whose agents leave traces; the two here are of the
soak alone. Sessions and concurrency keys are partly drawn from a few names and partly never used again: what
Orch remembers of a name that is over must go with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any, Final

from tests.chaos.load import KINDS, TELL, Make, Scene, Spec, told

TENANTS: Final = ("default", "left", "right")
_NAMES: Final = 12
"""Sessions and keys that come back, of each."""
_LATER_MS: Final = 5_000
"""How far ahead a delayed job is put at most."""


def _leaves(scene: Scene, rng: Random) -> Spec:
    # Of ever the same content: it is one blob, and the folder of blobs, which nobody empties yet, is flat.
    script = f'{TELL}t begin; seq 1 2000; printf same > "$ORCH_ARTIFACT_DIR/left.txt"; t end'
    step = {"id": "leave", "argv": ["/bin/sh", "-c", script]}
    config = {"steps": [step], "env": scene.env}
    return {"name": "leaves", "adapter": {"name": "steps", "config": config}}


def _asks(scene: Scene, rng: Random) -> Spec:
    spec = told(scene, "asks", "")
    decision = {"text": "Go on?", "kind": "choose", "options": ["yes", "no"]}
    argv = ["/bin/sh", "-c", f"{TELL}t begin; t end"]
    steps = [{"id": "one", "argv": argv}, {"id": "two", "argv": ["true"], "decision": decision}]
    spec["adapter"] = {"name": "steps", "config": {"steps": steps, "env": scene.env}}
    return spec


SHARES: Final[Mapping[str, tuple[float, Make]]] = {
    "python": (60, KINDS["python"][1]),
    "quick": (12, KINDS["quick"][1]),
    "steps": (5, KINDS["steps"][1]),
    "again": (5, KINDS["again"][1]),
    "long": (4, KINDS["long"][1]),
    "endless": (4, KINDS["endless"][1]),
    "fails": (3, KINDS["fails"][1]),
    "asks": (3, _asks),
    "leaves": (3, _leaves),
    "litters": (1, KINDS["litters"][1]),
}
"""Kind of job -> its share of the load in percent, and how it is made. Nobody kills a runner here."""


def draw(scene: Scene, rng: Random, mark: str, now_ms: int) -> tuple[str, Spec]:
    """A job's kind and its spec; its mark is its label and its idempotency key."""
    kind = rng.choices(list(SHARES), [share for share, _ in SHARES.values()])[0]
    spec = {**SHARES[kind][1](scene, rng), "labels": {"mark": mark}, "idempotency_key": mark}
    spec["tenant"] = rng.choice(TENANTS)
    if rng.random() < 0.2:
        spec["priority"] = "interactive"
    return kind, spec | _ties(rng, mark, now_ms)


def is_plain(spec: Mapping[str, Any]) -> bool:
    """Whether nothing but a free slot is between the submission of this job and its start."""
    return not spec.keys() & {"session", "concurrency_key", "not_before_ms"}


def _ties(rng: Random, mark: str, now_ms: int) -> Spec:
    drawn = rng.random()
    if drawn < 0.10:
        return {"session": f"s{rng.randrange(_NAMES)}"}
    if drawn < 0.20:
        return {"session": f"once-{mark}"}
    if drawn < 0.27:
        return {"concurrency_key": f"k{rng.randrange(_NAMES)}"}
    if drawn < 0.34:
        return {"concurrency_key": f"once-{mark}"}
    if drawn < 0.40:
        return {"not_before_ms": now_ms + rng.randrange(_LATER_MS)}
    return {}
