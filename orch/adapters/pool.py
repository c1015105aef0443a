"""How are thousands of small python calls a second run outside the runner, and killed one by one?

A few long-lived worker processes, each under its own guard, each serving one call at a time over a socket.
A worker imports from one `path` only, all its life. The task that wants a call drives the worker itself:
no task per worker, one wait per call, because one epoll descriptor stands for all four of its pipes.
"""

from __future__ import annotations

import os
import select
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

import anyio
import orjson
from anyio import wait_readable, wait_writable

from orch.adapters.environment import host_environment
from orch.adapters.output import Feed, Output
from orch.adapters.process import CHUNK_BYTES, KILL_PATIENCE_S, GuardedProcess, GuardExit
from orch.adapters.protocol import Stream
from orch.adapters.sweep import WORKER_MARK, worker_mark
from orch.adapters.workshop import Workshop

WORKER_PATH: Final = str(Path(__file__).with_name("pool_worker.py"))


class WorkerExited(Exception):
    """The worker process ended before it replied."""

    def __init__(self, ended: GuardExit) -> None:
        super().__init__(ended)
        self.ended = ended


class Worker:
    """One worker process and the runner's ends of its pipes."""

    def __init__(self, workshop: Workshop, path: str | None) -> None:
        self.path = path
        self.is_clean = False
        """It has replied, and left nothing running: it may serve another call."""
        self._scratch = workshop.scratch
        self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = self._fresh_folder()
        """ORCH_ARTIFACT_DIR of its calls; empty between two of them."""
        self._channel, theirs = socket.socketpair()
        self._channel.setblocking(False)
        try:
            self.process = self._spawn(theirs.fileno(), workshop)
        except BaseException:
            self._channel.close()
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        finally:
            theirs.close()
        self._streams: dict[int, Stream] = {
            self.process.stdout: "stdout",
            self.process.stderr: "stderr",
        }
        self._epoll = select.epoll()
        for readable in (self._channel.fileno(), self.process.status_fd, *self._streams):
            self._epoll.register(readable, select.EPOLLIN)

    def _spawn(self, fd: int, workshop: Workshop) -> GuardedProcess:
        return GuardedProcess.spawn(
            [
                sys.executable,
                "-P",
                WORKER_PATH,
                str(fd),
                *([] if self.path is None else [self.path]),
            ],
            cwd=None,
            env={**host_environment(), WORKER_MARK: worker_mark()},
            leases=workshop.leases,
            kept_fds=(fd,),
        )

    def is_alive(self) -> bool:
        """Whether it can take a call; throws away what threads of earlier calls have printed since."""
        for fd, _ in self._epoll.poll(0):
            if fd in self._streams:
                self._read(fd)
            elif fd == self._channel.fileno() or self.process.poll_exit() is not None:
                return False
        return True

    async def call(self, request: bytes, output: Output) -> dict[str, Any]:
        """Sends one request and waits for its reply, handing on output meanwhile.

        Raises:
            WorkerExited: user code ended the process, or the guard did.
        """
        self.is_clean = False
        feeds: dict[Stream, Feed] = {}
        reply = bytearray()
        try:
            await self._send(request)
            while not _is_whole(reply):
                await self._ready(feeds)
                await self._pump(reply, feeds, output)
            await self._pump(reply, feeds, output)  # what it printed before it replied
        except (WorkerExited, ConnectionError):
            await self._last_words(feeds, output)
            raise WorkerExited(await self.process.wait()) from None
        for feed in feeds.values():
            await feed.finish()
        document: dict[str, Any] = orjson.loads(memoryview(reply)[4:])
        self.is_clean = not document.pop("spent", False)
        return document

    def has_artifacts(self) -> bool:
        """Whether the call left files in its folder."""
        try:
            with os.scandir(self.folder) as entries:
                return next(entries, None) is not None
        except FileNotFoundError:
            return True

    def renew_folder(self) -> None:
        """Gives the next call an empty folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder = self._fresh_folder()

    async def aclose(self) -> None:
        """Kills the worker with all it started."""
        await self.process.aclose()
        self._epoll.close()
        self._channel.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _fresh_folder(self) -> Path:
        return Path(mkdtemp(prefix="artifacts-", dir=self._scratch))

    async def _send(self, request: bytes) -> None:
        data = memoryview(len(request).to_bytes(4, "big") + request)
        while data:
            try:
                data = data[self._channel.send(data) :]
            except BlockingIOError:
                await wait_writable(self._channel)

    async def _ready(self, feeds: Mapping[Stream, Feed]) -> None:
        """Until one of the pipes has something, or gathered output is due."""
        dues = [feed.due for feed in feeds.values() if feed.due is not None]
        if not dues:
            await wait_readable(self._epoll.fileno())
            return
        with anyio.move_on_after(min(dues) - anyio.current_time()):
            await wait_readable(self._epoll.fileno())
            return
        for feed in feeds.values():
            await feed.take(b"")

    async def _pump(self, reply: bytearray, feeds: dict[Stream, Feed], output: Output) -> None:
        """Takes what every pipe holds now."""
        ended: GuardExit | None = None
        for fd, _ in self._epoll.poll(0):
            if fd in self._streams:
                await self._hand_on(fd, feeds, output)
            elif fd == self.process.status_fd:
                ended = self.process.poll_exit()
            else:
                self._receive(reply)
        if ended is not None and not _is_whole(reply):
            raise WorkerExited(ended)

    async def _hand_on(self, fd: int, feeds: dict[Stream, Feed], output: Output) -> bool:
        data = self._read(fd)
        if data:
            stream = self._streams[fd]
            feed = feeds.get(stream) or feeds.setdefault(stream, output.feed(stream))
            await feed.take(data)
        return bool(data)

    async def _last_words(self, feeds: dict[Stream, Feed], output: Output) -> None:
        """All that a dead worker and its children have written."""
        with anyio.move_on_after(KILL_PATIENCE_S):
            await self.process.gone()
        for fd in self._streams:
            while await self._hand_on(fd, feeds, output):
                pass
        for feed in feeds.values():
            await feed.finish()

    def _receive(self, reply: bytearray) -> None:
        with suppress(BlockingIOError):
            data = self._channel.recv(CHUNK_BYTES)
            if data:
                reply += data
            else:  # its end is told by the guard
                self._epoll.unregister(self._channel)

    def _read(self, fd: int) -> bytes:
        try:
            data = os.read(fd, CHUNK_BYTES)
        except BlockingIOError:
            return b""
        if not data:
            with suppress(FileNotFoundError):
                self._epoll.unregister(fd)
        return data


def _is_whole(reply: bytearray) -> bool:
    return len(reply) >= 4 and len(reply) == 4 + int.from_bytes(reply[:4], "big")


class Pool:
    """At most `python_workers` workers, started when wanted, reused while they stay clean."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._turns = anyio.Semaphore(workshop.python_workers, fast_acquire=True)
        self._idle: list[Worker] = []
        self._busy = 0

    @asynccontextmanager
    async def worker(self, path: str | None) -> AsyncIterator[Worker]:
        """A worker that imports from `path`, for one call. Waits for its turn.

        Leaving the scope without a clean reply, for whatever reason, kills the worker.
        """
        async with self._turns:
            self._busy += 1
            try:
                worker = await self._take(path)
                try:
                    yield worker
                finally:
                    if worker.is_clean:
                        self._idle.append(worker)
                    else:
                        await worker.aclose()
            finally:
                self._busy -= 1

    async def aclose(self) -> None:
        """Kills all idle workers; the busy ones end with the calls that hold them."""
        while self._idle:
            await self._idle.pop().aclose()

    async def _take(self, path: str | None) -> Worker:
        for index in range(len(self._idle) - 1, -1, -1):
            if self._idle[index].path != path:
                continue
            worker = self._idle.pop(index)
            if worker.is_alive():
                return worker
            await worker.aclose()
            break
        if self._busy + len(self._idle) > self._workshop.python_workers:
            await self._idle.pop(0).aclose()
        return Worker(self._workshop, path)
