"""What does a stack use now? Read from /proc, from the server and from the home's folder, past Orch."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import redis

from orch.system import monotonic_ms
from tests.e2e.stack import Process, Stack

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_BY_JOB: Final = frozenset({"job", "idem", "out", "answer"})
"""Families with a key for each job: only counted."""
_CARD: Final[dict[str, str]] = {
    "hash": "HLEN", "list": "LLEN", "set": "SCARD", "zset": "ZCARD", "stream": "XLEN",
}  # fmt: skip


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()


def _cpu_ms(pid: int) -> float:
    """Its own, and that of the children it has waited for."""
    return sum(int(value) for value in _stat(pid)[11:15]) * 1_000 / _TICKS


def role_of(process: Process) -> str:
    """`worker` of a pool, or `agent` for all other processes without a role; guards are agents here."""
    if any("pool_worker" in word for word in process.words):
        return "worker"
    return process.role or "agent"


class Gauges:
    """Takes samples of one stack."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._types: dict[str, str] = {}
        self._cpu: dict[int, float] = {}
        self._at_ms = 0

    def look(self) -> dict[str, float]:
        """All measures; a name is `what:whose`, or `what`."""
        found: dict[str, float] = defaultdict(float)
        self._processes(found)
        self._server(found, self._stack.redis)
        self._files(found)
        return dict(found)

    def _processes(self, found: dict[str, float]) -> None:
        processes = self._stack.processes()
        parents: Counter[int] = Counter()
        cpu: dict[int, float] = {}
        roles = {one.pid: role_of(one) for one in processes}
        for pid, role in roles.items():
            with suppress(OSError, KeyError):  # it ended meanwhile
                parents[int(_status(pid)["PPid"])] += 1
                if role == "agent":
                    found["agents"] += 1
                    continue
                cpu[pid] = _cpu_ms(pid)
                self._process(found, pid, role)
        for pid, children in parents.items():
            if roles.get(pid, "agent") not in {"agent", "worker"}:
                found[f"children:{roles[pid]}"] += children
        self._busy(found, cpu, roles)
        found["zombies"] = _zombies(roles)

    def _process(self, found: dict[str, float], pid: int, role: str) -> None:
        status = _status(pid)
        found[f"rss_kib:{role}"] += int(status["VmRSS"].split()[0])
        found[f"threads:{role}"] += int(status["Threads"])
        found[f"fds:{role}"] += len(os.listdir(f"/proc/{pid}/fd"))

    def _busy(self, found: dict[str, float], cpu: dict[int, float], roles: dict[int, str]) -> None:
        now_ms = monotonic_ms()
        passed_s = (now_ms - self._at_ms) / 1_000
        for pid, spent_ms in cpu.items():
            if self._at_ms and pid in self._cpu:
                found[f"cpu_ms_per_s:{roles[pid]}"] += (spent_ms - self._cpu[pid]) / passed_s
        self._cpu, self._at_ms = cpu, now_ms

    def _server(self, found: dict[str, float], client: redis.Redis) -> None:
        info: dict[str, Any] = client.info("memory")
        found["memory_kib"] = info["used_memory"] / 1_024
        keys = list(client.scan_iter(count=1_000))
        for key in keys:
            found[f"keys:{_family(key)}"] += 1
        streams = [key for key in keys if _family(key) == "out"]
        large = [key for key in keys if _family(key) not in _BY_JOB]
        self._learn(client, [key for key in large if key not in self._types])
        for key, size in _sizes(client, large, self._types):
            found[f"size:{_family(key)}"] += size
        for _, size in _sizes(client, streams, dict.fromkeys(streams, "stream")):
            found["size:out"] += size
        self._types = {key: self._types[key] for key in large}

    def _learn(self, client: redis.Redis, keys: Iterable[str]) -> None:
        fresh = list(keys)
        pipe = client.pipeline(transaction=False)
        for key in fresh:
            pipe.type(key)
        self._types |= dict(zip(fresh, pipe.execute(), strict=True))

    def _files(self, found: dict[str, float]) -> None:
        for folder, _, names in os.walk(self._stack.home):
            for name in names:
                with suppress(OSError):
                    found["home_kib"] += os.stat(Path(folder, name)).st_size / 1_024
                    found["files"] += 1


def _family(key: str) -> str:
    return key.partition("}:")[2].partition(":")[0]


def _sizes(
    client: redis.Redis, keys: Iterable[str], types: dict[str, str]
) -> Iterable[tuple[str, int]]:
    counted = [key for key in keys if types.get(key) in _CARD]
    pipe = client.pipeline(transaction=False)
    for key in counted:
        pipe.execute_command(_CARD[types[key]], key)
    answers = pipe.execute(raise_on_error=False)
    return [(key, n) for key, n in zip(counted, answers, strict=True) if isinstance(n, int)]


def _zombies(roles: dict[int, str]) -> int:
    """Dead children that a process of the stack has not waited for: they have no folder, so by parent."""
    count = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                stat = _stat(int(entry.name))
                count += stat[0] == "Z" and int(stat[1]) in roles
    return count


Sampler = Callable[[], dict[str, float]]
