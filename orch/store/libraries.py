"""The function libraries of Orch that a server has: one for each version that was loaded and not removed.

They belong to the server, not to a shard. Loading is the connection's, which does it whenever a function is
missing; so a library that is removed too early costs who needs it one more call. When one may go is decided
by the reaper.
"""

from __future__ import annotations

import re
from typing import Any, Final

from contracts.errors import Corrupt
from orch.store.connection import Connection
from orch.store.failures import is_missing_library

_OURS: Final = re.compile(r"orch_[0-9a-f]{10}")


class Libraries:
    """Those on the server that a connection leads to."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def names(self) -> list[str]:
        """The names of all versions' libraries; those of other programs are none of ours.

        Raises:
            Misuse: FORBIDDEN, this user may not look.
        """
        found = await self._connection.execute("FUNCTION", "LIST", "LIBRARYNAME", "orch_*")
        return sorted(name for name in map(_name, found) if _OURS.fullmatch(name))

    async def remove(self, name: str) -> bool:
        """Removes one; False when it was gone already. Not repeated: who asks looks again anyway.

        Raises:
            Misuse: FORBIDDEN, this user may not remove it.
        """
        try:
            await self._connection.once("FUNCTION", "DELETE", name)
        except Corrupt as error:
            if is_missing_library(error.__cause__):
                return False
            raise
        return True


def _name(about: Any) -> str:
    """Of one library: a flat list of names and values, or a mapping."""
    pairs = about if isinstance(about, dict) else dict(zip(about[::2], about[1::2], strict=True))
    return str(pairs["library_name"])
