"""The private Valkey: the server Orch starts when no Redis URL is given.

It is the production code path on a laptop: a real server with AOF, reachable only through a Unix
socket in a directory of ours, locked to one owner a home, stopped with its starter however that ends.
Which URL to use is the caller's decision; restarting a server that died is the supervisor's.
"""

from __future__ import annotations

import os
import string
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

import anyio
import anyio.to_thread

from contracts.errors import ErrorCode, Unavailable
from contracts.limits import MIB
from orch.store.engine import Engine, find_engine
from orch.store.home import POLL_MS, locked, make_private, sign, socket_path
from orch.system import SystemClock

ANSWER_MS_MAX: Final = 1_000
"""A PING that takes longer is asked again."""
START_MS_MAX: Final = 30_000
"""Until the first answer; a server that answers LOADING is waited for as long as it lives."""
STOP_MS_MAX: Final = 10_000
"""SHUTDOWN flushes the AOF; a server that needs longer is killed and replays it at the next start."""
LOG_BYTES_MAX: Final = 4 * MIB
LOG_TAIL_LINES: Final = 12

_PLAIN: Final = frozenset((string.ascii_letters + string.digits + "/._-").encode())
_CLOCK: Final = SystemClock()

# The parent-death signal belongs to the thread that forks and must be asked for by the child itself.
# If the parent died before the child asked, no signal comes: then the child sees a foreign parent.
_LAUNCHER: Final = """
import ctypes, os, signal, sys
parent, *argv = sys.argv[1:]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() != int(parent):
    sys.exit("the parent is gone")
os.execv(argv[0], argv)
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A running private server. `url` is the form redis-py takes, `log` the server's log file."""

    url: str
    pid: int
    engine: str
    version: str
    log: Path
    _process: subprocess.Popen[bytes] = field(repr=False, compare=False)

    async def died(self) -> None:
        """Return when the process is gone, at once if it is already; any number of tasks may wait."""
        await _exit_of(self._process)


@asynccontextmanager
async def private_server(
    home: Path,
    *,
    appendfsync: str = "always",
    engine: Engine | None = None,
    stop_ms_max: int = STOP_MS_MAX,
) -> AsyncIterator[Server]:
    """Start the server of `home`, yield it ready for commands, stop it on the way out.

    The home is created (0700) if need be. The data in `<home>/data` outlive the context and any crash.
    A server that dies inside the context does not end it: `Server.died` tells; leave and enter again.
    The server also stops when the thread that entered ends, SIGKILL of the whole process included.
    Without `engine` the preferred one is found that can read the data.

    Raises:
        Refused: HOME_IN_USE when another process has this home (details.pid), INVALID_CONFIG when the
            home cannot be used, DEPENDENCY_MISSING when there is no server program for it.
        Unavailable: the server did not start; the message holds the end of its log.
    """
    home = home.absolute()
    data, log = home / "data", home / "valkey.log"
    make_private(home, data)
    async with locked(home) as lock:
        engine = engine or find_engine(written_by=_read(data / "engine"))
        socket = socket_path(home)
        socket.unlink(missing_ok=True)
        config = _write_config(data, socket=socket, log=log, appendfsync=appendfsync)
        process = _spawn(engine, config, log=log, lock=lock.fileno())
        try:
            sign(lock, os.getpid(), process.pid)
            await _until_ready(process, socket, log)
            (data / "engine").write_text(engine.label)
            url = f"unix://{quote(str(socket))}"
            yield Server(url, process.pid, engine.name, engine.version, log, process)
        finally:
            with anyio.CancelScope(shield=True):
                await _stop(process, socket, within_ms=stop_ms_max)


def _write_config(data: Path, *, socket: Path, log: Path, appendfsync: str) -> Path:
    settings = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(data),
        "logfile": str(log),
        "daemonize": "no",
        "appendonly": "yes",
        "appendfsync": appendfsync,
        "no-appendfsync-on-rewrite": "no",
        "save": "",
        "maxmemory-policy": "noeviction",
        "hash-max-listpack-value": "1024",
    }
    path = data / "valkey.conf"
    path.write_text("".join(f"{key} {_quoted(value)}\n" for key, value in settings.items()))
    return path


def _quoted(value: str) -> str:
    """A configuration word: everything but plain characters as \\xNN, so any path survives."""
    return '"' + "".join(map(_escaped, os.fsencode(value))) + '"'


def _escaped(byte: int) -> str:
    return chr(byte) if byte in _PLAIN else f"\\x{byte:02x}"


def _spawn(engine: Engine, config: Path, *, log: Path, lock: int) -> subprocess.Popen[bytes]:
    """Start the server in its own session (Ctrl-C at the terminal is for us), lock handed on."""
    if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
        log.replace(log.with_suffix(".log.1"))
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid())]
    with log.open("ab") as output:  # what is said before the server has read its configuration
        return subprocess.Popen(
            [*launcher, str(engine.path), str(config)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=config.parent,
            start_new_session=True,
            pass_fds=(lock,),
        )


async def _until_ready(process: subprocess.Popen[bytes], socket: Path, log: Path) -> None:
    started_ms = _CLOCK.monotonic_ms()
    answered = False
    while process.poll() is None:
        answer = await _ask(socket, b"PING\r\n")
        if answer.startswith(b"+PONG"):
            return
        answered = answered or bool(answer)
        if not answered and _CLOCK.monotonic_ms() - started_ms > START_MS_MAX:
            break
        await _CLOCK.sleep_ms(POLL_MS)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
    raise Unavailable(
        ErrorCode.UNAVAILABLE,
        f"the private server did not start; the end of its log:\n{tail}",
        hint=f"The whole log is {log}.",
        details={"log": str(log)},
    )


async def _ask(socket: Path, line: bytes) -> bytes:
    """The first bytes of the answer; nothing when there is none."""
    closed = (OSError, anyio.EndOfStream, anyio.BrokenResourceError)
    with suppress(*closed), anyio.move_on_after(ANSWER_MS_MAX / 1000):
        async with await anyio.connect_unix(str(socket)) as stream:
            await stream.send(line)
            return await stream.receive()
    return b""


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


async def _stop(process: subprocess.Popen[bytes], socket: Path, *, within_ms: int) -> None:
    with anyio.move_on_after(within_ms / 1000):
        # SHUTDOWN acts at once. TERM means the same at the next tick, and also reaches a server that
        # is loading, busy in a function or out of client slots.
        if process.poll() is None:
            await _ask(socket, b"SHUTDOWN\r\n")
            process.terminate()
        await _exit_of(process)
    process.kill()
    process.wait()
    socket.unlink(missing_ok=True)


async def _exit_of(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    try:
        watch = os.pidfd_open(process.pid)
    except (AttributeError, OSError):  # no pidfd: another system than Linux, or a sandbox
        await anyio.to_thread.run_sync(process.wait, abandon_on_cancel=True)
        return
    try:
        await anyio.wait_readable(watch)
    finally:
        os.close(watch)
