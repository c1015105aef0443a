"""Where may a gateway listen, with what it is set to? Pure: words in, the wrong setting out."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Protocol

LOCALHOST = "localhost"


def is_address(word: str) -> bool:
    """Whether it is an IP address, or the one name that every machine has."""
    if word == LOCALHOST:
        return True
    try:
        ip_address(word)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether a gateway on this address is reached from its own machine only."""
    return host == LOCALHOST or (is_address(host) and ip_address(host).is_loopback)


class Listening(Protocol):
    """The settings that are asked about."""

    @property
    def auth(self) -> str:
        """Whether tokens are asked for."""
        ...

    @property
    def tls_cert(self) -> str | None:
        """The certificate."""
        ...

    @property
    def tls_key(self) -> str | None:
        """Its key."""
        ...

    @property
    def plaintext(self) -> bool:
        """Whether it may do without."""
        ...


def listening_fault(host: str, s: Listening) -> tuple[str, str] | None:
    """The setting that is wrong and what it must be; None when all is well.

    Who may reach the gateway from outside must show a token, over TLS unless somebody said otherwise.
    """
    if (s.tls_cert is None) != (s.tls_key is None):
        lone, other = ("tls_cert", "tls_key") if s.tls_key is None else ("tls_key", "tls_cert")
        return lone, f"set together with {other}"
    if is_loopback(host):
        return None
    if s.auth == "none":
        return "host", "a loopback address while auth = none: set auth = tokens first"
    if s.tls_cert is None and not s.plaintext:
        return "host", "a loopback address without TLS: set tls_cert and tls_key, or plaintext"
    return None
