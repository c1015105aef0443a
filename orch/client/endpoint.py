"""Where the gateway is: a given URL, ORCH_URL, or the endpoint.json that `orch up` wrote into the home."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from contracts.errors import ErrorCode, Refused, Unavailable
from contracts.ids import is_shard
from orch.core.tracing import context_of

ENDPOINT_FILE: Final = "endpoint.json"
START_HINT: Final = "Start a local stack with `orch up`, or set --url or ORCH_URL."


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address without a trailing slash, and the bearer token to present there."""

    url: str
    token: str | None = field(default=None, repr=False)
    cert: str | None = None
    """The gateway's own certificate (PEM file), where a home told it: then no other is trusted."""
    traceparent: str | None = None
    """The span that calls, as W3C writes it: what is submitted belongs to its trace."""
    shard: str | None = None
    """The shard that is meant, where a gateway answers for several and the token does not lead to one."""

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine: then no proxy of the environment may come between."""
        host = urlsplit(self.url).hostname or ""
        if host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False


def find_endpoint(
    url: str | None, home: Path, environ: Mapping[str, str], *, shard: str | None = None
) -> Endpoint:
    """The gateway to call, with ORCH_TOKEN, ORCH_SHARD and TRACEPARENT; what is given comes first.

    Raises:
        Refused: INVALID_REQUEST when a given address is no http(s) URL, the token no header value, or the
            shard no number of one.
        Unavailable: nobody said where it is and no stack runs in this home.
    """
    token = environ.get("ORCH_TOKEN") or None
    if token is not None and not (token.isascii() and token.isprintable()):
        raise Refused(
            ErrorCode.INVALID_REQUEST, "ORCH_TOKEN holds characters that no header may have"
        )
    shard = shard or environ.get("ORCH_SHARD") or None
    if shard is not None and not is_shard(shard):
        raise Refused(ErrorCode.INVALID_REQUEST, f"not the number of a shard: {shard[:20]!r}")
    context = context_of(environ.get("TRACEPARENT"))
    traceparent = None if context is None else context.traceparent
    given = url or environ.get("ORCH_URL")
    if given:
        return Endpoint(_checked(given), token, traceparent=traceparent, shard=shard)
    document = read_endpoint_file(home)
    if document is None or not isinstance(document.get("url"), str):
        raise Unavailable(
            ErrorCode.UNAVAILABLE,
            f"no Orch runs in {home} (it has no {ENDPOINT_FILE})",
            hint=START_HINT,
        )
    return Endpoint(_checked(document["url"]), token, cert_in(document), traceparent, shard)


def cert_in(document: Mapping[str, Any]) -> str | None:
    """The gateway's certificate, as endpoint.json names it."""
    cert = document.get("tls_cert")
    return cert if isinstance(cert, str) else None


def read_endpoint_file(home: Path) -> dict[str, Any] | None:
    """What `<home>/endpoint.json` says: {url, pid, redis_url, metrics, started_at_ms, tls_cert}, or None."""
    try:
        document = json.loads((home / ENDPOINT_FILE).read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or not url.isprintable() or " " in url:
        raise Refused(
            ErrorCode.INVALID_REQUEST,
            f"not an address of a gateway: {url[:200]!r}",
            hint="Give it as http://127.0.0.1:8080.",
        )
    return url.rstrip("/")
