"""Tier FAST: the pure model of the functions (`tests.sim.model`) behind the simulation's seam."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from orch.store.keys import Keys
from tests.sim.model.server import ModelServer
from tests.sim.model.values import Stream, ZSet, id_text

_PREFIX = Keys(0).prefix


class FastBackend:
    """A ModelServer behind `tests.sim.backend.Backend`."""

    parsed = True

    def __init__(self, wall_ms: Callable[[], int]) -> None:
        self._server = ModelServer(wall_ms, "")

    @property
    def run_id(self) -> str:
        """See Backend."""
        return self._server.run_id

    @run_id.setter
    def run_id(self, value: str) -> None:
        self._server.run_id = value

    def execute(self, command: Sequence[str | int | float]) -> Any:
        """See Backend; a read that finds nothing is None, as on the wire."""
        reply = self._server.execute(*command)
        return None if command[0] in {"XREADGROUP", "XREAD"} and not reply else reply

    def contents(self) -> dict[str, Any]:
        """See Backend."""
        space = self._server.space
        return {
            name.removeprefix(_PREFIX): _plain(space.get(name)) for name in sorted(space.names())
        }

    def mark(self, stream: str) -> object:
        """See Backend."""
        value = self._server.space.values.get(stream)
        return value.last if isinstance(value, Stream) else None

    def snapshot(self) -> object:
        """See Backend."""
        return self._server.snapshot()

    def restore(self, snapshot: object) -> None:
        """See Backend."""
        assert isinstance(snapshot, bytes)
        self._server.restore(snapshot)

    def forget_functions(self) -> None:
        """See Backend."""
        self._server.has_functions = False


def _plain(value: Any) -> Any:
    if isinstance(value, Stream):
        return [(id_text(one), fields) for one, fields in value.entries()]
    if isinstance(value, ZSet):
        return [(member, score) for score, member in value]
    if isinstance(value, deque):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value
