"""Stream reads: XRANGE, XREAD and XREADGROUP, and what they answer.

A blocked read is served in the command that made it possible, in the order in which readers came, whether
or not the reader still listens: a frozen reader swallows what it gets, as on a real server.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError

from tests.sim.model.keyspace import Keyspace
from tests.sim.model.values import HIGHEST, Group, Stream, StreamId, id_text

Reader = Callable[[Keyspace], list[Any]]


def parse_id(text: str, *, missing: int = 0) -> StreamId:
    """`ms-n`, or `ms` alone with `missing` for n."""
    ms, dash, n = text.partition("-")
    return int(ms), int(n) if dash else missing


def _bound(text: str) -> StreamId:
    return {"-": (0, 0), "+": HIGHEST}.get(text) or parse_id(text)


def _entry(stream: Stream, entry_id: StreamId) -> tuple[str, dict[str, str]]:
    return id_text(entry_id), dict(stream.get(entry_id) or {})


def xrange(space: Keyspace, name: str, *rest: str) -> list[tuple[str, dict[str, str]]]:
    """XRANGE name low high [COUNT n]; both ends included."""
    stream = space.stream(name)
    if stream is None:
        return []
    high = HIGHEST if rest[1] == "+" else parse_id(rest[1], missing=HIGHEST[1])
    found = stream.between(_bound(rest[0]), high)[: _count(rest[2:])]
    return [_entry(stream, one) for one in found]


def xrevrange(space: Keyspace, name: str, *rest: str) -> list[tuple[str, dict[str, str]]]:
    """XREVRANGE name high low [COUNT n]."""
    found = xrange(space, name, rest[1], rest[0])[::-1]
    return found[: _count(rest[2:])]


def _count(words: Sequence[str]) -> int | None:
    return int(words[1]) if words else None


@dataclass(slots=True)
class Read:
    """A read as its command says it; `block_ms` is None for one that does not wait."""

    read: Reader
    names: tuple[str, ...]
    block_ms: int | None


def parse_read(space: Keyspace, words: Sequence[str]) -> Read:
    """XREAD or XREADGROUP. `$` is the end of the stream at this moment."""
    options: dict[str, str] = {}
    group = consumer = ""
    rest = list(words[1:])
    while (word := rest.pop(0).upper()) != "STREAMS":
        if word == "GROUP":
            group, consumer = rest.pop(0), rest.pop(0)
        else:
            assert word in {"COUNT", "BLOCK", "NOACK"}, f"the model knows no {word} of {words[0]}"
            options[word] = "" if word == "NOACK" else rest.pop(0)
    half = len(rest) // 2
    pairs = list(zip(rest[:half], rest[half:], strict=True))
    count = int(options["COUNT"]) if "COUNT" in options else None
    if words[0].upper() == "XREADGROUP":
        noack = "NOACK" in options
        reader = _group_reader(pairs, group, consumer, count, noack=noack)
    else:
        reader = _plain_reader([(name, _start(space, name, at)) for name, at in pairs], count)
    block_ms = int(options["BLOCK"]) if "BLOCK" in options else None
    return Read(reader, tuple(name for name, _ in pairs), block_ms)


def _start(space: Keyspace, name: str, text: str) -> StreamId:
    if text != "$":
        return parse_id(text)
    stream = space.stream(name)
    return (0, 0) if stream is None else stream.last


def _plain_reader(pairs: Sequence[tuple[str, StreamId]], count: int | None) -> Reader:
    def read(space: Keyspace) -> list[Any]:
        found = []
        for name, start in pairs:
            stream = space.stream(name)
            ids = stream.after(start, count) if stream is not None else []
            if stream is not None and ids:
                found.append([name, [_entry(stream, one) for one in ids]])
        return found

    return read


def _group_reader(
    pairs: Sequence[tuple[str, str]], group: str, consumer: str, count: int | None, *, noack: bool
) -> Reader:
    def read(space: Keyspace) -> list[Any]:
        streams = [(name, start, *_group_of(space, name, group)) for name, start in pairs]
        found = []
        for name, start, stream, readers in streams:
            readers.consumers[consumer] = None
            if start == ">":
                ids = _fresh(stream, readers, consumer, count, noack=noack)
            else:
                low = parse_id(start)
                mine = (one for one, who in readers.pending.items() if who == consumer)
                ids = sorted(one for one in mine if one > low)[:count]
            # One's own pending entries are answered at once, even when there are none.
            if ids or start != ">":
                found.append([name, [_entry(stream, one) for one in ids]])
        return found

    return read


def _group_of(space: Keyspace, name: str, group: str) -> tuple[Stream, Group]:
    stream = space.stream(name)
    if stream is None or group not in stream.groups:
        raise ResponseError(
            f"NOGROUP No such key '{name}' or consumer group '{group}' in XREADGROUP with GROUP option"
        )
    return stream, stream.groups[group]


def _fresh(
    stream: Stream, group: Group, consumer: str, count: int | None, *, noack: bool
) -> list[StreamId]:
    ids = stream.after(group.last, count)
    if ids:
        group.last = ids[-1]
    if not noack:
        group.pending |= dict.fromkeys(ids, consumer)
    return ids
