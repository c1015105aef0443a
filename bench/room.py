"""One peer on one server for the length of one measurement: clean data, fresh marks, its programs.

Everything a driver program needs is in its environment: BENCH_URL, BENCH_PEER, BENCH_MARKS, BENCH_HOME.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.processes import Process, kill_tree, start
from bench.roster import Peer
from bench.server import Server
from orch.system import monotonic_ms

KIT: Final = Path(__file__).resolve().parent / "kit"
RECORD: Final = struct.Struct("<qqq")
QUIET: Final = 0.1
"""Share of a core below which programs have booted and come to rest, looked at for a while at a time."""
QUIET_S: Final = 0.3
QUIET_S_MAX: Final = 20
SILENCE_MS_MAX: Final = 60_000
"""Without any new mark for so long, a measurement is given up."""


class Failed(Exception):
    """A peer did not do what was measured; the message stands in its row."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One start of one job."""

    at_ns: int
    index: int
    pid: int


@dataclass(slots=True)
class Room:
    """See the module."""

    peer: Peer
    program: list[str]
    server: Server
    folder: Path
    running: list[Process] = field(default_factory=list)

    @property
    def marks_file(self) -> Path:
        """Where the jobs of this room write."""
        return self.folder / "marks"

    def _environ(self) -> dict[str, str]:
        env = {key: value for key, value in os.environ.items() if not key.startswith("ORCH_")}
        mine = {
            "BENCH_URL": self.server.url,
            "BENCH_PEER": self.peer.name,
            "BENCH_MARKS": str(self.marks_file),
            "BENCH_HOME": str(self.folder),
            "PYTHONPATH": str(KIT),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return {**env, **mine}

    def ask(self, verb: str, *, within_s: float = 300, **options: object) -> dict[str, Any]:
        """Runs a verb to its end; its answer.

        Raises:
            Failed: it ended badly or not in time.
        """
        words = [*self.program, verb, json.dumps(options)]
        try:
            ended = subprocess.run(
                words,
                env=self._environ(),
                cwd=self.folder,
                capture_output=True,
                text=True,
                timeout=within_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            message = f"{verb} took more than {within_s:.0f} s"
            raise Failed(message) from None
        if ended.returncode != 0:
            message = f"{verb} ended with {ended.returncode}: {ended.stderr.strip()[-400:]}"
            raise Failed(message)
        answer: dict[str, Any] = json.loads(ended.stdout.strip().splitlines()[-1])
        return answer

    def begin(self, verb: str, **options: object) -> Process:
        """Starts a verb that runs until the room is left."""
        log = self.folder / f"{verb}-{len(self.running)}.log"
        words = [*self.program, verb, json.dumps(options)]
        process = start(words, log=log, env=self._environ(), cwd=self.folder)
        self.running.append(process)
        return process

    def begin_stack(self, **options: object) -> None:
        """Starts what a peer needs besides its workers, if anything; returns when that has booted."""
        if self.peer.has_stack:
            self.begin("stack", **options)
            self.until_quiet()

    def until_quiet(self) -> None:
        """Returns when the programs of the room take next to no CPU: what boots disturbs what is measured."""
        for _ in range(int(QUIET_S_MAX / QUIET_S)):
            before = self.cpu_s()
            time.sleep(QUIET_S)
            if before > 0 and self.cpu_s() - before < QUIET * QUIET_S:
                return

    def cpu_s(self) -> float:
        """CPU of every program of the room so far."""
        return sum(process.cpu_s() for process in self.running)

    # -- marks

    def marked(self) -> int:
        """How many jobs have started."""
        try:
            return self.marks_file.stat().st_size // RECORD.size
        except FileNotFoundError:
            return 0

    def marks(self) -> list[Mark]:
        """Every start, in the order of their times."""
        whole = self.marks_file.read_bytes()[: self.marked() * RECORD.size]
        return sorted((Mark(*row) for row in RECORD.iter_unpack(whole)), key=lambda m: m.at_ns)

    def until_marked(self, count: int, *, within_ms: int | None = None) -> None:
        """Returns once `count` jobs have started.

        Raises:
            Failed: no job started for too long, or a program of the room ended.
        """
        began_ms = moved_ms = monotonic_ms()
        seen, silence_ms_max = 0, max(SILENCE_MS_MAX, within_ms or 0)
        while (now := self.marked()) < count:
            if now > seen:
                seen, moved_ms = now, monotonic_ms()
            self._check_programs()
            too_late = within_ms is not None and monotonic_ms() - began_ms > within_ms
            if too_late or monotonic_ms() - moved_ms > silence_ms_max:
                message = f"{now} of {count} jobs started: {self.running[-1].said()}"
                raise Failed(message)
            Process.pause()

    def _check_programs(self) -> None:
        for process in self.running:
            if not process.is_alive():
                message = f"a program of it ended: {process.said()}"
                raise Failed(message)

    def until_ended(self, count: int) -> int:
        """Monotonic ns at which `count` jobs had ended; of a peer that does not say, the last start.

        Raises:
            Failed: some of them did not end in time.
        """
        keys = self.peer.ended_keys
        if not keys:
            return self.marks()[-1].at_ns
        until_ms = monotonic_ms() + SILENCE_MS_MAX
        while (ended := self.server.ended(keys)) < count:
            if monotonic_ms() > until_ms:
                message = f"{ended} of {count} jobs ended"
                raise Failed(message)
            Process.pause()
        return monotonic_ms() * 1_000_000


@contextmanager
def room(peer: Peer, program: list[str], server: Server, scratch: Path) -> Iterator[Room]:
    """A room with an empty server; everything started in it is killed on the way out."""
    server.empty()
    folder = Path(tempfile.mkdtemp(prefix=f"{peer.name}-", dir=scratch))
    inside = Room(peer, program, server, folder)
    try:
        yield inside
    finally:
        kill_tree(inside.running)
        shutil.rmtree(folder, ignore_errors=True)
