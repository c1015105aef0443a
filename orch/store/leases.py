"""Who lives: instances register, beat, leave, and are buried when they fall silent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from contracts.errors import ErrorCode, Refused
from orch.store.connection import Connection
from orch.store.library import library


@dataclass(frozen=True, slots=True)
class Instance:
    """One process of an actor, new for every incarnation of it."""

    instance_id: str
    role: Literal[
        "admission", "scheduler", "runner", "reaper", "fallback", "notifier", "gateway", "supervisor"
    ]  # fmt: skip
    about: Mapping[str, Any]
    """Shown to operators: host, pid, lease_ms, version."""
    pool: str = ""
    slots: int = 0


@dataclass(frozen=True, slots=True)
class Burial:
    """What `bury` did: jobs it freed, jobs left for a next call; or why it did nothing."""

    done: bool
    freed: int = 0
    left: int = 0


class Leases:
    """Registration and beats. Judging silence is the reaper's."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def register(self, instance: Instance, *, again: bool = False) -> None:
        """Makes it known and, for a runner, its slots available; repeating it changes only the slots.

        `again` is for one that is known already and whose streams were lost.

        Raises:
            Refused: LEASE_OVER, it was buried since. Without `again` only a runner is refused, whose id is
                that of one life; other actors are made known anew.
        """
        about = {
            "role": instance.role,
            "pool": instance.pool,
            "slots": instance.slots,
            # Who calls which functions: what no instance names any more, the reaper removes.
            "library": library().name,
            **instance.about,
        }
        reply = await self._connection.call(
            "register",
            instance.instance_id,
            instance.role,
            orjson.dumps(about).decode(),
            instance.pool,
            instance.slots,
            int(again),
        )
        if reply[0] == "runner_over":
            raise Refused(ErrorCode.LEASE_OVER, f"{instance.instance_id} was buried")

    async def beat(self, instance_id: str) -> bool:
        """One beat; whether the server still knows more of it, else it should register again.

        Raises:
            Refused: LEASE_OVER, the instance was buried; it must stop its work and register anew.
        """
        reply = await self._connection.call("beat", instance_id)
        if reply[0] == "runner_over":
            raise Refused(ErrorCode.LEASE_OVER, f"{instance_id} was buried")
        return bool(reply[2])

    async def leave(self, instance_id: str) -> int:
        """Says goodbye; returns how many jobs it still holds (then it has not left)."""
        reply = await self._connection.call("leave", instance_id)
        return int(reply[1]) if reply[0] == "holds" else 0

    async def beats(self) -> dict[str, int]:
        """The beat counters of all living instances."""
        found = await self._connection.execute("HGETALL", self._connection.keys.beats)
        return {name: int(counter) for name, counter in found.items()}

    async def instances(self) -> dict[str, dict[str, Any]]:
        """What is known of every instance, the buried but not yet emptied ones included."""
        found = await self._connection.execute("HGETALL", self._connection.keys.instances)
        return {name: orjson.loads(about) for name, about in found.items()}

    async def strays(self) -> list[str]:
        """Readers with unsettled entries that are no instances (any more)."""
        keys = self._connection.keys
        names: set[str] = set()
        for stream, group in ((keys.requests, "admission"), (keys.outcomes, "fallback")):
            if await self._connection.execute("EXISTS", stream):
                summary = await self._connection.execute("XPENDING", stream, group)
                names |= {reader["name"] for reader in summary["consumers"]}
        return sorted(names - (await self.instances()).keys()) if names else []

    async def bury(self, instance_id: str, counter: int, *, age_ms: int, most: int) -> Burial:
        """Declares it dead unless its beat moved on from `counter`."""
        reply = await self._connection.call("bury", instance_id, counter, age_ms, most)
        if reply[0] != "ok":
            return Burial(done=False)
        return Burial(done=True, freed=int(reply[1]), left=int(reply[2]))
