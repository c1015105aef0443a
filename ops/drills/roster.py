"""Which drills are there, of which page is each, and where does it stand?

A drill is named by its function as `module:function` and imported when it is played.
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
    where: str

    @property
    def play(self) -> Play:
        """The exercise itself."""
        module, _, function = self.where.partition(":")
        return cast(Play, getattr(import_module(f"ops.drills.{module}"), function))


_ALL: Final = (
    Drill("deploy", "deploy.md", "a server that would lose jobs is noticed and mended, then the house works", "deploy:play"),
    Drill("upgrade", "upgrade.md", "two versions side by side, back once, then forward", "upgrade:play"),
    Drill("drain", "drain-node.md", "one of two nodes is emptied, taken away, and comes back", "drain:play"),
    Drill("sentinel", "failover.md", "the primary dies under Sentinels; later a planned failover", "failovers:under_sentinels"),
    Drill("cluster", "failover.md", "the shard's node of a Cluster dies; later a planned failover", "failovers:in_a_cluster"),
    Drill("restore", "restore.md", "a backup under load, all data lost, and the way back", "restore:play"),
    Drill("aof", "aof-damage.md", "the append-only file is torn, then ends in garbage", "aof:play"),
    Drill("disk", "full-disk.md", "the disk of the server is full, and gets room", "disk:play"),
    Drill("lost-writes", "writes-lost.md", "a server comes back with what it had before", "lost_writes:play"),
    Drill("dead-letters", "dead-letters.md", "an endpoint is down, comes back, dead letters are replayed", "dead_letters:play"),
    Drill("stuck-command", "commands-open.md", "a runner stands still and a drain waits for it", "stuck_command:play"),
)  # fmt: skip

DRILLS: Final = MappingProxyType({drill.name: drill for drill in _ALL})
assert len(DRILLS) == len(_ALL), "two drills have one name"
