"""A bench for adapters: a desk that keeps what it gets, real processes, and nothing may be left behind."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest

from contracts.errors import ErrorCode, Refused
from contracts.events import EventType, payload_faults
from contracts.spec import parse_spec
from orch.adapters.leases import Leases
from orch.adapters.protocol import Claim, Desk, Ending, Run, Stream
from orch.adapters.registry import Adapters
from orch.adapters.tree import descendants
from orch.adapters.workshop import Workshop
from orch.blobs import Blobs
from orch.system import SystemClock
from tests.adapters.endpoint import Endpoint, an_endpoint


@dataclass
class Note:
    event: str
    payload: Mapping[str, Any]
    progress: Mapping[str, Any] | None
    consume_answer: bool


@dataclass
class KeepingDesk:
    """Keeps everything; refuses everything once `over` is set."""

    entries: list[tuple[Stream, str]] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    artifacts: dict[str, bytes] = field(default_factory=dict)
    paused: bool = False
    over: bool = False

    async def output(self, stream: Stream, text: str) -> None:
        self._check()
        self.entries.append((stream, text))

    async def note(
        self,
        event: str,
        payload: Mapping[str, Any],
        *,
        progress: Mapping[str, Any] | None = None,
        consume_answer: bool = False,
    ) -> None:
        self._check()
        assert payload_faults(EventType(event), payload) == []
        self.notes.append(Note(event, payload, progress, consume_answer))

    async def artifact(self, name: str, path: Path, *, step_id: str | None = None) -> str:
        self._check()
        self.artifacts[name] = path.read_bytes()
        return "0" * 64

    def pause_wished(self) -> bool:
        return self.paused

    async def pause_wish(self) -> None:
        while not self.paused:
            await anyio.sleep(0.005)

    def text(self, stream: Stream = "stdout") -> str:
        return "".join(text for name, text in self.entries if name == stream)

    def events(self) -> list[str]:
        return [note.event for note in self.notes]

    def progress(self) -> Mapping[str, Any]:
        """What the store holds after the last note."""
        kept = [note.progress for note in self.notes if note.progress is not None]
        return kept[-1] if kept else {}

    def _check(self) -> None:
        if self.over:
            raise Refused(ErrorCode.LEASE_OVER, "another attempt owns the job")


def state_of(pid: int) -> str:
    """The kernel's letter; Z for one that is gone altogether."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


class Bench:
    """One workshop with its adapters."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Servers that other suites of this session keep running.
        self._others = {pid for pid, _ in descendants(os.getpid())}
        self.leases = Leases(suspend_max_ms=60_000)
        self.blobs = Blobs(folder / "blobs")
        self.workshop = Workshop(
            leases=self.leases,
            blobs=self.blobs,
            clock=SystemClock(),
            scratch=folder / "scratch",
            grace_ms=500,
            url="http://127.0.0.1:1",
            token_for=lambda run: f"token-of-{run.job_id}",
        )
        self.adapters = Adapters(self.workshop)
        self.desk = KeepingDesk()

    def job(
        self,
        adapter: str,
        *,
        attempt: int = 1,
        progress: Mapping[str, Any] | None = None,
        answer: Mapping[str, Any] | None = None,
        **config: Any,
    ) -> Run:
        spec = parse_spec({"name": "test", "adapter": {"name": adapter, "config": config}})
        claim = Claim(f"1.{os.getpid()}.{id(self)}", 2**32 + attempt)
        return Run("job-1", attempt, claim, spec, progress or {}, answer)

    async def run(self, adapter: str, *, desk: Desk | None = None, **config: Any) -> Ending:
        run = self.job(adapter, **config)
        return await self.adapters.adapter_for(adapter).run(run, desk or self.desk)

    async def shell(self, script: str, **config: Any) -> Ending:
        """Runs a shell script as a `command` job."""
        return await self.run("command", argv=["sh", "-c", script], **config)

    def processes(self) -> list[int]:
        """What its adapters have running, the guard first."""
        found = descendants(os.getpid())
        return [pid for pid, state in found if state != "Z" and pid not in self._others]

    async def until(self, fact: Callable[[], object], *, within_s: float = 10) -> None:
        """Waits for a fact, looking again and again."""
        with anyio.fail_after(within_s):
            while not fact():
                await anyio.sleep(0.005)

    async def pids(self, count: int, name: str = "pids") -> list[int]:
        """The process ids that agents have written, a line each, into a file."""
        path = self.folder / name
        await self.until(lambda: path.exists() and path.read_text().count("\n") >= count)
        return [int(line) for line in path.read_text().split()]

    async def all_dead(self, pids: list[int], *, within_s: float = 10) -> None:
        await self.until(lambda: all(state_of(pid) in "ZX" for pid in pids), within_s=within_s)

    async def in_state(self, pids: list[int], letters: str, *, within_s: float = 10) -> None:
        await self.until(lambda: all(state_of(pid) in letters for pid in pids), within_s=within_s)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """After each test no process, no descriptor and no scratch file of its adapters is left.

    What other suites of this session keep running (their servers) was there before.
    """
    fds = len(os.listdir("/proc/self/fd"))
    made = Bench(tmp_path)
    async with made.adapters:
        yield made
    assert made.processes() == []
    assert len(os.listdir("/proc/self/fd")) <= fds
    assert not made.workshop.scratch.exists() or not os.listdir(made.workshop.scratch)


@pytest.fixture
def stopwatch() -> Callable[[], float]:
    """Seconds since the test began."""
    began = time.monotonic()
    return lambda: time.monotonic() - began


@pytest.fixture
def endpoint(bench: Bench) -> Iterator[Endpoint]:
    """An endpoint that plays scripts, and a runner whose lease holds for as long as a test may take."""
    bench.leases.confirm(SystemClock().monotonic_ms(), 120_000)
    with an_endpoint() as made:
        yield made
