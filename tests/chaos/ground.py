"""A real private server with clients that write and remember what was acknowledged; made for losing data."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

import anyio

from actors.body import make_store
from orch.core.asks import Ask
from orch.settings import settings_of
from orch.store.keys import Keys
from tests.chaos.server import Server, engine_named

CLIENTS: Final = 4
_JOB: Final = {"name": "a job", "adapter": {"name": "command", "config": {"argv": ["true"]}}}


class Client:
    """One producer, its watermark, and what it was told."""

    def __init__(self, name: str, server: Server) -> None:
        self.store = make_store(settings_of({"redis_url": server.url}), actor=name)
        self.mark = self.store.connection.watermark
        self.name = name
        self.acked: list[str] = []
        """Acknowledged, and not known to be gone."""
        self.count = 0
        self.lost_seen = 0
        self.restarts_seen = 0

    async def write(self, times: int = 1) -> None:
        """Submits jobs that nobody will run."""
        for _ in range(times):
            self.count += 1
            job_id = f"{self.name}.{self.count}"
            await self.store.admission.admit([Ask({**_JOB, "id": job_id})])
            self.acked.append(job_id)

    async def gone(self, server: Server) -> list[str]:
        """What was acknowledged and is not there; told once."""
        pipe = server.client.pipeline(transaction=False)
        for job_id in self.acked:
            pipe.exists(Keys().job(job_id))  # type: ignore[unused-awaitable]  # a pipeline's
        there = await pipe.execute()
        missing = [
            job_id for job_id, is_there in zip(self.acked, there, strict=True) if not is_there
        ]
        self.acked = [
            job_id for job_id, is_there in zip(self.acked, there, strict=True) if is_there
        ]
        return missing

    def new_losses(self) -> int:
        """How many lost writes its watermark has counted since the last look."""
        before, self.lost_seen = self.lost_seen, self.mark.lost_writes
        return self.lost_seen - before

    def new_restarts(self) -> int:
        """How many restarts it has noticed since the last look."""
        before, self.restarts_seen = self.restarts_seen, self.mark.restarts
        return self.restarts_seen - before


class Ground:
    """A server and its clients."""

    def __init__(self, root: Path, rng: Random, *, appendfsync: str) -> None:
        self.root = root
        self.rng = rng
        self.server = Server(root, engine_named("valkey"), appendfsync=appendfsync)
        self.clients = [Client(f"c{n}", self.server) for n in range(CLIENTS)]
        self.strangers = 0

    def some(self) -> list[Client]:
        """A few of the clients, in any order; at least one."""
        return self.rng.sample(self.clients, self.rng.randrange(1, CLIENTS + 1))

    async def write(self, clients: Sequence[Client], most: int = 4) -> None:
        """They write at the same time."""
        async with anyio.create_task_group() as tasks:
            for client in clients:
                tasks.start_soon(client.write, self.rng.randrange(1, most + 1))

    def down(self) -> None:
        """kill -9."""
        self.server.kill()
        self.server.wait()

    async def up(self) -> None:
        """Started again on what is in the folder."""
        assert await self.server.start()

    async def restart(self, during: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """kill -9 at any moment of what the clients do meanwhile, and up again at once."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(during)
            await anyio.sleep(self.rng.uniform(0, 0.004))
            self.down()
            await self.up()

    def keep(self) -> Path:
        """A copy of the data of a server that is down."""
        copy = self.root / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.server.data, copy)
        return copy

    def go_back(self) -> None:
        """The data of a server that is down are those of the copy again."""
        shutil.rmtree(self.server.data)
        shutil.copytree(self.root / "copy", self.server.data)

    def size(self) -> int:
        """Of the append-only file that grows."""
        return self.server.log_files()[-1].stat().st_size

    def cut(self, floor: int) -> None:
        """The append-only file of a server that is down, torn at any byte above the floor."""
        with self.server.log_files()[-1].open("r+b") as file:
            file.truncate(self.rng.randrange(floor, self.size() + 1))

    async def stranger(self, most: int) -> None:
        """Somebody who has met no incarnation yet comes first and writes."""
        self.strangers += 1
        client = Client(f"stranger{self.strangers}", self.server)
        await client.write(self.rng.randrange(0, most + 1))
        await client.store.connection.execute("PING")
        await client.store.connection.aclose()


@asynccontextmanager
async def ground(root: Path, rng: Random, *, appendfsync: str = "always") -> AsyncIterator[Ground]:
    """A server that is up and clients that have met it."""
    made = Ground(root, rng, appendfsync=appendfsync)
    try:
        await made.up()
        await made.clients[0].store.timers.declare(("default",))
        await made.write(made.clients)
        yield made
    finally:
        for client in made.clients:
            await client.store.connection.aclose()
        await made.server.aclose()
