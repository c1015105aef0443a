"""The seam between the simulation and what answers like a Redis: one server's data, without any network.

Everything that goes wrong on a wire (loss, lateness, cuts, restarts, frozen servers, blocking reads) is
`tests.sim.server`'s, the same for every tier. A backend is synchronous and single-threaded, like Redis: it
carries out one command at once and answers what RESP2 answers, before redis-py's callbacks, with `str` for
bytes: HGETALL is a flat list, XREADGROUP a list of [stream, [[id, [field, value, …]], …]] or None, TIME two
strings. Errors are raised as redis-py's `ResponseError` with the server's text (`NOGROUP …`).

Tier LUA is `tests.sim.lua_backend.LuaBackend`; tier FAST is `tests.sim.model`, which exports
`ModelBackend(wall_ms)` with this shape. Both are made anew for every run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol


class Backend(Protocol):
    """One server."""

    parsed: bool
    """Replies are what redis-py makes of them, not what the server sent."""
    run_id: str
    """Forty hex digits that INFO answers; the simulation sets another one at every restart."""

    def execute(self, command: Sequence[str | int | float]) -> Any:
        """One command, a function call included; never blocks (the option BLOCK was taken out)."""
        ...

    def contents(self) -> dict[str, Any]:
        """Every key without the shard's prefix; hashes and a stream's fields as dicts, sorted sets as
        (member, score), streams as (id, fields), in the order that a server would list them."""
        ...

    def mark(self, stream: str) -> object:
        """Something that differs whenever an entry was added to the stream, or it came or went."""
        ...

    def watch(self, streams: Sequence[str]) -> None:
        """Somebody waits for these now."""
        ...

    @property
    def grown(self) -> int:
        """A number that changes whenever the mark of a stream may have changed that is watched."""
        ...

    def snapshot(self) -> object:
        """All data as they are now, whatever happens to them later; loaded functions not included."""
        ...

    def restore(self, snapshot: object) -> None:
        """Back to a snapshot of this backend, which may be restored again."""
        ...

    def forget_functions(self) -> None:
        """The function library is gone; a call answers `ERR Function not found` until FUNCTION LOAD."""
        ...


MakeBackend = Callable[[Callable[[], int]], Backend]
"""From the server's wall clock in milliseconds."""
