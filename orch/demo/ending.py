"""The end of the demo: a table of what happened, where to look further, the whole as JSON."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orch import __version__
from orch.demo.narrate import seconds
from orch.demo.stage import Stage
from orch.demo.voice import Voice

HEADERS = ("PART", "JOB", "STATE", "ATTEMPTS", "TIME", "CHECKED")


@dataclass(frozen=True, slots=True)
class Ending:
    """What is known when every stage is over."""

    stages: Sequence[Stage]
    home: Path
    url: str
    kept: bool
    duration_ms: int

    @property
    def ok(self) -> bool:
        """Whether every claim of every stage held."""
        return all(stage.ok for stage in self.stages)

    def document(self) -> dict[str, Any]:
        """For --json."""
        return {
            "ok": self.ok,
            "version": __version__,
            "home": str(self.home),
            "kept": self.kept,
            "url": self.url if self.kept else None,
            "duration_ms": self.duration_ms,
            "stages": [stage.document() for stage in self.stages],
        }


def show(ending: Ending, voice: Voice) -> None:
    """For humans."""
    voice.heading("What happened")
    voice.table(HEADERS, [_row(stage) for stage in ending.stages])
    voice.line("")
    held = sum(check.ok for stage in ending.stages for check in stage.checks)
    told = sum(len(stage.checks) for stage in ending.stages)
    verdict = f"{held} of {told} claims held, after {seconds(ending.duration_ms)}"
    voice.line(f"  {verdict}", "good" if ending.ok else "bad")
    _show_further(ending, voice)


def _row(stage: Stage) -> tuple[str, ...]:
    held = sum(check.ok for check in stage.checks)
    sign = "✓" if stage.ok else "✗"
    return (
        stage.name,
        stage.job or "-",
        stage.state or "-",
        "-" if stage.attempts is None else str(stage.attempts),
        "-" if stage.duration_ms is None else seconds(stage.duration_ms),
        f"{sign} {held} of {len(stage.checks)}",
    )


def _show_further(ending: Ending, voice: Voice) -> None:
    home: Path | str = ending.home
    voice.line("")
    if ending.kept:
        voice.say(f"The stack runs on at {ending.url}, with all its records:")
    else:
        voice.say("The stack and its records are gone. To look around in one that stays:")
        voice.command(f"{program()} demo --keep")
        voice.say("and then, with the home that it names:")
        home = "HOME"
    for words in (
        ("list",),
        ("status", "demo-crash"),
        ("events", "demo-crash"),
        ("artifacts", "demo-coding"),
        ("explain", "demo-question"),
    ):
        voice.command(orch_words(home, *words))
    if ending.kept:
        voice.say("To stop it and remove what it left:")
        voice.command(f"{orch_words(home, 'down')} && rm -r {shlex.quote(str(home))}")


def orch_words(home: Path | str, *words: str) -> str:
    """A command line of `orch` for this home, safe to paste."""
    return f"{program()} {shlex.join([*words, '--home', str(home)])}"


def program() -> str:
    """How the reader calls `orch`."""
    called = Path(sys.argv[0])
    if called.name == "orch" and os.access(called, os.X_OK):
        return shlex.quote(sys.argv[0])
    return f"{shlex.quote(sys.executable)} -m orch.cli.main"
