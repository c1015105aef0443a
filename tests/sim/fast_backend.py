"""Tier FAST: the pure model of the functions (`tests.sim.model`) behind the simulation's seam."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from orch.store.keys import Keys
from tests.sim.model.server import ModelServer
from tests.sim.model.values import Stream, StreamId, ZSet, id_text

_PREFIX = Keys(0).prefix
_READS = frozenset({"XREADGROUP", "XREAD"})


class FastBackend:
    """A ModelServer behind `tests.sim.backend.Backend`."""

    parsed = True

    def __init__(self, wall_ms: Callable[[], int]) -> None:
        self._server = ModelServer(wall_ms, "")
        self._told: dict[str, tuple[Stream, StreamId, int, list[Any]]] = {}
        """What `contents` said of a stream: that holds while it has as many entries and the same last one."""

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
        return reply if reply or command[0] not in _READS else None

    def contents(self) -> dict[str, Any]:
        """See Backend."""
        plain = self._plain
        found = self._server.space.found()
        return {name.removeprefix(_PREFIX): plain(name, value) for name, value in found}

    def mark(self, stream: str) -> object:
        """See Backend."""
        value = self._server.space.values.get(stream)
        return value.last if isinstance(value, Stream) else None

    def watch(self, streams: Sequence[str]) -> None:
        """See Backend."""
        self._server.space.watched.update(streams)

    @property
    def grown(self) -> int:
        """See Backend."""
        return self._server.space.grown

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

    def _plain(self, name: str, value: Any) -> Any:
        kind = type(value)
        if kind is dict:
            return value.copy()
        if kind is Stream:
            told = self._told.get(name)
            if told is None or told[:3] != (value, value.last, len(value)):
                entries = [(id_text(one), fields) for one, fields in value.entries()]
                told = self._told[name] = (value, value.last, len(value), entries)
            return told[3]
        if kind is ZSet:
            return [(member, score) for score, member in value]
        if kind is deque:
            return list(value)
        return value if kind is str else dict(value)
