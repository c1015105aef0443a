"""`python -m actors doctor`: what only the actors can see: the engine, the server's settings."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import anyio

from actors.body import make_store
from contracts.errors import ExitCode, OrchError
from orch.settings import Settings
from orch.store.engine import find_engine

Check = dict[str, Any]


def _check(name: str, found: str, fix: str = "") -> Check:
    return {"name": name, "ok": not fix, "found": found, "fix": fix}


def _engine() -> Check:
    try:
        engine = find_engine()
    except OrchError as error:
        return _check("engine", error.message, error.hint)
    return _check("engine", f"{engine.name} {engine.version}")


async def _server(settings: Settings) -> list[Check]:
    store = make_store(settings, actor="doctor")
    try:
        await store.connection.ping()
        config = await store.connection.execute("CONFIG", "GET", "*")
    except OrchError as error:
        return [_check("redis", error.message, error.hint)]
    finally:
        await store.connection.aclose()
    found = (
        dict(config)
        if isinstance(config, dict)
        else dict(zip(config[::2], config[1::2], strict=True))
    )
    return [_check("redis", "reachable"), *_persistence(found)]


def _persistence(config: dict[str, str]) -> list[Check]:
    fsync, aof = config.get("appendfsync", "?"), config.get("appendonly", "?")
    eviction = config.get("maxmemory-policy", "?")
    return [
        _check(
            "persistence",
            f"appendonly {aof}, appendfsync {fsync}",
            ""
            if (aof, fsync) == ("yes", "always")
            else "CONFIG SET appendonly yes; CONFIG SET appendfsync always",
        ),
        _check(
            "eviction",
            eviction,
            "" if eviction == "noeviction" else "CONFIG SET maxmemory-policy noeviction",
        ),
    ]


def report(settings: Settings, home: Path, *, as_json: bool) -> int:
    """Prints the checks; 7 when one fails."""
    checks = [_engine(), _check("home", str(home))]
    if settings.redis_url is not None:
        checks += anyio.run(_server, settings)
    is_well = all(check["ok"] for check in checks)
    if as_json:
        sys.stdout.write(json.dumps({"ok": is_well, "checks": checks}) + "\n")
    else:
        for check in checks:
            verdict = "ok  " if check["ok"] else "FAIL"
            sys.stdout.write(f"{verdict} {check['name']}: {check['found']} {check['fix']}\n")
    return ExitCode.OK if is_well else ExitCode.DEPENDENCY_MISSING
