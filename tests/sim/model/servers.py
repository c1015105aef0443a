"""The servers that a story is told to, each behind the same three questions: do, look, begin anew.

The real servers run the product's library with one line changed: its clock reads a key, so that all of them
live at the same moment, which the story chooses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import orjson
import redis
from redis.exceptions import RedisError

from orch.store.library import library
from tests.sim.model.call import Call
from tests.sim.model.keyspace import is_there
from tests.sim.model.server import VERBS, ModelServer
from tests.sim.model.telling import EPOCH_MS, PREFIX, REASSIGNED, Entry, Step, entry_id
from tests.sim.model.values import HIGHEST, Members, Stream, Value, ZSet, id_text

_CLOCK = f"{PREFIX}clock"
_REAL_CLOCK = re.compile(r"local function now_ms\(\)\n.*?\nend\n", re.DOTALL)
_STORY_CLOCK = f"local function now_ms()\n  return tonumber(redis.call('GET', '{_CLOCK}'))\nend\n"
_STREAM_ID = re.compile(r"\d+-\d+")


def story_library() -> tuple[str, str]:
    """The library on a story's clock under names of its own, and the end of its functions' names."""
    real = library()
    code, changed = _REAL_CLOCK.subn(_STORY_CLOCK, real.code)
    assert changed == 1, "shared.lua has one clock"
    mark = f"story{real.digest}"
    return code.replace(real.digest, mark), mark


class Told(Protocol):
    """A server that a story can be told to."""

    def begin(self) -> None:
        """Forgets everything."""
        ...

    def do(self, step: Step) -> Any:
        """Carries it out; the reply, without what must differ."""
        ...

    def look(self) -> dict[str, Any]:
        """All data, without what must differ."""
        ...


class ToldModel:
    """The model."""

    def __init__(self, call: type[Call] = Call) -> None:
        self._now = EPOCH_MS
        self._call = call
        self.begin()

    def begin(self) -> None:
        """See Told."""
        self.server = ModelServer(lambda: self._now, "r" * 40, call=self._call)
        self.server.has_functions = True

    def do(self, step: Step) -> Any:
        """See Told."""
        self._now = step.at_ms
        words = [entry_id(self.server, w) if isinstance(w, Entry) else w for w in step.words]
        return said(step, lambda: self.server.execute(*_command(step, words, library().digest)))

    def look(self) -> dict[str, Any]:
        """See Told."""
        values = self.server.space.values
        found = {
            name.removeprefix(PREFIX): _plain(value)
            for name, value in values.items()
            if is_there(value)
        }
        return _comparable(found)


def _plain(value: Value) -> Any:
    if isinstance(value, Stream):
        entries = [
            (id_text(one), dict(value.get(one) or {})) for one in value.between((0, 0), HIGHEST)
        ]
        groups = {
            name: (
                id_text(group.last),
                [(id_text(one), group.pending[one]) for one in sorted(group.pending)],
            )
            for name, group in value.groups.items()
        }
        return Entries(entries, groups)
    if isinstance(value, ZSet):
        return [(member, float(score)) for score, member in value]
    if isinstance(value, Members):
        return sorted(value)
    return value if isinstance(value, str | dict) else list(value)


class ToldRedis:
    """Anything that redis-py can talk to."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._code, self._mark = story_library()
        self._now = 0

    def begin(self) -> None:
        """See Told."""
        self._client.flushall()
        self._client.execute_command("FUNCTION", "LOAD", "REPLACE", self._code)
        self._now = 0

    def do(self, step: Step) -> Any:
        """See Told."""
        if step.at_ms != self._now:
            self._client.execute_command("SET", _CLOCK, step.at_ms)
            self._now = step.at_ms
        words = [self._id(word) if isinstance(word, Entry) else word for word in step.words]
        command = _command(step, words, self._mark)
        return said(step, lambda: self._client.execute_command(*command))

    def _id(self, entry: Entry) -> str:
        found: Any = self._client.xrange(PREFIX + entry.stream)
        return str(found[entry.n][0])

    def look(self) -> dict[str, Any]:
        """See Told."""
        names: list[str] = sorted(self._client.execute_command("KEYS", "*"))
        pipe = self._client.pipeline(transaction=False)
        for name in names:
            pipe.type(name)
        kinds = pipe.execute()
        read: dict[str, Any] = {
            "string": pipe.get,
            "hash": pipe.hgetall,
            "list": lambda name: pipe.lrange(name, 0, -1),
            "set": pipe.smembers,
            "zset": lambda name: pipe.zrange(name, 0, -1, withscores=True),
            "stream": pipe.xrange,
        }
        for name, kind in zip(names, kinds, strict=True):
            read[kind](name)
        found = dict(zip(names, zip(kinds, pipe.execute(), strict=True), strict=True))
        data = {name.removeprefix(PREFIX): self._value(name, *one) for name, one in found.items()}
        data.pop("clock", None)
        return _comparable(data)

    def _value(self, name: str, kind: str, value: Any) -> Any:
        if kind == "stream":
            return Entries([(one, dict(fields)) for one, fields in value], self._groups(name))
        if kind == "zset":
            return [(member, float(score)) for member, score in value]
        return sorted(value) if kind == "set" else value

    def _groups(self, name: str) -> dict[str, Any]:
        groups: Any = self._client.xinfo_groups(name)
        return {one["name"]: self._group(name, one) for one in groups}

    def _group(self, name: str, group: Mapping[str, Any]) -> Any:
        pending: Any = []
        if group["pending"]:
            pending = self._client.xpending_range(name, group["name"], "-", "+", 10_000)
        return (
            group["last-delivered-id"],
            [(one["message_id"], one["consumer"]) for one in pending],
        )


