"""Tier LUA: the real function library on fakeredis, called without sockets, on the simulation's clock."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from fakeredis import FakeServer, _helpers
from fakeredis._commands import command
from fakeredis._socket import _base as socket_module
from fakeredis._socket._fakesocket import FakeSocket
from fakeredis.commands_mixins import server_mixin
from fakeredis.model import _stream as stream_module
from redis.exceptions import ResponseError

from orch.store.keys import Keys

_PREFIX = Keys(0).prefix
_READ: dict[str, tuple[str, tuple[str, ...]]] = {
    "string": ("GET", ()),
    "hash": ("HGETALL", ()),
    "list": ("LRANGE", ("0", "-1")),
    "set": ("SMEMBERS", ()),
    "zset": ("ZRANGE", ("0", "-1", "WITHSCORES")),
    "stream": ("XRANGE", ("-", "+")),
}
_MODULES: tuple[Any, ...] = (socket_module, server_mixin, stream_module, _helpers)


class _Time:
    """Stands for the module `time` inside fakeredis."""

    def __init__(self, wall_ms: Callable[[], int]) -> None:
        self._wall_ms = wall_ms
        self.monotonic = time.monotonic

    def time(self) -> float:
        """Seconds; the half keeps the millisecond when they are multiplied again."""
        return (self._wall_ms() + 0.5) / 1000


@contextmanager
def _time_of(clock: _Time) -> Iterator[None]:
    before = [module.time for module in _MODULES]
    for module in _MODULES:
        module.time = clock
    try:
        yield
    finally:
        for module, old in zip(_MODULES, before, strict=True):
            module.time = old


class _Server(FakeServer):
    """A server with a run id."""

    run_id = ""


class _Socket(FakeSocket):
    """A socket that hands its answer back at once."""

    answer: Any = None

    def put_response(self, msg: Any) -> None:
        self.answer = msg

    @command(name="info", fixed=(), repeat=(bytes,))
    def info(self, *_sections: bytes) -> bytes:
        """What `hello` reads of INFO server."""
        return f"# Server\r\nrun_id:{self._server.run_id}\r\n".encode()  # type: ignore[attr-defined]  # a _Server


class LuaBackend:
    """A FakeServer behind `tests.sim.backend.Backend`."""

    parsed = False

    def __init__(
        self, wall_ms: Callable[[], int], rewrite: Callable[[str], str] = lambda code: code
    ) -> None:
        """`rewrite` is what becomes of a library while it is loaded: a mutant's harness breaks it here."""
        self._rewrite = rewrite
        self._time = _Time(wall_ms)
        self._grown = 0
        self._server = _Server(version=(7,))
        self._socket = _Socket(self._server, 0, client_class=redis.Redis)

    @property
    def run_id(self) -> str:
        """See Backend."""
        return self._server.run_id

    @run_id.setter
    def run_id(self, value: str) -> None:
        self._server.run_id = value

    def execute(self, command: Sequence[str | int | float]) -> Any:
        """See Backend."""
        if command[0] == "FUNCTION" and command[1] == "LOAD":
            command = [*command[:-1], self._rewrite(str(command[-1]))]
        fields = [
            part.encode("utf-8", "surrogateescape") if isinstance(part, str) else b"%a" % part
            for part in command
        ]
        with _time_of(self._time):
            self._socket._process_command(fields)
        answer = self._socket.answer
        if isinstance(answer, ResponseError):
            if command[0] == "XREADGROUP" and "requires the key to exist" in str(answer):
                # fakeredis says here what Redis says of XGROUP.
                raise ResponseError("NOGROUP No such key in XREADGROUP with GROUP option")
            raise answer
        return _text(answer)

    def contents(self) -> dict[str, Any]:
        """See Backend."""
        found = {}
        for name in sorted(self.execute(["KEYS", "*"])):
            kind = self.execute(["TYPE", name])
            before, after = _READ[kind]
            value = self.execute([before, name, *after])
            if kind == "hash":
                value = _pairs(value)
            elif kind == "zset":
                value = list(zip(value[::2], value[1::2], strict=True))
            elif kind == "stream":
                value = [(entry_id, _pairs(fields)) for entry_id, fields in value]
            found[name.removeprefix(_PREFIX)] = value
        return found

    def mark(self, stream: str) -> object:
        """See Backend."""
        item = self._server.dbs[0]._dict.get(stream.encode())
        return None if item is None else item.value.last_id

    def watch(self, streams: Sequence[str]) -> None:
        """See Backend."""

    @property
    def grown(self) -> int:
        """See Backend: nobody counts it here."""
        self._grown += 1
        return self._grown

    def snapshot(self) -> object:
        """See Backend."""
        return copy.deepcopy(self._server.dbs[0]._dict)

    def restore(self, snapshot: Any) -> None:
        """See Backend."""
        database = self._server.dbs[0]
        database._dict = copy.deepcopy(snapshot)
        for key, item in database._dict.items():
            database.schedule_expiry(key, item.expireat)

    def forget_functions(self) -> None:
        """See Backend."""
        self.execute(["FUNCTION", "FLUSH"])


def _pairs(flat: list[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _text(answer: Any) -> Any:
    if isinstance(answer, bytes):
        return answer.decode("utf-8", "surrogateescape")
    if isinstance(answer, list):
        return [_text(item) for item in answer]
    return answer
