"""Which server is ours just now, when the URL names those who know it instead of naming it?

Sentinels are asked for the primary of a service, nodes of a Cluster for the one that serves our slot. All
keys of a shard share a slot, so a shard lives on one server: once it is found, a Cluster is spoken to like
any other. Each new socket asks again; nothing is remembered that could be stale. And as who is asked may be
cut off from the others and know no better, who named a server that does not serve us is asked last.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.utils import str_if_bytes

from orch.addresses import Address, Seed

ASK_TIMEOUT_MS: Final = 1_000
"""How long one of several is asked before the next one is."""


def server_in(address: Address, reply: Any, asked: Seed, prefix: str) -> Seed | None:
    """The server that the reply of one who was asked names; None when it does not know."""
    if address.kind == "sentinel":
        return Seed(_text(reply[0]), int(reply[1])) if reply else None
    slot = key_slot(prefix.encode())
    for first, last, primary, *_replicas in reply or ():
        if int(first) <= slot <= int(last):
            # An empty name stands for the node that was asked.
            return Seed(_text(primary[0]) or asked.host, int(primary[1]))
    return None


def _text(value: Any) -> str:
    return str_if_bytes(value) if value else ""


def doubt_place(options: Mapping[str, Any]) -> None:
    """Of sockets made with these options: the server that they were led to is not ours any more."""
    whereabouts = options.get("whereabouts")
    if isinstance(whereabouts, Whereabouts):
        whereabouts.doubt()


class Whereabouts:
    """Finds the server of one shard, anew for every socket."""

    def __init__(self, address: Address, prefix: str) -> None:
        self._address = address
        self._prefix = prefix
        self._seeds = list(address.seeds)
        self._is_named = False
        """Whether the first of them has named a server, which nobody has doubted since."""
        plain = parse_url(address.url)
        self._is_tls = "connection_class" in plain
        # Those who are asked speak TLS as the server does; the rest of the URL is about the server.
        self._options = {key: value for key, value in plain.items() if key.startswith("ssl_")}

    async def find(self) -> Seed:
        """The server, asked for with an asynchronous socket.

        Raises:
            RedisConnectionError: nobody answered, or nobody knows.
        """
        kind = redis.asyncio.SSLConnection if self._is_tls else redis.asyncio.Connection
        failures: list[str] = []
        for seed in tuple(self._seeds):
            socket = kind(**self._keys(seed, AsyncRetry))
            try:
                await socket.connect()
                await socket.send_command(*self._question())
                found = self._heard(await socket.read_response(), seed, failures)
            except (RedisError, OSError) as error:
                failures.append(f"{seed.host}:{seed.port}: {error}")
            else:
                if found is not None:
                    return found
            finally:
                await socket.disconnect(nowait=True)
        raise self._lost(failures)

    def find_blocking(self) -> Seed:
        """The same, from a thread of its own.

        Raises:
            RedisConnectionError: nobody answered, or nobody knows.
        """
        kind = redis.SSLConnection if self._is_tls else redis.Connection
        failures: list[str] = []
        for seed in tuple(self._seeds):
            socket = kind(**self._keys(seed, Retry))
            try:
                socket.connect()
                socket.send_command(*self._question())
                found = self._heard(socket.read_response(), seed, failures)
            except (RedisError, OSError) as error:
                failures.append(f"{seed.host}:{seed.port}: {error}")
            else:
                if found is not None:
                    return found
            finally:
                socket.disconnect()
        raise self._lost(failures)

    def _question(self) -> tuple[str, ...]:
        if self._address.kind == "sentinel":
            return ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._address.service)
        return ("CLUSTER", "SLOTS")

    def _keys(self, seed: Seed, retry: type[Any]) -> dict[str, Any]:
        timeout_s = ASK_TIMEOUT_MS / 1000
        return {
            **self._options,
            **self._address.login,
            "host": seed.host,
            "port": seed.port,
            "protocol": 2,
            "driver_info": None,  # as in `connection.py`
            "retry": retry(NoBackoff(), 0),
            "socket_timeout": timeout_s,
            "socket_connect_timeout": timeout_s,
        }

    def _heard(self, reply: Any, seed: Seed, failures: list[str]) -> Seed | None:
        found = server_in(self._address, reply, seed, self._prefix)
        if found is None:
            failures.append(f"{seed.host}:{seed.port} does not know it")
            return None
        # Who knew it is asked first the next time.
        self._seeds.remove(seed)
        self._seeds.insert(0, seed)
        self._is_named = True
        return found

    def doubt(self) -> None:
        """The server that was named last cannot be reached, or says that it is another one."""
        if self._is_named:
            self._is_named = False
            self._seeds.append(self._seeds.pop(0))

    def _lost(self, failures: list[str]) -> RedisConnectionError:
        what = self._address.service or "the shard's slot"
        return RedisConnectionError(f"nobody knows where {what} is served: " + "; ".join(failures))
