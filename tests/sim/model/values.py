"""The values a key can have: what Redis calls hash, set, list, sorted set, stream and string.

Everything keeps the order in which it was put in, so that a run never depends on PYTHONHASHSEED. An empty
hash, set, list or sorted set is the same as none; a stream may be empty.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import ItemsView, Iterator, Mapping
from dataclasses import dataclass, field

StreamId = tuple[int, int]
NODE_ENTRIES = 100
"""An approximate trim removes whole nodes of a stream; that many entries are in one by default."""


class Members(dict[str, None]):
    """A set of strings."""


class ZSet:
    """Members in the order of their scores, equal scores in the order of the members."""

    def __init__(self) -> None:
        self._scores: dict[str, float] = {}
        self._order: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[tuple[float, str]]:
        return iter(self._order)

    def __contains__(self, member: str) -> bool:
        return member in self._scores

    def score(self, member: str) -> float | None:
        """Its score, if it is a member."""
        return self._scores.get(member)

    def put(self, member: str, score: float) -> None:
        """Adds it or moves it."""
        self.remove(member)
        self._scores[member] = score
        insort(self._order, (score, member))

    def remove(self, member: str) -> bool:
        """Whether it was a member."""
        score = self._scores.pop(member, None)
        if score is None:
            return False
        del self._order[bisect_left(self._order, (score, member))]
        return True

    def first(self) -> tuple[float, str] | None:
        """The lowest score and its member."""
        return self._order[0] if self._order else None

    def above(self, score: float, most: int) -> list[str]:
        """Members whose score is greater than `score`, the lowest first."""
        start = bisect_right(self._order, score, key=lambda pair: pair[0])
        return [member for _, member in self._order[start : start + most]]

    def up_to(self, score: float, most: int | None = None) -> list[str]:
        """Members whose score is at most `score`, the lowest first."""
        found = self._order[: bisect_right(self._order, score, key=lambda pair: pair[0])]
        return [member for _, member in found[:most]]


@dataclass(slots=True)
class Group:
    """The readers of a stream that share its entries."""

    last: StreamId = (0, 0)
    pending: dict[StreamId, str] = field(default_factory=dict)
    consumers: Members = field(default_factory=Members)

    def remove(self, consumer: str) -> None:
        """XGROUP DELCONSUMER: what it had not acknowledged is forgotten with it."""
        self.consumers.pop(consumer, None)
        self.pending = {one: who for one, who in self.pending.items() if who != consumer}


class Stream:
    """Entries under ids that only grow."""

    def __init__(self) -> None:
        self.last: StreamId = (0, 0)
        self.groups: dict[str, Group] = {}
        self._ids: list[StreamId] = []
        self._fields: dict[StreamId, dict[str, str]] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def get(self, entry_id: StreamId) -> dict[str, str] | None:
        """The fields of an entry that was not deleted."""
        return self._fields.get(entry_id)

    def entries(self) -> ItemsView[StreamId, dict[str, str]]:
        """All of them, oldest first; what an entry says never changes."""
        return self._fields.items()

    def add(self, fields: Mapping[str, str], now_ms: int, entry_id: StreamId | None) -> StreamId:
        """Appends; without an id the time makes one, greater than the last even if the clock went back.

        Raises:
            ValueError: the id is not greater than the last.
        """
        if entry_id is None:
            entry_id = max((now_ms, 0), (self.last[0], self.last[1] + 1))
        if entry_id <= self.last:
            raise ValueError(entry_id)
        self.last = entry_id
        self._ids.append(entry_id)
        self._fields[entry_id] = dict(fields)
        return entry_id

    def delete(self, entry_id: StreamId) -> bool:
        """Whether it was there."""
        if self._fields.pop(entry_id, None) is None:
            return False
        del self._ids[bisect_left(self._ids, entry_id)]
        return True

    def trim(self, most: int, *, exactly: bool) -> None:
        """The oldest entries go until `most` are left, or fewer than a node too many."""
        excess = len(self._ids) - most
        if not exactly:
            excess -= excess % NODE_ENTRIES
        if excess > 0:
            for entry_id in self._ids[:excess]:
                del self._fields[entry_id]
            del self._ids[:excess]

    def between(self, low: StreamId, high: StreamId) -> list[StreamId]:
        """Ids from `low` to `high`, both included, oldest first."""
        return self._ids[bisect_left(self._ids, low) : bisect_right(self._ids, high)]

    def after(self, entry_id: StreamId, most: int | None) -> list[StreamId]:
        """Ids greater than `entry_id`, oldest first."""
        start = bisect_right(self._ids, entry_id)
        return self._ids[start : None if most is None else start + most]

    def add_group(self, name: str) -> None:
        """A group that reads from the beginning."""
        self.groups[name] = Group()

    def youngest(self, most: int) -> list[StreamId]:
        """The last `most` ids, the youngest first."""
        return self._ids[-most:][::-1] if most > 0 else []


Value = str | dict[str, str] | Members | deque[str] | ZSet | Stream
HIGHEST: StreamId = (2**64 - 1, 2**64 - 1)


def id_text(entry_id: StreamId) -> str:
    """As Redis writes an id."""
    return f"{entry_id[0]}-{entry_id[1]}"


def number_text(number: float) -> str:
    """As Redis stores a number that Lua computed."""
    return f"{number:.17g}"
