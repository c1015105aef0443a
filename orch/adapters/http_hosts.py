"""Whom may an http job call? Names are judged before they are resolved, addresses before they are called.

So a name that is allowed cannot lead to an address that is not, whatever its owner makes it resolve to: the
connection goes to the very address that was judged.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from fnmatch import translate
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

import anyio
import httpcore2
from httpcore2 import AnyIOBackend, AsyncNetworkBackend, AsyncNetworkStream
from typing_extensions import override

from contracts.outcomes import Outcome, ReasonCode
from orch.adapters.http_outcomes import AnswerFault
from orch.core.targets import Address, is_public

_ANY: Final = "*"


class Hosts:
    """The setting `http_hosts_allowed`, read once."""

    def __init__(self, words: Iterable[str]) -> None:
        self.any = False
        self._networks: list[IPv4Network | IPv6Network] = []
        self._names: list[re.Pattern[str]] = []
        for word in words:
            if word == _ANY:
                self.any = True
            elif (network := _network(word)) is not None:
                self._networks.append(network)
            else:
                self._names.append(re.compile(translate(word.lower().rstrip("."))))

    def permits(self, host: str) -> bool:
        """Whether this host, a name or an address, may be looked up."""
        if self.any:
            return True
        address = _address(host)
        if address is not None:
            return self._lists(address)
        return any(name.match(host.lower().rstrip(".")) for name in self._names)

    def permits_address(self, address: Address) -> bool:
        """Whether a name that is allowed may lead there: into the public net, or a listed network."""
        return self.any or self._lists(address) or is_public(address)

    def _lists(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


class GuardedBackend(AsyncNetworkBackend):
    """Opens connections to allowed hosts only."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._backend = AnyIOBackend()

    @override
    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """As the library's own, once name and address are judged.

        Raises:
            AnswerFault: neither the name nor any address of it may be called.
        """
        if not self._hosts.permits(host):
            raise denied(host)
        if self._hosts.any:
            return await self._backend.connect_tcp(host, port, timeout)
        addresses = await _addresses(host, port, timeout)
        allowed = [one for one in addresses if self._hosts.permits_address(one)]
        if not allowed:
            raise denied(f"{host}, which leads to {', '.join(map(str, addresses[:4]))}")
        return await self._first(allowed, port, timeout)

    async def _first(
        self, addresses: list[Address], port: int, wait_s: float | None
    ) -> AsyncNetworkStream:
        for address in addresses[:-1]:
            try:
                return await self._backend.connect_tcp(str(address), port, wait_s)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return await self._backend.connect_tcp(str(addresses[-1]), port, wait_s)


def denied(whom: str) -> AnswerFault:
    """The end of an attempt that wants to call a host it may not."""
    message = f"http_hosts_allowed does not allow {whom}"
    return AnswerFault(Outcome.ENVIRONMENT, ReasonCode.HOST_DENIED, message)


async def _addresses(host: str, port: int, wait_s: float | None) -> list[Address]:
    try:
        with anyio.fail_after(wait_s):
            found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError as error:
        raise httpcore2.ConnectTimeout(f"{host} was not looked up in time") from error
    except OSError as error:
        raise httpcore2.ConnectError(str(error)) from error
    addresses = [_address(str(sockaddr[0])) for *_, sockaddr in found]
    return [one for one in addresses if one is not None]


def _address(text: str) -> Address | None:
    try:
        address = ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _network(word: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(word, strict=False)
    except ValueError:
        return None
