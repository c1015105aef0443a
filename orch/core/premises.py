"""Is the place where Orch runs one for production: its gateway's door, its files, its bounds?

Pure: settings and what a shell saw of the machine come in, findings go out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from contracts import limits
from orch.core.findings import Finding, failing, warning, well
from orch.core.listening import Listening, is_loopback

_OTHERS = 0o027
"""What a file with secrets must not give: writing to the group, anything to the rest."""


class Door(Listening, Protocol):
    """The settings that are asked about."""

    @property
    def host(self) -> str:
        """Where the gateway listens."""
        ...

    @property
    def metrics_host(self) -> str:
        """Where every process serves its figures."""
        ...

    @property
    def connections_max(self) -> int:
        """Open connections of a gateway."""
        ...

    @property
    def retention_ms(self) -> int:
        """How long a finished job is kept."""
        ...


@dataclass(frozen=True, slots=True)
class Seen:
    """What a shell saw."""

    home: str
    home_mode: int | None
    """Permission bits; None when it is not there."""
    secret_modes: Mapping[str, int]
    """Permission bits of the files that hold a secret, by path."""
    free_bytes: int
    disk_bytes: int
    files_max: int
    """Open files that a process may have at most."""
    files_wanted: int
    """What a gateway needs besides its connections."""
    retention_origin: str
    has_own_server: bool
    """Whether a server was named; else `orch up` starts a private one."""


def judge_premises(s: Door, seen: Seen) -> Iterator[Finding]:
    """All there is to say of it."""
    yield _server(seen)
    yield _callers(s)
    yield _door(s)
    yield _figures(s)
    yield _home(seen)
    yield _secrets(seen)
    yield _retention(s, seen)
    yield _disk(seen)
    yield _files(s, seen)


def _server(seen: Seen) -> Finding:
    if seen.has_own_server:
        return well("server choice", "redis_url names one")
    fix = "Set redis_url to a server that is watched and backed up (docs/redis-servers.md)."
    return warning("server choice", "a private Valkey in the home, on this one machine", fix)


def _callers(s: Door) -> Finding:
    if s.auth == "tokens":
        return well("callers", "each needs a token")
    fix = "Set auth = tokens, and make one with `orch token create`."
    return failing("callers", "whoever reaches the gateway may do everything", fix)


def _door(s: Door) -> Finding:
    if is_loopback(s.host):
        return well("listener", f"{s.host}: this machine only")
    if s.tls_cert is not None:
        return well("listener", f"{s.host}, TLS")
    fix = "Set tls_cert and tls_key, unless something in front of it encrypts."
    return warning("listener", f"{s.host}, plain: tokens cross the network as they are", fix)


def _figures(s: Door) -> Finding:
    if is_loopback(s.metrics_host):
        return well("metrics", f"{s.metrics_host}: this machine only")
    fix = "Let the network admit only whoever collects metrics (the chart has a NetworkPolicy)."
    return warning("metrics", f"{s.metrics_host}: whoever reaches it may read", fix)


def _home(seen: Seen) -> Finding:
    if seen.home_mode is None:
        return well("home rights", f"{seen.home} is not there yet")
    found = f"{seen.home} has mode {seen.home_mode:04o}"
    if seen.home_mode & 0o077:
        return failing("home rights", found, f"chmod 700 {seen.home}")
    return well("home rights", found)


def _secrets(seen: Seen) -> Finding:
    open_ones = sorted(path for path, mode in seen.secret_modes.items() if mode & _OTHERS)
    if open_ones:
        found = ", ".join(f"{path} has mode {seen.secret_modes[path]:04o}" for path in open_ones)
        return failing("secret files", found, f"chmod 600 {' '.join(open_ones)}")
    return well("secret files", f"{len(seen.secret_modes)} looked at, none is open to others")


def _retention(s: Door, seen: Seen) -> Finding:
    found = f"finished jobs are kept for {s.retention_ms / limits.HOUR_MS:g} hours"
    if seen.retention_origin == "default":
        fix = "Set retention_ms to what you have decided, be it the default."
        return warning("retention", f"{found}, by default", fix)
    return well("retention", f"{found} ({seen.retention_origin})")


def _disk(seen: Seen) -> Finding:
    percent = 100 * seen.free_bytes // max(1, seen.disk_bytes)
    found = f"{seen.free_bytes // limits.MIB:,} MiB free at {seen.home} ({percent} %)"
    fix = "Make room: blobs and output are kept there, and are not removed yet."
    if seen.free_bytes < limits.DISK_FREE_BYTES_MIN:
        return failing("disk", found, fix)
    if percent < limits.DISK_FREE_PERCENT_MIN:
        return warning("disk", found, fix)
    return well("disk", found)


def _files(s: Door, seen: Seen) -> Finding:
    wanted = s.connections_max + seen.files_wanted
    found = f"a process may have {seen.files_max:,} open files"
    if seen.files_max < wanted:
        fix = f"ulimit -n {wanted} (LimitNOFILE of the service), or a lower connections_max."
        return warning("files", f"{found}, a gateway wants {wanted:,}", fix)
    return well("files", found)