class Entries:
    """A stream with its own ids. Readers without pending entries are left out: Redis 7.0 knows only those
    that were given something, later servers all that asked."""

    def __init__(self, entries: Sequence[tuple[str, Any]], groups: Mapping[str, Any]) -> None:
        self._entries = entries
        self._groups = groups

    def comparable(self, *, with_ids: bool) -> Any:
        """Fields in order; ids as places, where the server chose them."""
        ids = [_numbers(one) for one, _ in self._entries]
        groups = {
            name: (
                sum(one <= _numbers(last) for one in ids),
                [
                    (ids.index(_numbers(one)) if _numbers(one) in ids else -1, who)
                    for one, who in rest
                ],
            )
            for name, (last, rest) in self._groups.items()
        }
        return (self._entries if with_ids else [fields for _, fields in self._entries], groups)


def _numbers(entry: str) -> tuple[int, int]:
    ms, _, n = entry.partition("-")
    return int(ms), int(n)


def _command(step: Step, words: Sequence[Any], mark: str) -> list[Any]:
    if step.name in VERBS:
        return ["FCALL", f"{step.name}_{mark}", 1, PREFIX, *words]
    return [step.name, *words]


def said(step: Step, do: Any) -> Any:
    """The reply of a step, or the first word of its refusal."""
    try:
        reply = do()
    except RedisError as error:
        # fakeredis says of a group that is not there: "The XGROUP subcommand requires the key to exist …".
        word = str(error).split(" ", 1)[0]
        return "error", "NOGROUP" if word == "The" and step.name == "XREADGROUP" else word
    if step.name == "XADD":
        return "added"
    if step.name == "XREADGROUP":
        return [fields or {} for _, entries in reply or () for _, fields in entries]
    if step.name == "hello" and reply[0] == "ok":
        return [*reply[:3], reply[4]]
    if step.name == "apply" and reply[0] == "behind":
        return ["behind"]
    if step.name == "fire" and reply[0] == "refused":
        return _answer(reply)
    if step.name in {"admit", "replay"}:
        return [*reply[:3], [_answer(one) for one in reply[3]], *reply[4:]]
    return _parsed(reply) if step.name == "GET" and reply else reply


def _parsed(text: str) -> Any:
    """JSON whose members may stand in any order; an id of a stream may stand in a message."""
    return orjson.loads(_STREAM_ID.sub("ID", text))


def _answer(answer: list[Any]) -> list[Any]:
    if answer[0] != "refused":
        return answer
    return [*answer[:2], _STREAM_ID.sub("ID", answer[2]), _parsed(answer[3]), *answer[4:]]


def _comparable(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        _command_name(name): _comparable_value(name.partition(":")[0], value)
        for name, value in data.items()
        # Answers live by the server's own clock; a story looks at each when it is given.
        if not name.startswith(("answer:", "rate:"))
        and (name != "counters" or any(map(int, value.values())))
    }


def _command_name(name: str) -> str:
    """A command that was refused as a repeat is named by its entry, whose id is the server's own."""
    return _STREAM_ID.sub("ID", name) if name.startswith("command:") else name


def _commanded(value: Any) -> Any:
    """Records and lists of commands: JSON whose members may stand in any order, ids of entries apart."""
    if isinstance(value, list):
        return sorted((_STREAM_ID.sub("ID", member), score) for member, score in value)
    return value | ({"error": _parsed(value["error"])} if "error" in value else {})


def _run(name: str, text: str) -> Any:
    """Servers have run ids of their own."""
    if name.partition(":")[0] not in {"run_id", "run"}:
        return text
    return text == REASSIGNED or "its own"


def _clock(text: str) -> float | str:
    return text if text.isalpha() else float(text)


def _comparable_value(family: str, value: Any) -> Any:
    if family == "meta":
        return {name: _run(name, text) for name, text in value.items()}
    if family in {"command", "commands"}:
        return _commanded(value)
    if family == "lastcall":
        return {name: _STREAM_ID.sub("ID", text) for name, text in value.items()}
    if family == "acks":
        entries, groups = value.comparable(with_ids=False)
        return [{k: _STREAM_ID.sub("ID", v) for k, v in one.items()} for one in entries], groups
    if family == "counters":
        return {name: count for name, count in value.items() if int(count)}
    if family == "fair":
        return {name: _clock(text) for name, text in value.items()}
    return value.comparable(with_ids=family == "out") if isinstance(value, Entries) else value
