"""May a webhook be sent there? Which URLs are taken, and which addresses may be connected to (SSRF guard).

By default only https to a public address. What an operator allows by name or network is opened, for plain
http too. A name is judged by the addresses it resolves to, and the checked address is the one connected to.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<path>/[A-Za-z0-9._~!$&'()*+,;=:@/%-]*)?"
    r"(?P<query>\?[A-Za-z0-9._~!$&'()*+,;=:@/?%-]*)?\Z"
)
"""Narrow on purpose: what two readers could read in two ways (user info, backslashes, fragments, other
alphabets) is no URL here."""
_NAME: Final = re.compile(
    r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.?\Z"
)
_NUMERIC: Final = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)\Z")
"""A last label of this form makes the whole host an IPv4 address to some resolvers (octal, hex …)."""
_INNER_NAMES: Final = (
    "localhost",
    "local",
    "internal",
    "intranet",
    "lan",
    "home",
    "corp",
    "private",
    "home.arpa",
    "localdomain",
    "onion",
)
"""Ends of names that are never public: RFC 6761, 6762, 8375, 7686 and what networks use inside."""
_CLOSED: Final[tuple[Network, ...]] = tuple(
    ipaddress.ip_network(text)
    for text in (
        # What is_global of Python 3.11 calls global, or calls so in some versions only.
        "0.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "192.88.99.0/24",
        "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4", "::/128", "::1/128", "64:ff9b:1::/48", "100::/64",
        "2001::/23", "2001:db8::/32",
        "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    )
)  # fmt: skip
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")
_PORT_LOWEST: Final = 1_024
"""Below it only 443: the services of a host that speak something else."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads."""

    scheme: str
    host: str
    port: int
    address: Address | None
    """The host itself, when it is an address."""


def target_of(url: str) -> Target | str:
    """The URL, read; or why it is none that we send to."""
    found = _URL.match(url)
    if found is None:
        return "must be https://host[:port]/path without user info or fragment"
    port = int(found["port"] or {"https": 443, "http": 80}[found["scheme"]])
    if not 1 <= port <= 65_535:
        return "has no port from 1 to 65535"
    host = found["host"].lower()
    if host.startswith("["):
        try:
            return Target(found["scheme"], host[1:-1], port, ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            return "has no IPv6 address between its brackets"
    if _NUMERIC.match(host.rstrip(".").rpartition(".")[2]):
        try:
            return Target(found["scheme"], host, port, ipaddress.IPv4Address(host))
        except ValueError:
            return "has a host that is neither a name nor a plain IPv4 address"
    if not _NAME.match(host):
        return "has no host name"
    return Target(found["scheme"], host, port, None)


def refusal(target: Target, allowed: Sequence[str]) -> str | None:
    """Why nothing is sent there whatever it resolves to; None when its addresses decide."""
    if _is_named(target.host, allowed):
        return None
    if target.address is not None:
        if _is_in(target.address, allowed):
            return None
        if not is_public(target.address):
            return f"{target.host} is no public address (webhook_hosts_allowed opens private ones)"
    elif _has_networks(allowed):
        return None  # it may resolve into one of them
    return _unfit(target)


def may_connect(target: Target, address: Address, allowed: Sequence[str]) -> bool:
    """Whether this address, one that the target resolved to, may be connected to."""
    if _is_named(target.host, allowed) or _is_in(address, allowed):
        return True
    return _unfit(target) is None and is_public(address)


def _unfit(target: Target) -> str | None:
    """Why a target is not for the public internet."""
    if target.scheme != "https":
        return "plain http is for hosts in webhook_hosts_allowed only"
    if target.address is None and _is_inner(target.host):
        return f"{target.host} is a name of inner networks (webhook_hosts_allowed opens them)"
    if target.port != 443 and target.port < _PORT_LOWEST:
        return f"port {target.port} is for hosts in webhook_hosts_allowed only"
    return None


def is_public(address: Address) -> bool:
    """Whether it is an address of the public internet, however it is wrapped."""
    inside = _inside(address)
    if inside is not None:
        return is_public(inside)
    if any(address in network for network in _CLOSED if network.version == address.version):
        return False
    return address.is_global and not address.is_multicast


def is_rule(text: str) -> bool:
    """Whether an entry of webhook_hosts_allowed can be read: a name, `*.name`, an address or a network."""
    return _network(text) is not None or bool(_NAME.match(text.removeprefix("*.").lower()))


def _inside(address: Address) -> Address | None:
    """The IPv4 address that an IPv6 address carries: v4-mapped, v4-compatible, 6to4, NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64 or address in _COMPATIBLE:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _is_inner(host: str) -> bool:
    name = host.rstrip(".")
    return "." not in name or any(name == end or name.endswith("." + end) for end in _INNER_NAMES)


def _is_named(host: str, allowed: Sequence[str]) -> bool:
    name = host.rstrip(".")
    for rule in (rule.lower().rstrip(".") for rule in allowed):
        if rule.startswith("*.") and name.endswith(rule[1:]):
            return True
        if _network(rule) is None and name == rule:
            return True
    return False


def _is_in(address: Address, allowed: Sequence[str]) -> bool:
    networks = [network for network in map(_network, allowed) if network is not None]
    inside = _inside(address)
    return any(address in one or (inside is not None and inside in one) for one in networks)


def _has_networks(allowed: Sequence[str]) -> bool:
    return any(_network(rule) is not None for rule in allowed)


@cache
def _network(rule: str) -> Network | None:
    try:
        return ipaddress.ip_network(rule.strip("[]"))
    except ValueError:
        return None
