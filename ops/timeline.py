"""What do the ledgers of two jobs on a real stack say? `python -m ops.timeline` writes them down.

The event page embeds the file; a test tells the same stories on a stack of its own and compares. What no two
runs share (times, claims, runners, made-up ids) is replaced by names that stay the same within a story.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread

from contracts.record import LedgerEvent
from contracts.states import State
from ops.files import write_atomically
from orch.cli.stack import actors_argv, actors_environ
from orch.client import OrchSync, find_endpoint
from orch.demo.house import House

ROOT: Final = Path(__file__).resolve().parents[1]
FILE: Final = "contracts/timeline.json"
WAIT_S: Final = 30.0
SETTINGS: Final = {"runners": 2}
"""Two runners, so that one takes over what the other, killed, had in hand."""

# The runner is the parent of the guard, which is the parent of the agent.
_KILL_RUNNER: Final = (
    "if [ $ORCH_ATTEMPT = 1 ]; then"
    " read -r _ _ _ runner _ < /proc/$PPID/stat; kill -9 $runner; sleep 60;"
    " fi; echo notes > notes.txt"
)


def release(client: OrchSync, folder: Path) -> str:
    """A release: its runner is killed in the middle, then it asks for approval, and goes on."""
    approve = {"text": "Publish it?", "kind": "approve"}
    steps = [
        {"id": "build", "argv": ["/bin/sh", "-c", _KILL_RUNNER], "artifacts": ["notes.txt"]},
        {"id": "publish", "argv": ["/bin/sh", "-c", "test -s notes.txt"], "decision": approve},
    ]
    config = {"steps": steps, "cwd": str(folder)}
    spec = {
        "id": "timeline-release",
        "name": "release",
        "adapter": {"name": "steps", "config": config},
    }
    job_id = client.submit(spec).job_id
    asked = client.wait(job_id, timeout_s=WAIT_S)
    assert asked.question is not None, asked
    client.answer(job_id, asked.question.question_id, "approve", "the notes are fine")
    assert client.wait(job_id, timeout_s=WAIT_S).state is State.COMPLETED
    return job_id


def slow(client: OrchSync, folder: Path) -> str:
    """A command that is too slow, twice: a dead letter, which somebody tries again."""
    config = {"argv": ["sleep", "60"], "wall_ms": 400, "cwd": str(folder)}
    retry = {"attempts_max": 2, "backoff_ms": 0, "on": ["resource"]}
    spec = {
        "id": "timeline-slow",
        "name": "slow",
        "retry": retry,
        "adapter": {"name": "command", "config": config},
    }
    job_id = client.submit(spec).job_id
    assert client.wait(job_id, timeout_s=WAIT_S).state is State.FAILED
    replayed = client.replay([job_id]).letters[0].replayed_as
    assert replayed is not None
    client.wait(replayed, timeout_s=WAIT_S)  # the stack ends with no job at work
    return job_id


STORIES: Final[dict[str, Callable[[OrchSync, Path], str]]] = {
    story.__name__: story for story in (release, slow)
}


def tell(client: OrchSync, folder: Path) -> list[dict[str, Any]]:
    """Every story and its normalised ledger."""
    told = []
    for name, story in STORIES.items():
        place = folder / name
        place.mkdir()
        job_id = story(client, place)
        events = client.ledger(job_id, limit=500).events
        about = (story.__doc__ or "").strip()
        told.append({"story": name, "about": about, "events": normalised(events)})
    return told


# ---------------------------------------------------------------- what no two runs share

_NAMED: Final = {
    "runner": "runner", "worker": "runner", "claim": "claim", "epoch": "epoch", "question_id": "question",
    "key": "key", "as": "job",
}  # fmt: skip
_KEPT: Final = frozenset({"value_ms"})


class _Names:
    """The first claim is <claim 1>, wherever it is named again. Which runner it was is chance."""

    def __init__(self) -> None:
        self._known: dict[str, list[str]] = {}

    def of(self, kind: str, value: object) -> str:
        known = self._known.setdefault(kind, [])
        if str(value) not in known:
            known.append(str(value))
        number = known.index(str(value)) + 1
        return f"<{kind} {number}>" if kind != "runner" else "<runner>"


def normalised(events: Iterable[LedgerEvent]) -> list[dict[str, Any]]:
    """The entries without what no two runs share. Who dispatched is left out: any actor may."""
    names = _Names()
    return [
        {
            "seq": event.seq,
            "type": event.type.value,
            "actor": "<any>" if event.payload.get("cause") == "dispatch" else event.actor,
            "attempt": event.attempt,
            "epoch": names.of("epoch", event.epoch) if event.epoch else 0,
            "payload": {
                field: _normalised(field, value, names) for field, value in event.payload.items()
            },
        }
        for event in events
    ]


def _normalised(field: str, value: object, names: _Names) -> object:
    if field in _NAMED:
        return names.of(_NAMED[field], value)
    if re.search(r"_ms$", field) and field not in _KEPT:
        return "<ms>"
    return value


# ---------------------------------------------------------------- the command


async def record() -> list[dict[str, Any]]:
    """The stories, told on a private stack that is gone afterwards."""
    house = House.new()
    argv = [*actors_argv("up"), *(f"--set={key}={value}" for key, value in SETTINGS.items())]

    def on_it() -> list[dict[str, Any]]:
        with OrchSync(find_endpoint(None, house.home, {})) as client:
            return tell(client, house.folder("timeline"))

    async with house.standing(argv, actors_environ({}), is_kept=lambda: False):
        return await anyio.to_thread.run_sync(on_it)


def main() -> int:
    """Writes the file, and says whether it changed."""
    text = json.dumps(anyio.run(record), indent=1, ensure_ascii=False) + "\n"
    changed = write_atomically(ROOT / FILE, text)
    sys.stdout.write(f"{'wrote' if changed else 'current:'} {FILE}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
