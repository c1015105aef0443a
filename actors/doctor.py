"""`python -m actors doctor`: what only the actors can see: the engine, the server, the files of the home.

It asks, and leaves the verdicts to `orch.store.fitness`, `orch.store.readiness` and `orch.core.premises`.
Where a stack runs in the home it is looked at as it was started, flags included.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import anyio

from contracts.errors import ExitCode, OrchError, Refused
from orch.core.findings import Finding, failing, report, well
from orch.core.premises import Seen, judge_premises
from orch.settings import Settings, settings_of
from orch.store.engine import find_engine
from orch.store.examination import examine, meet, ungreeted
from orch.store.fitness import judge
from orch.store.home import socket_path
from orch.store.readiness import judge_server
from orch.system import SystemClock

_MARKS: Final = {"ok": "ok  ", "warn": "WARN", "fail": "FAIL"}
_UNLIMITED: Final = 1 << 30
_PATIENCE_MS: Final = 1_500
"""With a server: somebody waits for the report."""


def tell(settings: Settings, home: Path, *, as_json: bool, for_production: bool) -> int:
    """Prints the findings; 7 when one fails."""
    document = report(findings(settings, home, for_production=for_production))
    if as_json:
        sys.stdout.write(json.dumps(document) + "\n")
    else:
        for row in document["checks"]:
            sys.stdout.write(
                f"{_MARKS[row['severity']]} {row['name']}: {row['found']} {row['fix']}\n"
            )
    return ExitCode.OK if document["ok"] else ExitCode.DEPENDENCY_MISSING


def findings(settings: Settings, home: Path, *, for_production: bool) -> Iterator[Finding]:
    """What there is to say; the server is asked in a loop of its own."""
    house = _house(settings, home)
    if house.is_private:
        yield _engine()
    yield well("home", str(home))
    if for_production:
        yield from judge_premises(house.settings, _seen(house, home))
    if house.url is not None:
        yield from anyio.run(_server, house, house.url, for_production)


def _engine() -> Finding:
    try:
        engine = find_engine()
    except OrchError as error:
        return failing("engine", error.message, error.hint)
    return well("engine", engine.label)


@dataclass(frozen=True, slots=True)
class _House:
    """What is looked at."""

    settings: Settings
    """In force: those of the stack that runs in the home, whose flags nobody else knows; else our own."""
    url: str | None
    """Of the server: the one that our own settings name comes first, it may be an administrator's."""
    is_private: bool
    """Whether the server is the home's own, or would be."""
    retention_origin: str


def _house(settings: Settings, home: Path) -> _House:
    running = _running(home)
    in_force = settings if running is None else running
    url = settings.redis_url or in_force.redis_url
    origin = settings.origin("retention_ms")
    if in_force.retention_ms != settings.retention_ms:
        origin = "as the stack was told"
    return _House(in_force, url, url is None or _is_private(url, home), origin)


def _is_private(url: str, home: Path) -> bool:
    if not url.startswith("unix:"):
        return False
    try:
        return url == f"unix://{quote(str(socket_path(home)))}"
    except Refused:
        return False  # there is no place for a socket, so there is no server of ours


def _running(home: Path) -> Settings | None:
    """The settings of the stack that runs in the home, if one does."""
    with suppress(OSError, ValueError, KeyError, TypeError, Refused):
        document = json.loads((home / "endpoint.json").read_bytes())
        os.kill(int(document["pid"]), 0)
        written = sorted((home / "settings").glob("*.json"), key=lambda one: one.stat().st_mtime)
        values = json.loads(written[-1].read_bytes()) if written else {}
        return settings_of({**values, "redis_url": str(document["redis_url"])})
    return None


async def _server(house: _House, url: str, for_production: bool) -> list[Finding]:
    s = house.settings
    connection = ungreeted(url, SystemClock(), shard=s.shard, deadline_ms=_PATIENCE_MS)
    try:
        if for_production:
            found = list(judge_server(await examine(connection), url))
        else:
            info, config = await meet(connection)
            found = list(judge(info, config, ephemeral=s.ephemeral))
    except OrchError as error:
        return [failing("redis", error.message, error.hint or "Look into the server's log.")]
    finally:
        await connection.aclose()
    return [well("redis", "reachable"), *found]


# ---------------------------------------------------------------- the machine


def _seen(house: _House, home: Path) -> Seen:
    from actors.gateway.main import SPARE_FILES  # noqa: PLC0415 - only this question needs the gateway

    nearest = next(path for path in (home, *home.parents) if path.exists())
    disk = shutil.disk_usage(nearest)
    files_max = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return Seen(
        home=str(home),
        home_mode=_mode(home),
        secret_modes={
            str(path): mode
            for path in _secret_files(house.settings, home)
            if (mode := _mode(path)) is not None
        },
        free_bytes=disk.free,
        disk_bytes=disk.total,
        files_max=_UNLIMITED if files_max == resource.RLIM_INFINITY else files_max,
        files_wanted=SPARE_FILES,
        retention_origin=house.retention_origin,
        has_own_server=not house.is_private,
    )


def _mode(path: Path) -> int | None:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None


def _secret_files(settings: Settings, home: Path) -> Iterator[Path]:
    """Files that may hold the server's password, and the gateway's key."""
    yield home / "endpoint.json"
    if settings.shown("redis_url") != settings.redis_url:
        # It has a password, and may stand in a file of settings.
        yield Path(settings.origin("redis_url"))
    if settings.tls_key is not None:
        yield Path(settings.tls_key)
