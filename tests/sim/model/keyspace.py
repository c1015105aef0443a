"""All keys of a server, typed access to them, and copies of the whole to go back to.

Reading a key of another type is refused as Redis refuses it, so broken data shows in the model too.
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from operator import itemgetter
from typing import Any, TypeVar

from redis.exceptions import ResponseError

from tests.sim.model.values import Members, Stream, StreamId, Value, ZSet, id_text

T = TypeVar("T")
_name = itemgetter(0)
WRONGTYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"


_STAY_EMPTY = (Stream, str)


def is_there(value: Value) -> bool:
    """Whether Redis would still have the key: it has no empty values but streams and strings."""
    return isinstance(value, _STAY_EMPTY) or len(value) > 0


class Keyspace:
    """Values by full key name."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self.clock = clock
        self.values: dict[str, Value] = {}
        self.expires: dict[str, int] = {}
        self.signaled: dict[str, None] = {}
        """Streams changed by the command that runs: whoever blocks on them is served after it."""
        self.watched: set[str] = set()
        self.grown = 0
        """How often a watched stream got an entry, came or went."""

    def names(self) -> Iterator[str]:
        """Every key there is."""
        self._expire()
        return (name for name, value in self.values.items() if is_there(value))

    def found(self) -> list[tuple[str, Value]]:
        """Every key there is, in the order of their names, and its value."""
        self._expire()
        pairs = sorted(self.values.items(), key=_name)
        return [pair for pair in pairs if pair[1] or is_there(pair[1])]

    def get(self, name: str) -> Value | None:
        """The value, whatever its type."""
        if name in self.expires:
            self._expire()
        value = self.values.get(name)
        return value if value is not None and is_there(value) else None

    def _typed(self, name: str, kind: Callable[[], T]) -> T:
        value: Any = self.values.get(name)
        if type(value) is kind:
            return value
        if value is not None and is_there(value):
            raise ResponseError(WRONGTYPE)
        made: Any = kind()
        self.values[name] = made
        self.grown += name in self.watched
        return made

    def hash(self, name: str) -> dict[str, str]:
        """A hash; what is written to it is stored."""
        value: Any = self.values.get(name)
        return value if type(value) is dict else self._typed(name, dict)

    def members(self, name: str) -> Members:
        """A set."""
        return self._typed(name, Members)

    def line(self, name: str) -> deque[str]:
        """A list."""
        return self._typed(name, deque)

    def zset(self, name: str) -> ZSet:
        """A sorted set."""
        return self._typed(name, ZSet)

    def stream(self, name: str) -> Stream | None:
        """A stream, if there is one."""
        value = self.get(name)
        if value is None or isinstance(value, Stream):
            return value
        raise ResponseError(WRONGTYPE)

    def text(self, name: str) -> str | None:
        """A string, if there is one."""
        value = self.get(name)
        if value is None or isinstance(value, str):
            return value
        raise ResponseError(WRONGTYPE)

    def set_text(self, name: str, text: str, ttl_ms: int | None = None) -> None:
        """Stores a string over whatever was there."""
        self.delete(name)
        self.values[name] = text
        self.grown += name in self.watched
        if ttl_ms is not None:
            self.expires[name] = self.clock() + ttl_ms

    def delete(self, name: str) -> bool:
        """Whether it was there."""
        value = self.values.pop(name, None)
        self.expires.pop(name, None)
        if isinstance(value, Stream):
            self.signaled[name] = None
            self.grown += name in self.watched
        return value is not None and is_there(value)

    def append(
        self,
        name: str,
        fields: Mapping[str, str],
        *,
        most: int | None = None,
        exactly: bool = False,
        entry_id: StreamId | None = None,
    ) -> str:
        """Adds a stream entry, making the stream; returns its id."""
        stream = self._typed(name, Stream)
        try:
            made = stream.add(fields, self.clock(), entry_id)
        except ValueError as error:
            raise ResponseError(
                "The ID specified in XADD is equal or smaller than the target stream top item"
            ) from error
        if most is not None:
            stream.trim(most, exactly=exactly)
        self.signaled[name] = None
        self.grown += name in self.watched
        return id_text(made)

    def ensure_group(self, name: str, group: str) -> None:
        """XGROUP CREATE … 0 MKSTREAM, unless it exists."""
        stream = self._typed(name, Stream)
        if group not in stream.groups:
            stream.add_group(group)

    def is_as_read(self, name: str, entry_id: StreamId, field: str, value: str) -> bool:
        """Whether the entry is there, and says that in this field, where anything is asked of it."""
        stream = self.stream(name)
        fields = None if stream is None else stream.get(entry_id)
        return fields is not None and value in {"", fields.get(field, "")}

    def settle_entry(self, name: str, group: str, entry_id: StreamId) -> None:
        """Acknowledges and deletes an entry."""
        stream = self.stream(name)
        if stream is None:
            return
        if group in stream.groups:
            stream.groups[group].pending.pop(entry_id, None)
        stream.delete(entry_id)

    def clear(self) -> None:
        """FLUSHALL."""
        for name in list(self.values):
            self.delete(name)

    def snapshot(self) -> bytes:
        """Everything, as it is now."""
        return pickle.dumps((self.values, self.expires))

    def restore(self, snapshot: bytes) -> None:
        """Everything, as it was then."""
        self.values, self.expires = pickle.loads(snapshot)
        self.grown += 1

    def _expire(self) -> None:
        if not self.expires:
            return
        now = self.clock()
        for name in [name for name, at_ms in self.expires.items() if at_ms <= now]:
            self.delete(name)
