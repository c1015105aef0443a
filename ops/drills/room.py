"""A small file system of a drill's own, which can be really full: a tmpfs that only the drill's programs see.

It is mounted in a mount namespace which a sleeping child holds open. Programs enter it with `nsenter`; the
drill looks in through /proc. When the child ends, namespace and file system are gone: nothing is ever mounted
on the machine itself. Root may do it, and others where the kernel lets them have user namespaces.
"""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ops.drills.children import end, start
from ops.drills.scene import Lacking, Scene, waited

_CHUNK: Final = 4_096
_TRY_S: Final = 10.0
_HOW: Final = "run it as root, or where `unshare --mount --map-root-user true` works"


@dataclass(frozen=True, slots=True)
class Room:
    """A folder on a file system of its own."""

    folder: Path
    holder: int
    enter: tuple[str, ...]
    """Words that carry out a program in there."""

    @property
    def inside(self) -> Path:
        """The folder as we reach it from outside."""
        return Path(f"/proc/{self.holder}/root") / self.folder.relative_to("/")

    @property
    def free_bytes(self) -> int:
        """What is left."""
        found = os.statvfs(self.inside)
        return found.f_bavail * found.f_frsize

    def fill(self, leaving: int = 0) -> Path:
        """A file that takes all but so many bytes; remove it to make room."""
        filler = self.inside / "filler"
        with filler.open("ab", buffering=0) as file, suppress(OSError):
            while self.free_bytes > leaving:
                if file.write(b"\0" * _CHUNK) == 0:
                    raise OSError(errno.ENOSPC, "full")
        return filler


def room(scene: Scene, folder: Path, bytes_max: int) -> Room:
    """The folder, empty and on a file system of that size; it ends with the scene.

    Raises:
        Lacking: this machine does not let us.
    """
    mapped = _way(scene)
    folder.mkdir(parents=True, mode=0o700)
    mount = f"mount -t tmpfs -o size={bytes_max},mode=0700 drill {shlex.quote(str(folder))}"
    argv = ["sh", "-c", f"{mount} && echo mounted && exec sleep 86400"]
    log = scene.root / "room.log"
    process = start(argv, log, cwd=scene.root, before=["unshare", "--mount", *mapped, "--"])
    scene.opened.callback(end, process, signal.SIGKILL)
    if not waited(lambda: process.poll() is not None or "mounted" in log.read_text(), _TRY_S):
        raise Lacking(f"no file system of its own: {_HOW}")
    if process.poll() is not None:
        raise Lacking(f"mount says {log.read_text().strip()!r}: {_HOW}")
    user = ("--user", "--preserve-credentials") if mapped else ()
    return Room(
        folder, process.pid, ("nsenter", "--target", str(process.pid), *user, "--mount", "--")
    )


def _way(scene: Scene) -> Sequence[str]:
    """What `unshare` needs besides `--mount`."""
    for tool in ("unshare", "nsenter"):
        if shutil.which(tool) is None:
            raise Lacking(f"{tool} is not installed; it comes with util-linux")
    ways: tuple[tuple[str, ...], ...] = ((), ("--user", "--map-root-user"))
    for way in ways if os.geteuid() == 0 else ways[1:]:
        words = ["unshare", "--mount", *way, "--", "mount", "-t", "tmpfs", "drill", str(scene.root)]
        if subprocess.run(words, capture_output=True, timeout=_TRY_S, check=False).returncode == 0:
            return way
    raise Lacking(f"no mount namespace: {_HOW}")
