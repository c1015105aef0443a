"""Can this server keep what Orch promises? Judged by what it says of itself; nothing is asked here.

Every server tells INFO. CONFIG is forbidden or renamed on many that others run: `config` is None then, and
what only CONFIG knows is unknown, which is said and is no reason to refuse. Start-up refuses a server by what
fails here (`refuse_unfit`), `orch doctor` shows it all; `orch.store.examination` does the asking.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from contracts.errors import ErrorCode, Refused
from orch.core.findings import Finding, failing, warning, well
from orch.store.engine import FLOORS, is_new_enough

Info = Mapping[str, Any]
Config = Mapping[str, str] | None
"""None where nobody may ask."""

_HOW: Final = "(CONFIG SET and CONFIG REWRITE, or the provider's parameters)"
_LOSSES: Final = {
    "everysec": "the last second or two of acknowledged writes may be lost",
    "no": "acknowledged writes of half a minute or more may be lost",
}
"""What a crash may cost, by appendfsync."""
_UNASKED: Final = "unknown: only CONFIG tells it, and this user may not ask"


def judge(info: Info, config: Config, *, ephemeral: bool = False) -> tuple[Finding, ...]:
    """What start-up asks for: version, eviction, persistence, fsync. With `ephemeral` it may keep nothing."""
    kept = _keeps(info, config)
    findings = [_server(info), _eviction(info, config), _persistence(kept, ephemeral)]
    return tuple(findings if kept is False else [*findings, _fsync(config)])


def refuse_unfit(findings: Iterable[Finding]) -> None:
    """Returns when nothing fails.

    Raises:
        Refused: DEPENDENCY_MISSING, with what to set in its one line.
    """
    faults = [one for one in findings if not one.ok]
    if not faults:
        return
    told = "; ".join(f"{one.name} is {one.found}, fix: {one.fix}" for one in faults)
    raise Refused(
        ErrorCode.DEPENDENCY_MISSING,
        f"this server cannot keep what Orch promises: {told}",
        hint="`orch doctor` looks again; docs/redis-servers.md says why.",
        details={"checks": [one.name for one in faults]},
    )


def engine_of(info: Info) -> tuple[str, str]:
    """Which server it is, and its version: a Valkey says first which Redis it can stand for."""
    if version := info.get("valkey_version"):
        return "valkey", str(version)
    return "redis", str(info.get("redis_version", ""))


def _server(info: Info) -> Finding:
    name, version = engine_of(info)
    floors = " or ".join(f"{kind} {low}.{high}" for kind, (low, high) in FLOORS.items())
    if not version:
        return warning("server", "unknown: it tells no version", f"Use {floors}, or newer.")
    if not is_new_enough(name, version):
        return failing("server", f"{name} {version}", f"Use {floors}, or newer.")
    return well("server", f"{name} {version}")


def _eviction(info: Info, config: Config) -> Finding:
    policy = info.get("maxmemory_policy") or (config or {}).get("maxmemory-policy")
    fix = f"Set maxmemory-policy noeviction {_HOW}: a server that evicts keys loses jobs."
    if policy is None:
        return warning("eviction", "unknown: neither INFO nor CONFIG tells it", fix)
    return well("eviction", policy) if policy == "noeviction" else failing("eviction", policy, fix)


def _keeps(info: Info, config: Config) -> bool | None:
    """Whether it writes an append-only file; None when nobody says."""
    if (enabled := info.get("aof_enabled")) is not None:
        return int(enabled) == 1
    said = (config or {}).get("appendonly")
    return None if said is None else said == "yes"


def _persistence(kept: bool | None, ephemeral: bool) -> Finding:
    fix = (
        f"Set appendonly yes {_HOW}; or, where jobs may be lost, ephemeral = true (ORCH_EPHEMERAL)."
    )
    if kept is None:
        return warning("persistence", "unknown: neither INFO nor CONFIG tells it", fix)
    if kept:
        return well("persistence", "appendonly yes")
    if ephemeral:
        return warning(
            "persistence", "appendonly no, as ephemeral allows: all jobs end with the server", fix
        )
    return failing("persistence", "appendonly no", fix)


def _fsync(config: Config) -> Finding:
    fix = f"Set appendfsync always {_HOW}."
    said = (config or {}).get("appendfsync")
    if said is None:
        return warning("fsync", _UNASKED, f"Ask whoever runs the server. {fix}")
    if said == "always":
        return well("fsync", "appendfsync always")
    loss = _LOSSES.get(said, "acknowledged writes may be lost")
    return warning("fsync", f"appendfsync {said}: {loss} when it crashes", fix)
