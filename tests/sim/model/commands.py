"""The plain commands that Orch and its tests send, with the replies redis-py makes of them (protocol 2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any

from redis.exceptions import ResponseError

from tests.sim.model.keyspace import Keyspace
from tests.sim.model.reading import parse_id, xrange, xrevrange
from tests.sim.model.values import Members, Stream, ZSet, id_text, number_text

Command = Callable[..., Any]


# -- keys


def _type(space: Keyspace, name: str) -> str:
    value = space.get(name)
    names = {dict: "hash", Members: "set", ZSet: "zset", Stream: "stream", str: "string"}
    return "none" if value is None else names.get(type(value), "list")


def _keys(space: Keyspace, pattern: str) -> list[str]:
    return [name for name in space.names() if fnmatchcase(name, pattern)]


def _pttl(space: Keyspace, name: str) -> int:
    if space.get(name) is None:
        return -2
    return space.expires[name] - space.clock() if name in space.expires else -1


def _set(space: Keyspace, name: str, text: str, *options: str) -> bool:
    assert not options or options[0].upper() == "PX", options
    space.set_text(name, text, int(options[1]) if options else None)
    return True


def _flushall(space: Keyspace) -> bool:
    space.clear()
    return True


def _time(space: Keyspace) -> tuple[int, int]:
    seconds, ms = divmod(space.clock(), 1000)
    return seconds, ms * 1000


# -- hashes and sets


def _hset(space: Keyspace, name: str, *pairs: str) -> int:
    fields, before = space.hash(name), len(space.hash(name))
    fields.update(zip(pairs[::2], pairs[1::2], strict=True))
    return len(fields) - before


def _hdel(space: Keyspace, name: str, *fields: str) -> int:
    return sum(space.hash(name).pop(one, None) is not None for one in fields)


def _hmget(space: Keyspace, name: str, *fields: str) -> list[str | None]:
    found = space.hash(name)
    return [found.get(one) for one in fields]


# -- lists


def _lpush(space: Keyspace, name: str, *values: str) -> int:
    line = space.line(name)
    line.extendleft(values)
    return len(line)


def _rpush(space: Keyspace, name: str, *values: str) -> int:
    line = space.line(name)
    line.extend(values)
    return len(line)


def _slice(low: str, high: str) -> slice:
    return slice(int(low), None if int(high) == -1 else int(high) + 1)


def _lrem(space: Keyspace, name: str, count: str, value: str) -> int:
    assert count == "1", count
    line = space.line(name)
    if value not in line:
        return 0
    line.remove(value)
    return 1


def _lpos(space: Keyspace, name: str, value: str, *options: str) -> int | None:
    assert not options or options[0].upper() == "MAXLEN", options
    most = int(options[1]) if options else None
    looked_at = list(space.line(name))[:most]
    return looked_at.index(value) if value in looked_at else None


# -- sorted sets


def _zadd(space: Keyspace, name: str, *pairs: str) -> int:
    members, before = space.zset(name), len(space.zset(name))
    for score, member in zip(pairs[::2], pairs[1::2], strict=True):
        members.put(member, float(score))
    return len(members) - before


def _zrange(space: Keyspace, name: str, low: str, high: str, *options: str) -> list[str]:
    words = [word.upper() for word in options]
    pairs = list(space.zset(name))
    if "BYSCORE" in words:
        assert "REV" in words, "the model reads by score from the highest down"
        pairs = [one for one in reversed(pairs) if _is_between(one[0], low=high, high=low)]
        if "LIMIT" in words:
            offset, most = (int(word) for word in options[words.index("LIMIT") + 1 :][:2])
            pairs = pairs[offset : offset + most]
    else:
        pairs = pairs[_slice(low, high)]
    if "WITHSCORES" not in words:
        return [member for _, member in pairs]
    return [word for score, member in pairs for word in (member, number_text(score))]


def _is_between(score: float, *, low: str, high: str) -> bool:
    above = score > float(low[1:]) if low.startswith("(") else score >= float(low)
    below = score < float(high[1:]) if high.startswith("(") else score <= float(high)
    return above and below


# -- streams


def _xadd(space: Keyspace, name: str, *words: str) -> str:
    most, exactly, rest = None, True, list(words)
    if rest[0].upper() == "MAXLEN":
        exactly = rest[1] != "~"
        most = int(rest[1 if exactly else 2])
        del rest[: 2 if exactly else 3]
    entry_id = None if rest[0] == "*" else parse_id(rest[0])
    fields = dict(zip(rest[1::2], rest[2::2], strict=True))
    return space.append(name, fields, most=most, exactly=exactly, entry_id=entry_id)


def _xlen(space: Keyspace, name: str) -> int:
    stream = space.stream(name)
    return 0 if stream is None else len(stream)


def _xdel(space: Keyspace, name: str, *ids: str) -> int:
    stream = space.stream(name)
    return 0 if stream is None else sum(stream.delete(parse_id(one)) for one in ids)


def _xack(space: Keyspace, name: str, group: str, *ids: str) -> int:
    stream = space.stream(name)
    if stream is None or group not in stream.groups:
        return 0
    pending = stream.groups[group].pending
    return sum(pending.pop(parse_id(one), None) is not None for one in ids)


def _xgroup(space: Keyspace, verb: str, name: str, group: str, *rest: str) -> Any:
    stream = space.stream(name)
    if verb.upper() == "CREATE":
        assert rest[0] == "0", "the model's groups read from the beginning"
        if stream is not None and group in stream.groups:
            raise ResponseError("BUSYGROUP Consumer Group name already exists")
        space.ensure_group(name, group)
        return "OK"
    assert verb.upper() == "DESTROY", f"the model knows no XGROUP {verb}"
    space.signaled[name] = None
    return int(stream is not None and stream.groups.pop(group, None) is not None)


def _xinfo(space: Keyspace, what: str, name: str, *rest: str) -> list[list[Any]]:
    stream = space.stream(name)
    if stream is None:
        raise ResponseError("no such key")
    if what.upper() == "GROUPS":
        return [
            [
                *("name", group, "consumers", len(one.consumers), "pending", len(one.pending)),
                *("last-delivered-id", id_text(one.last)),
            ]
            for group, one in stream.groups.items()
        ]
    assert what.upper() == "CONSUMERS", f"the model knows no XINFO {what}"
    group = stream.groups[rest[0]]
    readers = list(group.pending.values())
    return [["name", one, "pending", readers.count(one)] for one in group.consumers]


def _xpending(space: Keyspace, name: str, group: str) -> dict[str, Any]:
    stream = space.stream(name)
    if stream is None or group not in stream.groups:
        raise ResponseError(f"NOGROUP No such key '{name}' or consumer group '{group}'")
    pending = stream.groups[group].pending
    readers = sorted(set(pending.values()))
    return {
        "pending": len(pending),
        "min": id_text(min(pending)) if pending else None,
        "max": id_text(max(pending)) if pending else None,
        "consumers": [
            {"name": one, "pending": list(pending.values()).count(one)} for one in readers
        ],
    }


COMMANDS: Mapping[str, Command] = MappingProxyType(
    {
        "PING": lambda _: True,
        "TIME": _time,
        "KEYS": _keys,
        "DBSIZE": lambda space: len(list(space.names())),
        "TYPE": _type,
        "EXISTS": lambda space, *names: sum(space.get(one) is not None for one in names),
        "DEL": lambda space, *names: sum(space.delete(one) for one in names),
        "PTTL": _pttl,
        "FLUSHALL": _flushall,
        "GET": lambda space, name: space.text(name),
        "SET": _set,
        "HGET": lambda space, name, field: space.hash(name).get(field),
        "HGETALL": lambda space, name: dict(space.hash(name)),
        "HMGET": _hmget,
        "HVALS": lambda space, name: list(space.hash(name).values()),
        "HLEN": lambda space, name: len(space.hash(name)),
        "HSET": _hset,
        "HSETNX": lambda space, name, field, value: (
            0 if field in space.hash(name) else _hset(space, name, field, value)
        ),
        "HDEL": _hdel,
        "SCARD": lambda space, name: len(space.members(name)),
        "SMEMBERS": lambda space, name: set(space.members(name)),
        "SADD": lambda space, name, *more: space.members(name).update(dict.fromkeys(more)),
        "LLEN": lambda space, name: len(space.line(name)),
        "LPUSH": _lpush,
        "RPUSH": _rpush,
        "LRANGE": lambda space, name, low, high: list(space.line(name))[_slice(low, high)],
        "LPOS": _lpos,
        "LREM": _lrem,
        "ZADD": _zadd,
        "ZCARD": lambda space, name: len(space.zset(name)),
        "ZSCORE": lambda space, name, member: space.zset(name).score(member),
        "ZREM": lambda space, name, *more: sum(space.zset(name).remove(one) for one in more),
        "ZRANGE": _zrange,
        "XADD": _xadd,
        "XLEN": _xlen,
        "XDEL": _xdel,
        "XACK": _xack,
        "XRANGE": xrange,
        "XREVRANGE": xrevrange,
        "XGROUP": _xgroup,
        "XINFO": _xinfo,
        "XPENDING": _xpending,
    }
)

REFUSED_WHEN_FULL = frozenset(("SET", "HSET", "HSETNX", "SADD", "LPUSH", "RPUSH", "ZADD", "XADD"))
"""Commands that a server without memory refuses."""
