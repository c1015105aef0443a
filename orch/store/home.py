"""The home directory of a private server: its privacy, its one owner, where its socket may be."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from contracts.errors import ErrorCode, Refused
from contracts.limits import SOCKET_PATH_BYTES_MAX
from orch.system import SystemClock

POLL_MS: Final = 5
HANDOVER_MS_MAX: Final = 10_000
"""How long a lock whose owner is dead is waited for: its server is still writing its last bytes."""
_CLOCK: Final = SystemClock()


def make_private(home: Path, data: Path) -> None:
    """Make both; close `data` to others. An existing home may be a shared place and keeps its mode."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        data.mkdir(mode=0o700, exist_ok=True)
        data.chmod(0o700)
        (home / "lock").touch(mode=0o600)
    except OSError as error:
        raise Refused(
            ErrorCode.INVALID_CONFIG,
            f"cannot use {home} as a home: {error.strerror}",
            details={"key": "home", "value": str(home)},
        ) from error


def socket_path(home: Path) -> Path:
    """In the home, or where the path fits into a socket address: in a private directory of the user."""
    wanted = home / "data" / "valkey.sock"
    if len(os.fsencode(wanted)) <= SOCKET_PATH_BYTES_MAX:
        return wanted
    name = hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:16] + ".sock"
    for parent in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):  # noqa: S108 - owner checked
        directory = Path(parent or "/nonexistent", f"orch-{os.getuid()}")
        if len(os.fsencode(directory / name)) <= SOCKET_PATH_BYTES_MAX and _is_ours(directory):
            return directory / name
    raise Refused(
        ErrorCode.INVALID_CONFIG,
        f"{wanted} is too long for a socket, and there is no private short directory",
        hint="Choose a shorter --home.",
        details={"key": "home", "value": str(home)},
    )


def _is_ours(directory: Path) -> bool:
    """Whether a directory in a shared place is ours alone; anybody could have made it before us."""
    with suppress(OSError):
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()  # a symbolic link is somebody's trick, not a directory
        mode_ok = stat.S_ISDIR(found.st_mode) and not stat.S_IMODE(found.st_mode) & 0o077
        return mode_ok and found.st_uid == os.getuid()
    return False


@asynccontextmanager
async def locked(home: Path) -> AsyncIterator[BinaryIO]:
    """Hold `<home>/lock`. The server inherits the descriptor, so the lock lives as long as either.

    Else: the owner is killed, a second owner takes the lock at once and starts its server, while the
    first server is still flushing the same AOF.
    """
    path = home / "lock"
    with path.open("a+b", buffering=0) as lock:
        started_ms = _CLOCK.monotonic_ms()
        while not _try_lock(lock.fileno()):
            # The owner, then its server; a file just being signed is empty and read again.
            pids = [int(word) for word in path.read_text().split()]
            late = _CLOCK.monotonic_ms() - started_ms > HANDOVER_MS_MAX
            if late or (pids and _lives(pids[0])):
                holder = next((pid for pid in pids if _lives(pid)), None)
                raise Refused(
                    ErrorCode.HOME_IN_USE,
                    f"{home} is in use by process {holder or 'unknown'}",
                    details={"home": str(home), "pid": holder},
                )
            await _CLOCK.sleep_ms(POLL_MS)
        sign(lock, os.getpid())
        yield lock


def sign(lock: BinaryIO, *pids: int) -> None:
    """Name the holders of the lock, the owner first, for whoever is refused."""
    lock.truncate(0)
    lock.write(" ".join(map(str, pids)).encode())


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
