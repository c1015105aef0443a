"""A stack that has nothing to do: its commands and CPU; and a worker killed under a job: when it runs again.

Both mostly wait, so all peers are measured at once, each on a server of its own.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import Final

from bench.measures.throughput import Says
from bench.processes import kill_tree
from bench.room import Failed, Room
from bench.rows import Sample
from bench.server import Server

SETTLE_S: Final = 2.0
"""After the last job; what is left of it is not idleness."""
SECOND_WORKER_S: Final = 4.0
"""A second worker boots and registers before the first is killed."""
ACTORS: Final = {"orch": 6, "orch-process": 6}
"""Processes of ours in the idle stack: admission, scheduler, reaper, fallback, gateway, runner."""


def idle(room: Room, *, seconds: float) -> list[Sample]:
    """Commands a second and CPU of a whole stack without work; commands are those that its programs send."""
    says = Says(room)
    room.begin_stack(port=0)
    room.begin("work")
    room.ask("enqueue", job="noop", count=10, bulk=False)
    room.until_marked(10)
    time.sleep(SETTLE_S)
    room.until_quiet()
    room.server.count_anew()
    cpu_s, began = room.cpu_s(), time.monotonic()
    sent = _sent_within(room.server, seconds)
    counted, cpu_s = room.server.counted(), room.cpu_s() - cpu_s
    passed = time.monotonic() - began
    samples = [
        says("idle_commands_per_s", sent / passed, "commands/s"),
        says("idle_cpu_percent", 100 * cpu_s / passed, "% of a core"),
        says("idle_server_cpu_percent", 100 * counted.cpu_s / passed, "% of a core"),
    ]
    if room.peer.name in ACTORS:
        each = sent / passed / ACTORS[room.peer.name]
        samples.append(says("idle_commands_per_actor_s", each, "commands/s"))
    return samples


def _sent_within(server: Server, seconds: float) -> int:
    """Commands that clients sent; those inside functions and scripts are not theirs."""
    with socket.create_connection(("127.0.0.1", server.port)) as monitor:
        monitor.sendall(b"MONITOR\r\n")
        time.sleep(seconds)
        monitor.setblocking(False)
        said = b""
        with suppress(BlockingIOError):
            while piece := monitor.recv(1 << 20):
                said += piece
    lines = said.split(b"\r\n")[1:]
    return sum(line.startswith(b"+") and b" lua] " not in line[:40] for line in lines)


def recovery(room: Room, *, within_s: float) -> list[Sample]:
    """Seconds from kill -9 of a worker's process tree to the next start of its job; default settings."""
    says = Says(room)
    room.begin_stack()
    first = room.begin("work", defaults=True)
    room.ask("enqueue", job="hold", count=1, bulk=False)
    room.until_marked(1)
    room.running.remove(first)
    room.begin("work", defaults=True)
    time.sleep(SECOND_WORKER_S)
    killed_ns = time.monotonic_ns()
    kill_tree([first])
    with suppress(Failed):
        room.until_marked(2, within_ms=int(within_s * 1_000))
        return [says("recovery", (room.marks()[1].at_ns - killed_ns) / 1e9, "s")]
    return [says("recovery", None, "s", f"not within {within_s:.0f} s")]
