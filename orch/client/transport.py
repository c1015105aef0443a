"""How both clients connect: headers, deadlines, TLS."""

from __future__ import annotations

from typing import Final

import httpx2

from contracts import limits
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
    return headers


def timeout_of(read_s: float = REPLY_S) -> httpx2.Timeout:
    """Seconds for each phase of a request."""
    return httpx2.Timeout(read_s, connect=CONNECT_S, pool=CONNECT_S, write=REPLY_S)


def tls_of(endpoint: Endpoint) -> bool:
    """Whether to load certificates: plain http has none, no redirect is followed, loading takes 35 ms."""
    return endpoint.url.startswith("https://")
