"""`orch doctor`: what Orch needs, checked; every failure has a fix.

What only the actors can see (the engine, the server, the files of the home) is asked of
`python -m actors doctor --json`, what a running gateway knows of itself is asked of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Final

from cyclopts import Parameter

from contracts.errors import ErrorCode, ExitCode, OrchError
from orch import __version__
from orch.cli import stack
from orch.cli.door import HERE, Door
from orch.cli.output import emit, emit_document, harmless
from orch.core.findings import Finding, failing, finding_of, report, well
from orch.settings import load_settings

PYTHON_MIN: Final = (3, 11)
CHILD_S: Final = 30
_MAKE_ONE: Final = "`orch token create` makes one; set ORCH_TOKEN to it."
_MARKS: Final = {"ok": "ok  ", "warn": "WARN", "fail": "FAIL"}


def doctor(
    *,
    production_readiness: Annotated[
        bool,
        Parameter(
            name="--production-readiness",
            negative="",
            help="Also look at what only matters where others depend on it.",
        ),
    ] = False,
    door: Door = HERE,
) -> int:
    """Check what Orch needs. Exit 0 when nothing fails, else 7; a warning does not fail.

    With --json {ok, checks: [{name, ok, severity, found, fix}]}, see contracts/schemas/v1/doctor.json.
    """
    document = report(_findings(door, for_production=production_readiness))
    if door.as_json:
        emit_document(document)
    else:
        for row in document["checks"]:
            emit(harmless(f"{_MARKS[row['severity']]}  {row['name']}: {row['found']}"))
            if row["fix"]:
                emit(harmless(f"      fix: {row['fix']}"))
    return ExitCode.OK if document["ok"] else ExitCode.DEPENDENCY_MISSING


def _findings(door: Door, *, for_production: bool) -> list[Finding]:
    ours = [*_python(), *_settings(door), *_home(door)]
    # On settings that are refused the actors do not start: the check of the settings has said why.
    can_start = all(one.ok for one in ours if one.name == "settings")
    theirs = _gateway(door)
    # A gateway elsewhere has its server elsewhere: what is here says nothing of it.
    if can_start and (for_production or not theirs or not _is_elsewhere(door)):
        theirs += _actors(door, for_production=for_production)
    return _by_name([*ours, *theirs])


def _by_name(findings: Iterable[Finding]) -> list[Finding]:
    """The first of each name."""
    found: dict[str, Finding] = {}
    for one in findings:
        found.setdefault(one.name, one)
    return list(found.values())


def _python() -> Iterator[Finding]:
    found = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] >= PYTHON_MIN:
        yield well("python", found)
    else:
        yield failing("python", found, "Install Python 3.11 or newer.")


def _settings(door: Door) -> Iterator[Finding]:
    try:
        settings = load_settings(home=door.home)
    except OrchError as error:
        yield failing("settings", error.message, error.hint)
    else:
        told = "; ".join(settings.renamed) or "every key and value is known"
        yield well("settings", told)


def _home(door: Door) -> Iterator[Finding]:
    """The home exists and is ours to write, or can be made."""
    home = door.home_path
    nearest = next(path for path in (home, *home.parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        found = f"{nearest} is no directory that we can write"
        yield failing("home", found, "Choose another --home.")
    elif nearest == home and home.stat().st_mode & 0o022:
        yield failing("home", f"others can write {home}", f"chmod go-w {home}")
    else:
        yield well("home", str(home))


def _is_elsewhere(door: Door) -> bool:
    """Whether the gateway that is asked was named, and not found in the home."""
    return door.url is not None or "ORCH_URL" in os.environ


def _gateway(door: Door) -> list[Finding]:
    """What the running gateway says of itself; nothing when none runs and none was named."""
    from orch.client import calls

    try:
        with door.client() as client:
            client.run(calls.live())
            url = client.endpoint.url
            return [well("gateway", url), *_served(client), *_readiness(client)]
    except OrchError as error:
        if not _is_elsewhere(door) and stack.running_in(door.home_path) is None:
            return []
        return [failing("gateway", error.message, error.hint or "Look into the actors' log.")]


def _served(client: Any) -> Iterator[Finding]:
    """Of which version it is; whoever has no token is not told, and needs none to be well."""
    from orch.client import calls

    try:
        yield _version(str(client.run(calls.capabilities()).get("version")))
    except OrchError as error:
        if error.code is not ErrorCode.UNAUTHENTICATED:
            raise
        if "ORCH_TOKEN" in os.environ:
            yield failing("token", error.message, _MAKE_ONE)
        else:
            yield well("token", "not set; callers need one")


def _version(served: str) -> Finding:
    if served == __version__:
        return well("version", served)
    return failing("version", f"gateway {served}, orch {__version__}", "Install the same version.")


def _readiness(client: Any) -> list[Finding]:
    from orch.client import calls

    try:
        document = client.run(calls.ready())
    except OrchError as error:
        document = getattr(error, "answer", {"checks": {"readiness": error.message}})
    fix = "Look into the actors' log; docs/redis-servers.md says what Redis needs."
    return [
        well(str(name), "ok") if verdict == "ok" else failing(str(name), str(verdict), fix)
        for name, verdict in document.get("checks", {}).items()
    ]


def _actors(door: Door, *, for_production: bool) -> list[Finding]:
    """The findings of the actors' own doctor, in a child: only they may import the engine and Redis."""
    words = ("--production-readiness",) if for_production else ()
    argv = stack.actors_argv("doctor", "--json", *words, "--home", str(door.home_path))
    try:
        child = subprocess.run(
            argv, env=stack.actors_environ({}), capture_output=True, timeout=CHILD_S, check=False
        )
        return [finding_of(row) for row in json.loads(child.stdout)["checks"]]
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError) as error:
        found = f"`python -m actors doctor` gave no report ({type(error).__name__})"
        fix = "Install Orch again: python -m pip install --force-reinstall orch."
        return [failing("actors", found, fix)]
