"""How both clients connect: headers, deadlines, TLS."""

from __future__ import annotations

import ssl
from typing import Final

import httpx2

from contracts import limits
from contracts.errors import ErrorCode, Unavailable
from orch import __version__
from orch.client.endpoint import Endpoint

CONNECT_S: Final = 5.0
REPLY_S: Final = limits.REPLY_DEADLINE_MS / 1_000 + CONNECT_S
"""The server gives up first, so that its error arrives instead of our timeout."""


def headers_of(endpoint: Endpoint) -> dict[str, str]:
    """What every request carries."""
    headers = {
        "Accept": "application/json",
        "Content-Type": "application/json",
        "User-Agent": f"orch/{__version__}",
    }
    if endpoint.token is not None:
        headers["Authorization"] = f"Bearer {endpoint.token}"
    if endpoint.traceparent is not None:
        headers["traceparent"] = endpoint.traceparent
    if endpoint.shard is not None:
        headers["Orch-Shard"] = endpoint.shard
    return headers


def timeout_of(read_s: float = REPLY_S) -> httpx2.Timeout:
    """Seconds for each phase of a request."""
    return httpx2.Timeout(read_s, connect=CONNECT_S, pool=CONNECT_S, write=REPLY_S)


def tls_of(endpoint: Endpoint) -> ssl.SSLContext | bool:
    """Whom to trust. Plain http has no certificates, no redirect is followed, loading them takes 35 ms.

    A gateway of this machine is known by its certificate itself, whatever name stands in it.

    Raises:
        Unavailable: the certificate that the home names cannot be read.
    """
    if not endpoint.url.startswith("https://"):
        return False
    if endpoint.cert is None:
        return True
    try:
        context = ssl.create_default_context(cafile=endpoint.cert)
    except OSError as error:  # ssl.SSLError is one
        raise Unavailable(
            ErrorCode.UNAVAILABLE, f"cannot read the gateway's certificate {endpoint.cert}"
        ) from error
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context
