"""How Orch speaks to one Redis or Valkey: calls, retries, incarnations.

redis-py's own retries are off: it would send a command again after a lost reply without telling anybody.
Every verb of ours answers a repeated call alike, so this module repeats calls itself, knowingly, within
a deadline. Each new socket is greeted by `hello` before anything else is sent on it; that is how a
restart, a failover or a restored backup is noticed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from contracts.errors import OrchError, Unavailable
from orch.ports import Clock
from orch.store.failures import NEWER_SCHEMA, has_moved, is_missing_function, translate
from orch.store.keys import Keys
from orch.store.library import SCHEMA, library
from orch.store.sockets import Client, Sockets
from orch.store.whereabouts import doubt_place

PAUSE_MS_FIRST = 20
PAUSE_MS_MAX = 1_000
CALL_DEADLINE_MS = 5_000
SOCKET_TIMEOUT_MS = 5_000
CONNECT_TIMEOUT_MS = 2_000
SOCKETS_MAX = 64
"""Sockets of one process for calls."""
GREETINGS_MAX = 8
"""Of one new socket, while others are greeted by ever newer incarnations."""
LOADS_MAX = 3
"""How often one call loads the library: a server may lose it again between the load and the call."""


@dataclass(slots=True)
class Watermark:
    """What this process has seen acknowledged: the proof that writes were lost, if they were."""

    incarnation: int = 0
    seq: int = 0
    lost_writes: int = 0
    restarts: int = 0
    met: dict[int, str] = field(default_factory=dict)
    """Run id of the server by incarnation: a number may be given twice when data went back."""

    @property
    def known(self) -> str:
        """As `hello` wants it, newest first."""
        return " ".join(f"{n}:{run_id}" for n, run_id in sorted(self.met.items(), reverse=True))

    def greeted(self, incarnation: int, seq: int, next_began: int, way: str) -> None:
        """Compares with what the server says on a fresh socket (DESIGN, The lease, `hello`)."""
        if self.incarnation and incarnation != self.incarnation:
            self.restarts += 1
            # next_began is the seq at which the incarnation after ours began. Had everything that was
            # acknowledged to us survived, it could not lie below our highest seq.
            if 0 <= next_began < self.seq:
                self.lost_writes += self.seq - next_began
            self.seq = seq
        self.incarnation = incarnation
        self.met = {int(n): run_id for n, _, run_id in (one.partition(":") for one in way.split())}

    def acknowledged(self, incarnation: int, seq: int) -> None:
        """A reply carried this head."""
        if incarnation > self.incarnation:
            # Another client, which had seen more, made this very server begin anew under our open sockets.
            self.met[incarnation] = self.met.get(self.incarnation, "")
            self.incarnation = incarnation
        if incarnation == self.incarnation:
            self.seq = max(self.seq, seq)


@dataclass(slots=True)
class Traffic:
    """What this process asked of the server, for its metrics."""

    round_trips: int = 0
    """Commands sent, repeats and blocking reads too."""
    retries: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    """Calls given up, by kind: unavailable, refused, corrupt, misuse."""
    now: Callable[[], float] = anyio.current_time
    """Seconds."""
    took: Callable[[str, float], None] = lambda _verb, _seconds: None
    """Hears of each call: the verb, or `command`; and how long it took, repeats included."""


class Connection:
    """A pool of greeted sockets to one server, for one shard."""

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        shard: int = 0,
        client: Callable[..., Redis] | None = None,
        deadline_ms: int = CALL_DEADLINE_MS,
        greets: bool = True,
    ) -> None:
        """Without `greets` nothing of ours is loaded or written: for looking at a server that may not do."""
        self._greeting = self._greet if greets else None
        self.url = url
        self.keys = Keys(shard)
        self.clock = clock
        self.watermark = Watermark()
        self.traffic = Traffic()
        self.deadline_ms = deadline_ms
        self._make = client or self._client
        self._is_led = "+" in url.partition(":")[0]
        """Whether the address leads to the server, which may be another one tomorrow."""
        # Half the deadline at most: a reply lost in silence must leave room to ask once more.
        self._commands = self._make(min(SOCKET_TIMEOUT_MS, deadline_ms // 2))
        self._blocking: list[Redis] = []
        self.ended: Callable[[Sequence[str]], None] = lambda _job_ids: None
        """Hears of jobs that a call of this process ended: canceled, displaced, expired."""

    def _client(self, socket_timeout_ms: int) -> Redis:
        sockets = Sockets.to(
            self.url,
            self.keys.prefix,
            max_connections=SOCKETS_MAX,
            timeout=socket_timeout_ms / 1000,
            decode_responses=True,
            # A raw producer may send any bytes; what is no UTF-8 must reach the one who refuses it.
            encoding_errors="surrogateescape",
            protocol=2,
            socket_timeout=socket_timeout_ms / 1000,
            socket_connect_timeout=min(CONNECT_TIMEOUT_MS, socket_timeout_ms) / 1000,
            retry=Retry(NoBackoff(), 0),
            retry_on_error=[],
            redis_connect_func=self._greeting,
            driver_info=None,  # CLIENT SETINFO: Redis 7.0 has no such command, so no ACL could allow it
        )
        return Client(sockets)

    async def _greet(self, socket: Any) -> None:
        """Runs on every new socket, before any command of ours."""
        await socket.on_connect()
        for _ in range(GREETINGS_MAX):
            told = self.watermark.known
            reply = await self._hello(socket)
            # Where another socket was greeted meanwhile, the answer is about what we no longer go by.
            if self.watermark.known == told:
                self.greeted(reply)
                return
        raise RedisConnectionError("the server begins anew faster than it can be greeted")

    async def _hello(self, socket: Any) -> list[Any]:
        hello = (
            "FCALL",
            library().function("hello"),
            1,
            self.keys.prefix,
            self.watermark.incarnation,
            self.watermark.known,
            SCHEMA,
        )
        await socket.send_command(*hello)
        try:
            return list(await socket.read_response())
        except ResponseError as error:
            if not is_missing_function(error):
                raise
        await socket.send_command("FUNCTION", "LOAD", "REPLACE", library().code)
        await socket.read_response()
        await socket.send_command(*hello)
        return list(await socket.read_response())

    def greeted(self, reply: list[Any]) -> None:
        """Takes in the reply of `hello`."""
        if reply[0] == "newer_schema":
            raise RedisError(f"{NEWER_SCHEMA} {reply[1]}")
        self.watermark.greeted(int(reply[1]), int(reply[2]), int(reply[4]), str(reply[5]))

    async def call(self, verb: str, *args: str | int | float) -> list[Any]:
        """One function call, repeated within the deadline while the server cannot be reached.

        Returns the reply without the watermark that stands in it when the call was carried out.

        Safe because every verb answers a repeated call alike. Not a cancel point while it waits for an
        answer; between two tries it is one, and whether it was carried out is unknown then.

        Raises:
            Unavailable: not reached within the deadline; whether it was carried out is unknown.
            Corrupt: the server refused in a way that points at broken data or a wrong setting.
        """
        function = library().function(verb)
        reply = await self._timed(verb, "FCALL", function, 1, self.keys.prefix, *args)
        # Only where the header says so: other verbs have other numbers in these places.
        if reply[0] == "ok" and verb in library().headed:
            self.watermark.acknowledged(int(reply[1]), int(reply[2]))
            return ["ok", *reply[3:]]
        return list(reply)

    async def execute(self, *command: str | int | float) -> Any:
        """One command that may be repeated; see `call`."""
        return await self._timed("command", *command)

    async def _timed(self, verb: str, *command: str | int | float) -> Any:
        began = self.traffic.now()
        try:
            return await self._repeated(*command)
        except OrchError as error:
            self.traffic.failures[type(error).__name__.lower()] += 1
            raise
        finally:
            self.traffic.took(verb, self.traffic.now() - began)

    async def _repeated(self, *command: str | int | float) -> Any:
        give_up_at = self.clock.monotonic_ms() + self.deadline_ms
        pause_ms = PAUSE_MS_FIRST
        while True:
            try:
                with anyio.CancelScope(shield=True):
                    return await self._carried_out(*command)
            except RedisError as error:
                failure = translate(error, is_led=self._is_led)
                if (
                    not isinstance(failure, Unavailable)
                    or self.clock.monotonic_ms() + pause_ms > give_up_at
                ):
                    raise failure from error
                await _leave_old_place(self._commands, error)
            self.traffic.retries += 1
            await self.clock.sleep_ms(pause_ms)
            pause_ms = min(pause_ms * 2, PAUSE_MS_MAX)

    async def _carried_out(self, *command: str | int | float) -> Any:
        # A function that is still missing after that is one that our library does not have.
        for _ in range(LOADS_MAX):
            try:
                return await self._said(*command)
            except ResponseError as error:
                if not is_missing_function(error):
                    raise
            await self._said("FUNCTION", "LOAD", "REPLACE", library().code)
        return await self._said(*command)

    async def _said(self, *command: str | int | float) -> Any:
        self.traffic.round_trips += 1
        return await _said(self._commands, *command)

    async def once(self, *command: str | int | float) -> Any:
        """One command, not repeated; for callers that come again by themselves.

        Raises:
            OrchError: what the server said instead; redis-py's error is the cause.
        """
        try:
            return await self._said(*command)
        except RedisError as error:
            await _leave_old_place(self._commands, error)
            raise translate(error, is_led=self._is_led) from error

    async def load(self) -> None:
        """Loads the function library; loading the same text again changes nothing."""
        await self.once("FUNCTION", "LOAD", "REPLACE", library().code)

    async def ping(self) -> None:
        """One round trip, not repeated.

        Raises:
            Unavailable: the server did not answer.
        """
        await self.once("PING")

    def reader(self, block_ms_max: int) -> BlockingReader:
        """A socket of its own for blocking reads; its timeout lies above the longest block."""
        client = self._make(block_ms_max + SOCKET_TIMEOUT_MS)
        self._blocking.append(client)
        return BlockingReader(client, self.traffic, is_led=self._is_led)

    async def aclose(self) -> None:
        """Closes every socket."""
        for client in (self._commands, *self._blocking):
            # The pool is ours, not the client's: without the flag its sockets would stay open.
            await client.aclose(close_connection_pool=True)


class BlockingReader:
    """Blocking stream reads on a dedicated socket; cancelable, because reads with NOACK and plain XREAD
    change nothing that a later read would miss, and group readers read their own pending entries first."""

    def __init__(self, client: Redis, traffic: Traffic, *, is_led: bool) -> None:
        self._client = client
        self._traffic = traffic
        self._is_led = is_led

    async def read(self, *command: str | int) -> dict[str, list[tuple[str, dict[str, str]]]]:
        """XREAD or XREADGROUP; stream -> entries, empty when the block ran out.

        Raises:
            Unavailable: the server cannot be reached now.
        """
        self._traffic.round_trips += 1
        try:
            reply = await _said(self._client, *command)
        except RedisError as error:
            await _leave_old_place(self._client, error)
            raise translate(error, is_led=self._is_led) from error
        return _streams_of(reply)


async def _said(client: Redis, *command: str | int | float) -> Any:
    """One command, once."""
    try:
        return await client.execute_command(*command)
    except RuntimeError as error:
        # uvloop's word for a transport that was reset while nobody looked; nothing was sent.
        if "handler is closed" not in str(error):
            raise
        raise RedisConnectionError(str(error)) from error


async def _leave_old_place(client: Redis, error: RedisError) -> None:
    """After a failover the address leads to another server, but sockets that stand do not."""
    if has_moved(error) and client.connection_pool is not None:
        doubt_place(client.connection_pool.connection_kwargs)
        await client.connection_pool.disconnect(inuse_connections=False)


def _streams_of(reply: Any) -> dict[str, list[tuple[str, dict[str, str]]]]:
    if not reply:
        return {}
    pairs = reply.items() if isinstance(reply, dict) else reply
    return {
        name: [(entry_id, _fields_of(fields)) for entry_id, fields in entries]
        for name, entries in pairs
    }


def _fields_of(fields: Any) -> dict[str, str]:
    if isinstance(fields, dict):
        return fields
    return dict(zip(fields[::2], fields[1::2], strict=True)) if fields else {}
