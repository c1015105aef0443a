"""A blocking client of the server that a URL names or leads to, for threads that have no loop."""

from __future__ import annotations

from typing import Any

import redis
from redis.connection import parse_url

from orch.addresses import address_of
from orch.store.whereabouts import Whereabouts


class _Led:
    """A connection whose server has to be found first."""

    def __init__(self, *, whereabouts: Whereabouts, **options: Any) -> None:
        super().__init__(**options)
        self._whereabouts = whereabouts

    def _connect(self) -> Any:
        found = self._whereabouts.find_blocking()
        vars(self).update(host=found.host, port=found.port)
        try:
            return super()._connect()  # type: ignore[misc]  # redis-py's, beside this class
        except (OSError, redis.RedisError):
            self._whereabouts.doubt()
            raise


class _Tcp(_Led, redis.Connection): ...


class _Tls(_Led, redis.SSLConnection): ...


def client_to(url: str, prefix: str, **options: Any) -> redis.Redis:
    """The client; `prefix` is that of the keys it will be asked about."""
    options = {"driver_info": None, **options}  # as in `connection.py`
    address = address_of(url)
    if address is None:
        return redis.Redis.from_url(url, **options)
    plain = parse_url(address.url)
    kind = _Tls if "connection_class" in plain else _Tcp
    pool = redis.ConnectionPool(
        **{
            **plain,
            **options,
            "connection_class": kind,
            "whereabouts": Whereabouts(address, prefix),
        }
    )
    return redis.Redis.from_pool(pool)
