"""Is this server one for production? `fitness.judge`, and what else an operator ought to have decided.

Pure: what the server said comes in (`examination.Examined`), findings go out. What a server does not tell
is a warning that says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from contracts import limits
from orch.addresses import address_of
from orch.core.findings import Finding, failing, warning, well
from orch.core.listening import is_loopback
from orch.store.examination import OWN_USERS, Examined
from orch.store.fitness import judge

_NOT_TOLD: Final = "unknown: this user may not ask"
_ASK_AGAIN: Final = "Run `orch doctor` once with an administrator's URL in ORCH_REDIS_URL."


def judge_server(said: Examined, url: str) -> Iterator[Finding]:
    """All there is to say of it. In production nothing is ephemeral."""
    yield from judge(said.info, said.config)
    yield _role(said)
    yield _memory(said)
    yield _listpack(said)
    yield _clock(said)
    yield _library(said)
    yield _transport(url)
    yield _user(said, url)


def _role(said: Examined) -> Finding:
    role, replicas = said.info.get("role"), int(said.info.get("connected_slaves", 0))
    if role not in {None, "master"}:
        fix = "Let redis_url name the primary, or those who know it (docs/redis-servers.md)."
        return failing("replicas", f"it is a {role} itself", fix)
    if replicas:
        return well("replicas", f"{replicas} attached")
    fix = (
        "Attach a replica and let Sentinels or a Cluster watch it; or know that your provider keeps one,"
        " and back up the data."
    )
    return warning("replicas", "none is attached", fix)


def _memory(said: Examined) -> Finding:
    bound, used = int(said.info.get("maxmemory", 0)), int(said.info.get("used_memory", 0))
    if not bound:
        fix = "Set maxmemory to about two thirds of the machine's: then submissions are refused in time."
        return warning("memory", "maxmemory is not set: the system ends the server instead", fix)
    percent = 100 * used // bound
    found = f"{percent} % of maxmemory ({_mib(bound)}) are used"
    if percent > limits.MEMORY_USED_PERCENT_MAX:
        return warning("memory", found, "Give it more memory, or lower retention_ms.")
    return well("memory", found)


def _mib(count: int) -> str:
    return f"{count // limits.MIB:,} MiB"


def _listpack(said: Examined) -> Finding:
    least = limits.LISTPACK_VALUE_BYTES_MIN
    fix = f"Set hash-max-listpack-value {least}: jobs take about half the memory."
    value = (said.config or {}).get("hash-max-listpack-value")
    if value is None:
        return warning("listpack", _NOT_TOLD, f"{fix} {_ASK_AGAIN}")
    found = f"hash-max-listpack-value {value}"
    return well("listpack", found) if int(value) >= least else warning("listpack", found, fix)


def _clock(said: Examined) -> Finding:
    # Only what is certain counts: a slow answer proves less.
    certain_ms = max(0, abs(said.skew_ms) - said.doubt_ms // 2)
    way = "ahead of" if said.skew_ms > 0 else "behind"
    found = f"the server's is {abs(said.skew_ms)} ms {way} ours"
    if certain_ms > limits.CLOCK_SKEW_MS_MAX:
        return failing("clock", found, "Let both machines keep their time by NTP (chrony).")
    return well("clock", found)


def _library(said: Examined) -> Finding:
    if said.libraries is None:
        return warning("functions", _NOT_TOLD, _ASK_AGAIN)
    ours, others = said.wanted_library, [n for n in said.libraries if n != said.wanted_library]
    if ours not in said.libraries:
        found = f"{ours} is not loaded" + (f", but {', '.join(others)}" if others else " yet")
        return warning("functions", found, "The first process of this version loads it: start one.")
    if not others:
        return well("functions", ours)
    found = f"{ours} and {', '.join(others)}"
    drop = "; ".join(f"FUNCTION DELETE {name}" for name in others)
    if len(others) == 1:
        found += ": a rollout, or what is left of one"
    return warning("functions", found, f"When no process of another version runs any more: {drop}")


def _parts(url: str) -> tuple[list[str], bool, bool, str]:
    """Hosts, whether TLS is spoken, whether there is a password, and the user."""
    address = address_of(url)
    parts = urlsplit(address.url if address else url)
    hosts = [one.host for one in address.seeds] if address else [parts.hostname or "localhost"]
    return hosts, parts.scheme == "rediss", parts.password is not None, parts.username or ""


def _is_near(url: str) -> bool:
    """Whether nobody else's machine lies between us and the server."""
    return url.startswith("unix:") or all(is_loopback(host) for host in _parts(url)[0])


def _transport(url: str) -> Finding:
    if _is_near(url):
        return well("transport", "on this machine")
    if _parts(url)[1]:
        return well("transport", "TLS")
    fix = "Let redis_url begin with rediss, or be sure that the network encrypts (docs/redis-servers.md)."
    return warning("transport", "plain: passwords and jobs cross the network as they are", fix)


def _user(said: Examined, url: str) -> Finding:
    _, _, has_password, _ = _parts(url)
    name = said.user or _parts(url)[3] or "default"
    fix = "Load ops/redis/users.acl into the server, and name one of its users in redis_url."
    if name.startswith(OWN_USERS):
        return well("user", name)
    if not has_password and not _is_near(url):
        return failing("user", f"{name}, without a password: who writes here runs commands", fix)
    if name == "default" and url.startswith("unix:"):
        return well("user", "default, on a socket of this machine")
    if name == "default":
        return warning("user", "default: it may do everything", fix)
    return warning("user", f"{name}, which Orch does not know", f"Compare its rights. {fix}")
