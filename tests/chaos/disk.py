"""A disk that can be really full: a small file system of the server's own, as drills have one."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Final

from ops.drills.room import room
from ops.drills.scene import Lacking, Scene

_BYTES: Final = 64 * 1024 * 1024
"""Ten times what a storm of a minute writes; filling it takes a tenth of a second."""


class SmallDisk:
    """One folder on it, reached from in there as `folder` and from here as `inside`.

    Raises:
        Lacking: this machine does not let us.
    """

    def __init__(self, folder: Path) -> None:
        # Not below the run's folder: what lives there in the end is an orphan.
        self._scene = Scene(Path(tempfile.mkdtemp(prefix="orch-disk-")), lambda _line: None)
        self._scene.opened.callback(shutil.rmtree, self._scene.root)
        try:
            self._room = room(self._scene, folder, _BYTES)
        except Lacking:
            self._scene.opened.close()
            raise
        self._filler: Path | None = None
        self.folder = folder
        self.inside = self._room.inside
        self.enter = self._room.enter
        """Words that carry out a program in there."""

    @property
    def is_full(self) -> bool:
        """From `fill` to `clear`."""
        return self._filler is not None

    def fill(self, leaving: int) -> None:
        """All but so many bytes, and what the last page of each file has left."""
        self._filler = self._room.fill(leaving)

    def clear(self) -> None:
        """There is room again."""
        if self._filler is not None:
            self._filler.unlink()
            self._filler = None

    def close(self) -> None:
        """The file system is gone; its files are copied to where the folder was mounted."""
        self.clear()
        shutil.copytree(self.inside, self.folder, dirs_exist_ok=True)
        self._scene.opened.close()


def why_not() -> str:
    """Why no disk can be filled here; empty when one can."""
    with tempfile.TemporaryDirectory(prefix="orch-chaos-") as root:
        try:
            SmallDisk(Path(root) / "disk").close()
        except Lacking as error:
            return str(error)
    return ""
