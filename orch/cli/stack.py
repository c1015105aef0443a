"""What runs in a home: the process that `orch up` started there, found and told apart from strangers."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import orch

POLL_MS: Final = 50
DEADLINE_MS: Final = 30_000
"""How long `up --wait` waits for readiness, and `down` for the end."""


@dataclass(frozen=True, slots=True)
class Running:
    """A stack whose process lives: what its endpoint.json says."""

    pid: int
    document: Mapping[str, Any]

    @property
    def url(self) -> str:
        """The gateway's address."""
        return str(self.document.get("url", ""))


def running_in(home: Path) -> Running | None:
    """The stack of this home, if the process that endpoint.json names lives and is a stack of this home."""
    from orch.client.endpoint import read_endpoint_file

    document = read_endpoint_file(home)
    pid = document.get("pid") if document else None
    if document is None or type(pid) is not int or pid < 1:
        return None
    return Running(pid, document) if is_alive(pid) and _is_ours(pid, home) else None


def is_alive(pid: int) -> bool:
    """Whether the process runs. A zombie has ended, it only was not collected yet."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return False
    except (PermissionError, FileNotFoundError):
        return Path(f"/proc/{pid}").exists()
    return state not in {"Z", "X"}


def _is_ours(pid: int, home: Path) -> bool:
    """Whether it is `python -m actors …`, and of this home: ids of dead processes are used again."""
    words = _command_line(pid)
    if ("-m", "actors") not in pairwise(words):
        return False
    homes = [after for word, after in pairwise(words) if word == "--home"]
    return not homes or Path(homes[-1]).resolve() == home.resolve()


def _command_line(pid: int) -> list[str]:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return [os.fsdecode(word) for word in raw.split(b"\0")]


def actors_argv(*words: str) -> list[str]:
    """The command line of the actors. -P: a directory `actors` where the user stands is not ours."""
    return [sys.executable, "-P", "-m", "actors", *words]


def actors_environ(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of the actors: ours, and the way to the source tree when Orch is not installed."""
    root = Path(orch.__file__).resolve().parents[1]
    environ = {**os.environ, **extra}
    if root.name not in {"site-packages", "dist-packages"}:
        known = environ.get("PYTHONPATH", "")
        environ["PYTHONPATH"] = f"{known}{os.pathsep}{root}" if known else str(root)
    return environ


def spawn_detached(
    argv: Sequence[str], environ: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    """Start it in its own session, its output appended to `log`; it outlives us."""
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        return subprocess.Popen(
            argv,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
        )
    finally:
        os.close(descriptor)


def wait_until(is_so: Callable[[], bool], deadline_ms: int = DEADLINE_MS) -> bool:
    """Whether `is_so()` came true within the deadline; looked at every POLL_MS."""
    from orch.system import monotonic_ms

    until_ms = monotonic_ms() + deadline_ms
    pause = threading.Event()
    while not is_so():
        if monotonic_ms() >= until_ms:
            return False
        pause.wait(POLL_MS / 1_000)
    return True


def tail(path: Path, *, lines: int = 20, bytes_max: int = 8_192) -> str:
    """The last lines of a file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - bytes_max))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
