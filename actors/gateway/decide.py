"""May this request come in at all? Judged from its head alone, before anything is read or stored.

A loopback server that runs commands is a target of any web page: a page can aim a name of its own at
127.0.0.1 (so Host must be a loopback name with our port), can post a form (so Origin must be ours and
a body must be JSON, which a form cannot send without asking first).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from contracts import limits
from contracts.errors import ErrorCode, Refused

BATCH_PATH: Final = "/v1/jobs:batch"
HEADERS_MAX: Final = 100
HEADER_BYTES_MAX: Final = 16 * limits.KIB
_HOST: Final = re.compile(
    r"\A(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9.-]+))(?::(?P<port>[0-9]{1,5}))?\Z"
)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Head:
    """The part of a request that comes before its body. Header names and `host` are lower case."""

    method: str
    path: str
    scheme: str
    headers: Mapping[str, str]
    port: int | None
    """The port of the socket it came in by."""
    header_count: int
    header_bytes: int
    """Names and values together."""


@lru_cache(maxsize=256)
def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _forbidden(message: str) -> Refused:
    return Refused(ErrorCode.FORBIDDEN, message)


def _host_refusal(head: Head, hosts: frozenset[str]) -> Refused | None:
    match = _HOST.match(head.headers.get("host", "").lower())
    if match is None:
        return _forbidden("the Host header is missing or malformed")
    name = match["v6"] or match["name"]
    if not (_is_loopback(name) or name in hosts):
        return _forbidden("the Host header names another host")
    port = int(match["port"]) if match["port"] else _DEFAULT_PORTS.get(head.scheme)
    if port != head.port:
        return _forbidden("the Host header names another port")
    return None


def _origin_refusal(head: Head) -> Refused | None:
    origin = head.headers.get("origin")
    if origin is None or origin.lower() == f"{head.scheme}://{head.headers['host'].lower()}":
        return None
    return _forbidden("the Origin header names another site")


def body_bytes_max(path: str) -> int:
    """How large a body may be at this path."""
    return limits.BATCH_BODY_BYTES_MAX if path == BATCH_PATH else limits.BODY_BYTES_MAX


def too_large(path: str) -> Refused:
    """The refusal of a body above the bound of its path."""
    bound = body_bytes_max(path)
    return Refused(
        ErrorCode.PAYLOAD_TOO_LARGE,
        f"the body is larger than {bound} bytes",
        details={"bytes_max": bound},
    )


def _is_json(content_type: str) -> bool:
    kind, _, parameters = content_type.partition(";")
    if kind.strip().lower() != "application/json":
        return False
    name, _, value = parameters.strip().partition("=")
    return not name or (name.lower(), value.strip('"').lower()) == ("charset", "utf-8")


def _media_refusal(head: Head) -> Refused | None:
    if head.method not in {"POST", "PUT"}:
        return None
    declared = head.headers.get("content-type")
    has_body = "transfer-encoding" in head.headers or head.headers.get("content-length", "0") != "0"
    if declared is None and not has_body:
        return None
    if declared is not None and _is_json(declared):
        return None
    return Refused(ErrorCode.UNSUPPORTED_MEDIA_TYPE, "a body is application/json in UTF-8")


def _header_refusal(head: Head) -> Refused | None:
    if head.header_count <= HEADERS_MAX and head.header_bytes <= HEADER_BYTES_MAX:
        return None
    return Refused(
        ErrorCode.INVALID_REQUEST,
        "too many headers, or too large ones",
        details={"headers_max": HEADERS_MAX, "bytes_max": HEADER_BYTES_MAX},
    )


def _size_refusal(head: Head) -> Refused | None:
    declared = head.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > body_bytes_max(head.path):
        return too_large(head.path)
    return None


def refusal(head: Head, *, hosts: frozenset[str]) -> Refused | None:
    """Why this request may not come in, or None. The first reason counts: who, then what."""
    return (
        _header_refusal(head)
        or _host_refusal(head, hosts)
        or _origin_refusal(head)
        or _media_refusal(head)
        or _size_refusal(head)
    )
