"""`python -m actors doctor`: what only the actors can see: the engine, the server, the files of the home.

It asks, and leaves the verdicts to `orch.store.fitness`, `orch.store.readiness` and `orch.core.premises`. The
server is the one that the settings name, else that of the stack which runs in the home.
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

import anyio

from contracts.errors import ExitCode, OrchError
from orch.core.findings import Finding, failing, report, well
from orch.core.premises import Seen, judge_premises
from orch.settings import Settings
from orch.store.engine import find_engine
from orch.store.examination import examine, meet, ungreeted
from orch.store.fitness import judge
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
    if settings.redis_url is None:
        yield _engine()
    yield well("home", str(home))
    if for_production:
        yield from judge_premises(settings, _seen(settings, home))
    place = _server_of(settings, home)
    if place is not None:
        yield from anyio.run(_server, place, settings.shard, for_production)


def _engine() -> Finding:
    try:
        engine = find_engine()
    except OrchError as error:
        return failing("engine", error.message, error.hint)
    return well("engine", engine.label)


@dataclass(frozen=True, slots=True)
class _Place:
    """A server, and whether those who use it said that it may forget."""

    url: str
    ephemeral: bool


def _server_of(settings: Settings, home: Path) -> _Place | None:
    """The one that the settings name, else that of the stack which runs in the home."""
    if settings.redis_url is not None:
        return _Place(settings.redis_url, settings.ephemeral)
    with suppress(OSError, ValueError, KeyError, TypeError):
        document = json.loads((home / "endpoint.json").read_bytes())
        os.kill(int(document["pid"]), 0)
        # Flags of `orch up` are known to its parts only, and in these files.
        written = [json.loads(path.read_bytes()) for path in (home / "settings").glob("*.json")]
        ephemeral = settings.ephemeral or any(one.get("ephemeral") for one in written)
        return _Place(str(document["redis_url"]), ephemeral)
    return None


async def _server(place: _Place, shard: int, for_production: bool) -> list[Finding]:
    connection = ungreeted(place.url, SystemClock(), shard=shard, deadline_ms=_PATIENCE_MS)
    try:
        if for_production:
            found = list(judge_server(await examine(connection), place.url))
        else:
            info, config = await meet(connection)
            found = list(judge(info, config, ephemeral=place.ephemeral))
    except OrchError as error:
        return [failing("redis", error.message, error.hint or "Look into the server's log.")]
    finally:
        await connection.aclose()
    return [well("redis", "reachable"), *found]


# ---------------------------------------------------------------- the machine


def _seen(settings: Settings, home: Path) -> Seen:
    # Costs the import of the whole gateway, which only this question needs.
    from actors.gateway.main import SPARE_FILES  # noqa: PLC0415

    nearest = next(path for path in (home, *home.parents) if path.exists())
    disk = shutil.disk_usage(nearest)
    files_max = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return Seen(
        home=str(home),
        home_mode=_mode(home),
        secret_modes={
            str(path): mode
            for path in _secret_files(settings, home)
            if (mode := _mode(path)) is not None
        },
        free_bytes=disk.free,
        disk_bytes=disk.total,
        files_max=_UNLIMITED if files_max == resource.RLIM_INFINITY else files_max,
        files_wanted=SPARE_FILES,
        retention_origin=settings.origin("retention_ms"),
        has_own_server=settings.redis_url is not None,
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
