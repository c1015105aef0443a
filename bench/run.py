"""Takes the steps of a plan, one after the other; what a peer cannot do becomes a row that says so."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.environments import ROOT, Missing, program
from bench.noise import Noise
from bench.plan import Plan, Sizes, Step
from bench.room import Failed, room
from bench.roster import Peer
from bench.rows import Sample
from bench.server import Mode, Server, running_server
from orch.system import monotonic_ms

SCRATCH: Final = ROOT / "build" / "bench" / "run"
MODES: Final[tuple[Mode, ...]] = ("none", "always")


@dataclass(slots=True)
class Run:
    """One run and what it found."""

    peers: list[Peer]
    sizes: Sizes
    families: frozenset[str]
    modes: tuple[Mode, ...] = MODES
    minutes: float = 24 * 60
    """From the moment when the environments exist; what would take longer is left out and says so."""
    samples: list[Sample] = field(default_factory=list)
    noise: Noise = field(default_factory=lambda: Noise(SCRATCH))
    programs: dict[str, list[str]] = field(default_factory=dict)

    def measure(self) -> None:
        """Everything, in both modes."""
        SCRATCH.mkdir(parents=True, exist_ok=True)
        self._make_environments()
        until_ms = monotonic_ms() + self.minutes * 60_000
        plan = Plan(self._present(), self.sizes, self.families, self.samples)
        for mode in self.modes:
            with (
                tempfile.TemporaryDirectory(dir=SCRATCH) as home,
                running_server(Path(home), mode) as server,
            ):
                for step in plan.steps(mode):
                    self._take(step, server, until_ms)

    def _make_environments(self) -> None:
        for peer in self.peers:
            try:
                self.programs[peer.name] = program(peer)
            except Missing as missing:
                self._note(peer.name, "available", "none", str(missing))

    def _present(self) -> list[Peer]:
        return [peer for peer in self.peers if peer.name in self.programs]

    def _take(self, step: Step, server: Server, until_ms: float) -> None:
        if monotonic_ms() + step.minutes * 60_000 > until_ms:
            self._note(_who(step), step.measure, server.mode, "left out: the time was up")
            return
        self.noise.look()
        began_ms = monotonic_ms()
        if step.raw is not None:
            found = step.raw(server)
        elif step.alone:
            found = self._take_at_once(step, step.alone, server.mode)
        else:
            found = self._take_in_room(step, step.peer, server)
        self.samples += found
        _tell(step, server.mode, found, monotonic_ms() - began_ms)

    def _take_in_room(self, step: Step, peer: Peer | None, server: Server) -> list[Sample]:
        assert peer is not None
        assert step.act is not None
        try:
            with room(peer, self.programs[peer.name], server, SCRATCH) as inside:
                return step.act(inside)
        except Exception as error:  # noqa: BLE001 - the boundary: one peer must not end the run of all
            what = str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
            return [Sample(peer.name, step.measure, server.mode, None, "", what[:500])]

    def _take_at_once(self, step: Step, peers: Sequence[Peer], mode: Mode) -> list[Sample]:
        def take(peer: Peer) -> list[Sample]:
            with (
                tempfile.TemporaryDirectory(dir=SCRATCH) as home,
                running_server(Path(home), mode) as server,
            ):
                return self._take_in_room(step, peer, server)

        with ThreadPoolExecutor(len(peers)) as threads:
            return [sample for found in threads.map(take, peers) for sample in found]

    def _note(self, peer: str, measure: str, mode: str, note: str) -> None:
        self.samples.append(Sample(peer, measure, mode, None, "", note))


def _who(step: Step) -> str:
    return step.peer.name if step.peer else "all" if step.alone else "floor"


def _tell(step: Step, mode: str, found: Sequence[Sample], took_ms: int) -> None:
    """A line of progress."""
    first = next((s for s in found if s.measure == step.measure), found[0] if found else None)
    shown = "nothing"
    if first is not None:
        shown = first.note if first.value is None else f"{first.value:,.5g} {first.unit}"
    sys.stderr.write(
        f"bench: {took_ms / 1_000:5.1f} s  {mode:6}  {_who(step):17} {step.measure}: {shown}\n"
    )
    sys.stderr.flush()
