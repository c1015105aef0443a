"""Who submits, and what was acknowledged?

Each submitter has a link of its own and journals every acknowledgement with fsync before it goes on: what
stands in the journal must exist at the end. It asks for the same mark again, with the same id or key, until
it is answered, as a careful producer does.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import anyio

from actors.body import make_store
from contracts.errors import OrchError, Refused, Unavailable
from orch.core.asks import Ask
from orch.settings import Settings
from orch.store.keys import Keys
from orch.store.store import Store
from orch.system import monotonic_ms
from tests.chaos.load import Scene, Spec, draw

_ANSWER_WAIT_S: Final = 8.0
_POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Ack:
    """One acknowledged submission."""

    job_id: str
    mark: str
    kind: str
    door: str
    submitter: str
    incarnation: int
    """Which incarnation of the server the submitter had met when it was answered."""
    seq: int
    at_ms: int


@dataclass(slots=True)
class Books:
    """What all submitters of a run know together."""

    journal: Path
    acks: dict[str, Ack] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)
    """Acknowledged jobs that were not seen ended yet."""
    refused: int = 0
    repeated: int = 0
    """Submissions that were asked again and found to be there already."""
    cancels: dict[str, Ack] = field(default_factory=dict)
    """Acknowledged cancels, with the watermark of the moment after."""
    losses: list[tuple[str, int, int]] = field(default_factory=list)
    """(submitter, from, to): it counted writes, acknowledged to it by incarnation `from`, that the
    incarnation `to` did not have."""
    stop: bool = False

    def write(self, ack: Ack) -> None:
        """Durably, before anybody relies on it."""
        line = json.dumps(
            [ack.job_id, ack.mark, ack.kind, ack.door, ack.submitter, ack.incarnation, ack.seq]
        )
        fd = os.open(self.journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(fd, f"{line}\n".encode())
            os.fsync(fd)
        finally:
            os.close(fd)
        self.acks[ack.job_id] = ack
        self.open.add(ack.job_id)


class Submitter:
    """One producer."""

    def __init__(
        self, name: str, settings: Settings, scene: Scene, books: Books, rng: Random
    ) -> None:
        self.name = name
        self.store: Store = make_store(settings, actor=name)
        self._scene = scene
        self._books = books
        self._rng = rng
        self._count = 0
        self._lost_seen = 0
        self._met = 0

    async def run(self, *, most_open: int, pause_s: float) -> None:
        """Submits until told to stop, as long as not too many jobs are open."""
        async with anyio.create_task_group() as tasks:
            while not self._books.stop:
                if len(self._books.open) < most_open:
                    await self._one(tasks)
                await anyio.sleep(self._rng.expovariate(1 / pause_s))

    async def _one(self, tasks: anyio.abc.TaskGroup) -> None:
        self._count += 1
        mark = f"{self.name}.{self._count}"
        kind, spec = draw(self._scene, self._rng, mark)
        # By its own id, or by a key under which the server chooses one: both make asking again safe.
        spec |= {"id": mark} if self._rng.random() < 0.5 else {"idempotency_key": mark}
        door = "direct" if self._rng.random() < 0.6 else "raw"
        submit = self._direct if door == "direct" else self._raw
        job_id = await submit(spec)
        self.look()
        if job_id is None:
            return
        mark_of = self.store.connection.watermark
        ack = Ack(
            job_id, mark, kind, door, self.name, mark_of.incarnation, mark_of.seq, monotonic_ms()
        )
        self._books.write(ack)
        if kind == "endless":
            tasks.start_soon(self._cancel_later, job_id)

    @property
    def lost_writes(self) -> int:
        """How many acknowledged writes its watermark has proven lost."""
        return self.store.connection.watermark.lost_writes

    def look(self) -> None:
        """Notes a loss that the watermark has just proven, with the incarnation that lost it."""
        watermark = self.store.connection.watermark
        if watermark.lost_writes > self._lost_seen:
            self._lost_seen = watermark.lost_writes
            self._books.losses.append((self.name, self._met, watermark.incarnation))
        self._met = watermark.incarnation

    async def _direct(self, spec: Spec) -> str | None:
        asked = 0
        while True:
            try:
                answer = (await self.store.admission.admit([Ask(spec)]))[0]
            except Unavailable:
                asked += 1
                self.look()
                if self._books.stop:
                    return None
                continue
            if isinstance(answer, Refused):
                self._books.refused += 1
                return None
            self._books.repeated += bool(asked and answer.duplicate)
            return answer.job_id

    async def _raw(self, spec: Spec) -> str | None:
        connection = self.store.connection
        keys = Keys()
        asked = 0
        while not self._books.stop:
            asked += 1
            request_id = f"{spec['labels']['mark']}.{asked}"
            fields = ("v", "1", "request_id", request_id, "spec", json.dumps(spec))
            with suppress(Unavailable):
                await connection.execute("XADD", keys.requests, "*", *fields)
                answer = await self._answer(keys.answer(request_id))
                if answer is not None:
                    return self._taken(answer, asked)
        return None

    def _taken(self, answer: Mapping[str, Any], asked: int) -> str | None:
        if "job_id" not in answer:
            self._books.refused += 1
            return None
        self._books.repeated += bool(asked > 1 and answer["duplicate"])
        return str(answer["job_id"])

    async def _answer(self, key: str) -> dict[str, Any] | None:
        with anyio.move_on_after(_ANSWER_WAIT_S):
            while True:
                text = await self.store.connection.execute("GET", key)
                if text is not None:
                    found: dict[str, Any] = json.loads(text)
                    return found
                await anyio.sleep(_POLL_S)
        return None

    async def _cancel_later(self, job_id: str) -> None:
        await anyio.sleep(self._rng.uniform(0.1, 1.5))
        while True:
            try:
                await self.store.steering.cancel(job_id, by=self.name)
            except Unavailable:
                continue
            except OrchError:  # it is over already, or lost with the server's data
                return
            self.look()
            at = self.store.connection.watermark
            self._books.cancels[job_id] = Ack(
                job_id,
                job_id,
                "cancel",
                "direct",
                self.name,
                at.incarnation,
                at.seq,
                monotonic_ms(),
            )
            return

    async def speak(self) -> None:
        """Asks the server anything: a loss can only be noticed by who speaks to it again."""
        while True:
            with suppress(Unavailable):
                await self.store.connection.execute("PING")
                break
        self.look()

    async def aclose(self) -> None:
        """Closes its sockets."""
        await self.store.connection.aclose()
