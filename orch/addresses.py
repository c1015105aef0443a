"""What a Redis URL says when it names those who know where the server is, instead of naming it.

`redis+sentinel://[user:password@]host:port,…/service` and `redis+cluster://[user:password@]host:port,…`,
with `rediss+…` over TLS. Who is asked, and how, is `orch.store.whereabouts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

_PORTS: Final = {"sentinel": 26379, "cluster": 6379}


@dataclass(frozen=True, slots=True)
class Seed:
    """One who may know where our server is."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Address:
    """What a URL with `+sentinel` or `+cluster` says."""

    kind: str
    seeds: tuple[Seed, ...]
    url: str
    """A plain URL of the first seed, with user, password, TLS and options; host and port are found later."""
    service: str = ""
    login: Mapping[str, str] = field(default_factory=dict)
    """Of those who are asked: a Sentinel has a password of its own (`?sentinel_password=`)."""


def split_url(url: str) -> SplitResult:
    """As urlsplit, for a URL that may name several hosts: newer Pythons want brackets at both ends of a host.

    Raises:
        ValueError: it is no URL.
    """
    scheme, colon, rest = url.partition("://")
    if not colon:
        return urlsplit(url)
    end = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    hosts = rest[:end]
    if hosts.count("[") != hosts.count("]"):
        raise ValueError("a bracket of an IPv6 address is missing")
    return urlsplit(f"{scheme}://host{rest[end:]}")._replace(netloc=hosts)


def address_of(url: str) -> Address | None:
    """The address, or None for a URL that names its server.

    Raises:
        ValueError: a Sentinel's URL without a service, or a port that is none.
    """
    parts = split_url(url)
    scheme, _, kind = parts.scheme.partition("+")
    if not kind:
        return None
    if kind not in _PORTS or scheme not in {"redis", "rediss"}:
        raise ValueError(f"no such kind of address: {scheme}+{kind}")
    login, _, hosts = parts.netloc.rpartition("@")
    seeds = tuple(_seed(word, _PORTS[kind]) for word in hosts.split(","))
    service = parts.path.strip("/")
    if kind == "sentinel" and not service:
        raise ValueError("a Sentinel's URL ends with the name of the service")
    options = dict(parse_qsl(parts.query))
    own = {key: options.pop(f"sentinel_{key}", "") for key in ("username", "password")}
    query = urlencode(options)
    first = f"{seeds[0].host}:{seeds[0].port}" if ":" not in seeds[0].host else "localhost"
    plain = f"{scheme}://{login}{'@' if login else ''}{first}" + (f"?{query}" if query else "")
    if kind == "cluster":
        user, _, password = login.partition(":")
        own = {"username": unquote(user), "password": unquote(password)}
    return Address(kind, seeds, plain, service, {key: word for key, word in own.items() if word})


def _seed(word: str, port: int) -> Seed:
    host, colon, digits = word.rpartition(":")
    if not colon or word.endswith("]"):
        host, digits = word, str(port)
    if not host or not digits.isdecimal() or not 0 < int(digits) < 2**16:
        raise ValueError(f"{word!r} is not host:port")
    return Seed(host.strip("[]"), int(digits))
