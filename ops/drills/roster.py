"""Which drills are there, of which page is each, and where does it stand?

Each is the function `play` of the module of its name, which is imported when it is played.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Final, cast

from ops.drills.scene import Scene

Play = Callable[[Scene], None]


@dataclass(frozen=True, slots=True)
class Drill:
    """One exercise."""

    name: str
    page: str
    """In ops/runbooks/."""
    about: str

    @property
    def module(self) -> str:
        """The module of ops/drills."""
        return self.name.replace("-", "_")

    @property
    def play(self) -> Play:
        """The exercise itself."""
        return cast(Play, import_module(f"ops.drills.{self.module}").play)


_ALL: Final = (
    Drill("deploy", "deploy.md", "an unfit server is noticed and mended, then the house works"),
    Drill("upgrade", "upgrade.md", "two versions side by side, back once, then forward"),
    Drill("drain", "drain-node.md", "one of two nodes is emptied, taken away, comes back"),
    Drill("sentinel", "failover.md", "a primary dies under Sentinels; a planned failover"),
    Drill("cluster", "failover.md", "a node of a Cluster dies; a planned failover"),
    Drill("restore", "restore.md", "a backup under load, all data lost, and the way back"),
    Drill("aof", "aof-damage.md", "the append-only file is torn, then ends in garbage"),
    Drill("disk", "full-disk.md", "the disk of the server is full, and gets room"),
    Drill("lost-writes", "writes-lost.md", "a server comes back with what it had before"),
    Drill("dead-letters", "dead-letters.md", "an endpoint comes back, dead letters are replayed"),
    Drill("stuck-command", "commands-open.md", "a runner stands still, a drain waits for it"),
)  # fmt: skip

DRILLS: Final = MappingProxyType({drill.name: drill for drill in _ALL})
assert len(DRILLS) == len(_ALL), "two drills have one name"
