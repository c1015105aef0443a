"""What can happen to the server: killed, frozen, out of memory, out of disk, its clock moved, its functions,
readers or connections gone, and with `everysec` its last second lost as in a power cut."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from random import Random
from typing import Final

import anyio
from redis.exceptions import RedisError

from orch.system import monotonic_ms
from tests.chaos.load import uptime_ms
from tests.chaos.nemesis import Act
from tests.chaos.server import Server
from tests.chaos.verdict import Silence

_HOUR_S: Final = 3_600
_SAMPLE_S: Final = 0.1


class ServerFaults:
    """Faults of one server; each takes the lock, so that they come one after the other."""

    def __init__(self, server: Server, in_peace: anyio.Lock, lease_ms: int) -> None:
        self._server = server
        self._in_peace = in_peace
        self._lease_s = lease_ms / 1000
        self._sizes: list[tuple[int, str, int]] = []

    def acts(self) -> dict[str, Act]:
        """By name; only what this machine and this persistence allow."""
        acts: dict[str, Act] = {
            "server_kill": self.kill,
            "server_freeze": self.freeze,
            "server_oom": self.oom,
            "file_limit": self.file_limit,
            "function_flush": self.function_flush,
            "group_lost": self.group_lost,
            "client_kill": self.client_kill,
        }
        if self._server.disk is not None:
            acts["disk_full"] = self.disk_full
        if self._server.faketime is not None:
            acts["clock_jump"] = self.clock_jump
        if self._server.appendfsync == "everysec":
            acts["power_cut"] = self.power_cut
        return acts

    def skipped(self) -> dict[str, str]:
        """What cannot be done here, and why."""
        if self._server.faketime is None:
            return {"clock_jump": "libfaketime is not installed"}
        return {}

    async def kill(self, rng: Random) -> bool:
        """SIGKILL, started again on the same folder."""
        async with self._in_peace:
            await self._kill("kill")
        return True

    async def _kill(self, why: str) -> None:
        await self._server.up.wait()
        self._server.doomed = why
        down = self._server.down
        self._server.kill()
        await down.wait()
        await self._server.up.wait()

    async def freeze(self, rng: Random) -> bool:
        """SIGSTOP, up to two leases: connects succeed, nothing is answered, everybody falls silent."""
        async with self._in_peace:
            await self._server.up.wait()
            self._server.signal(signal.SIGSTOP)
            since_ms = uptime_ms()
            try:
                await anyio.sleep(self._lease_s * rng.uniform(0.5, 2.0))
            finally:
                silence = Silence(0, "the server's freeze", since_ms, uptime_ms())
                self._server.signal(signal.SIGCONT)
            self._server.silences.append(silence)
        return True

    async def oom(self, rng: Random) -> bool:
        """maxmemory below what is used: submissions are refused, work under way must still end."""
        async with self._in_peace:
            try:
                await self._server.command("CONFIG", "SET", "maxmemory", 1)
                await anyio.sleep(self._lease_s * rng.uniform(0.5, 2.0))
            except RedisError:
                return False
            finally:
                with anyio.CancelScope(shield=True), suppress(RedisError):
                    await self._server.command("CONFIG", "SET", "maxmemory", 0)
        return True

    async def file_limit(self, rng: Random) -> bool:
        """The append-only file may not grow: with `always` the server ends, with `everysec` it refuses."""
        async with self._in_peace:
            await self._server.up.wait()
            self._server.doomed = "file_limit"
            down = self._server.down
            files = self._server.log_files()
            self._server.limit_files(
                files[-1].stat().st_size + rng.randrange(2_000) if files else 1
            )
            with anyio.move_on_after(self._lease_s * 2):
                await down.wait()
            gave_up = down.is_set()
            if not gave_up:
                refused = await self._refuses()
                self._server.limit_files(None)
                self._server.doomed = ""
                return refused
            await self._server.up.wait()
        return True

    async def disk_full(self, rng: Random) -> bool:
        """No byte is left, up to two leases: the server ends at each write, however often it is started."""
        disk = self._server.disk
        assert disk is not None
        async with self._in_peace:
            await self._server.up.wait()
            starts, self._server.doomed = self._server.starts, "disk_full"
            disk.fill(leaving=rng.randrange(2) * 4_096)
            try:
                await anyio.sleep(self._lease_s * rng.uniform(0.5, 2.0))
                refused = await self._refuses()
            finally:
                self._server.doomed = "disk_full"
                disk.clear()
            await self._survived()
        return refused or self._server.starts > starts

    async def _survived(self) -> None:
        """It answers, so no write that failed before ends it any more."""
        while True:
            await self._server.up.wait()
            with suppress(RedisError):
                await self._server.command("PING")
                self._server.doomed = ""
                return
            await anyio.sleep(0.01)

    async def _refuses(self) -> bool:
        try:
            info: dict[str, str] = await self._server.command("INFO", "persistence")
        except RedisError:
            return True
        return info["aof_last_write_status"] == "err"

    async def clock_jump(self, rng: Random) -> bool:
        """The wall clock an hour ahead or back, for a while; its monotonic clock goes on."""
        async with self._in_peace:
            await self._server.up.wait()
            offset = rng.choice([-_HOUR_S, -100, 100, _HOUR_S])
            try:
                before = int((await self._server.command("TIME"))[0])
                self._server.set_clock(offset)
                await anyio.sleep(2 + self._lease_s)
                after = int((await self._server.command("TIME"))[0])
            except RedisError:
                return False
            finally:
                self._server.set_clock(0)
        # Timers set while the clock was ahead are due when it gets there again: healing moves it there.
        self._server.clock_in_the_end_s = _HOUR_S
        return abs(after - before - offset) < 30

    async def function_flush(self, rng: Random) -> bool:
        """All functions gone: whoever calls one loads the library again."""
        return await self._said("FUNCTION", "FLUSH", "SYNC")

    async def group_lost(self, rng: Random) -> bool:
        """The readers' group of a stream is gone, and what it knew of entries that were handed out."""
        client = self._server.client
        try:
            streams = sorted([name async for name in client.scan_iter(_type="stream", count=1_000)])
            groups = [
                (name, about["name"])
                for name in streams
                for about in await client.xinfo_groups(name)
            ]
        except RedisError:
            return False
        return bool(groups) and await self._said("XGROUP", "DESTROY", *rng.choice(groups))

    async def client_kill(self, rng: Random) -> bool:
        """Every connection ended by the server."""
        return await self._said("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    async def _said(self, *words: str) -> bool:
        try:
            return bool(await self._server.command(*words))
        except RedisError:
            return False

    # -- the power cut

    async def sample(self) -> None:
        """How long the append-only file was, ten times a second."""
        while True:
            for path in self._server.log_files()[-1:]:
                with suppress(OSError):
                    self._sizes.append((monotonic_ms(), path.name, path.stat().st_size))
            del self._sizes[:-50]
            await anyio.sleep(_SAMPLE_S)

    async def power_cut(self, rng: Random) -> bool:
        """SIGKILL, and up to a second of the append-only file never reached the disk; torn at any byte."""
        async with self._in_peace:
            await self._server.up.wait()
            self._server.doomed = "power_cut"
            down = self._server.down
            since = monotonic_ms() - 1_000
            sizes = [(name, size) for at, name, size in self._sizes if at >= since]
            self._server.kill()
            self._server.wait()
            cut = self._cut(sizes, rng)
            await down.wait()
            await self._server.up.wait()
        return cut > 0

    def _cut(self, sizes: list[tuple[str, int]], rng: Random) -> int:
        files = self._server.log_files()
        if not files:
            return 0
        floor = min((size for name, size in sizes if name == files[-1].name), default=None)
        end = files[-1].stat().st_size
        if floor is None or floor >= end:
            return 0
        size = rng.randrange(floor, end)
        os.truncate(files[-1], size)
        return end - size
