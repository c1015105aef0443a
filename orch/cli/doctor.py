"""`orch doctor`: what Orch needs, checked; every failure has a fix.

What only the actors can see (the engine, Redis) is asked of the running gateway, or, when none runs, of
`python -m actors doctor --json`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from contracts.errors import ErrorCode, ExitCode, OrchError
from orch import __version__
from orch.cli import stack
from orch.cli.door import HERE, Door
from orch.cli.output import emit, emit_document, harmless
from orch.settings import load_settings

PYTHON_MIN: Final = (3, 11)
CHILD_S: Final = 30
_MAKE_ONE: Final = "`orch token create` makes one; set ORCH_TOKEN to it."


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `fix` is empty when it is well."""

    name: str
    ok: bool
    found: str
    fix: str = ""


def doctor(*, door: Door = HERE) -> int:
    """Check what Orch needs. Exit 0 when all is well, else 7.

    With --json {ok, checks: [{name, ok, found, fix}]}.
    """
    ours = [*_python(), *_settings(door), *_home(door)]
    seen = {check.name for check in ours}
    # On settings that are refused the actors do not start: the check of the settings has said why.
    can_start = all(check.ok for check in ours if check.name == "settings")
    theirs = _gateway(door) or (_actors(door) if can_start else [])
    checks = ours + [row for row in theirs if row.name not in seen]
    is_well = all(check.ok for check in checks)
    if door.as_json:
        emit_document({"ok": is_well, "checks": [asdict(check) for check in checks]})
    else:
        for check in checks:
            emit(harmless(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}: {check.found}"))
            if not check.ok:
                emit(harmless(f"      fix: {check.fix}"))
    return ExitCode.OK if is_well else ExitCode.DEPENDENCY_MISSING


def _python() -> Iterator[Check]:
    found = ".".join(str(part) for part in sys.version_info[:3])
    fits = sys.version_info[:2] >= PYTHON_MIN
    yield Check("python", fits, found, "" if fits else "Install Python 3.11 or newer.")


def _settings(door: Door) -> Iterator[Check]:
    try:
        settings = load_settings(home=door.home)
    except OrchError as error:
        yield Check("settings", False, error.message, error.hint)
    else:
        told = "; ".join(settings.renamed) or "every key and value is known"
        yield Check("settings", True, told)


def _home(door: Door) -> Iterator[Check]:
    """The home exists and is ours to write, or can be made."""
    home = door.home_path
    nearest = next(path for path in (home, *home.parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        yield Check(
            "home", False, f"{nearest} is no directory that we can write", "Choose another --home."
        )
    elif nearest == home and home.stat().st_mode & 0o022:
        yield Check("home", False, f"others can write {home}", f"chmod go-w {home}")
    else:
        yield Check("home", True, str(home))


def _gateway(door: Door) -> list[Check]:
    """What the running gateway says of itself; nothing when none runs and none was named."""
    from orch.client import calls

    try:
        with door.client() as client:
            client.run(calls.live())
            url = client.endpoint.url
            return [Check("gateway", True, url), *_served(client), *_readiness(client)]
    except OrchError as error:
        if (
            door.url is None
            and "ORCH_URL" not in os.environ
            and stack.running_in(door.home_path) is None
        ):
            return []
        return [Check("gateway", False, error.message, error.hint)]


def _served(client: Any) -> Iterator[Check]:
    """Of which version it is; whoever has no token is not told, and needs none to be well."""
    from orch.client import calls

    try:
        yield _version(str(client.run(calls.capabilities()).get("version")))
    except OrchError as error:
        if error.code is not ErrorCode.UNAUTHENTICATED:
            raise
        is_unset = "ORCH_TOKEN" not in os.environ
        found = "not set; callers need one" if is_unset else error.message
        yield Check("token", is_unset, found, "" if is_unset else _MAKE_ONE)


def _version(served: str) -> Check:
    if served == __version__:
        return Check("version", True, served)
    return Check(
        "version", False, f"gateway {served}, orch {__version__}", "Install the same version."
    )


def _readiness(client: Any) -> list[Check]:
    from orch.client import calls

    try:
        document = client.run(calls.ready())
    except OrchError as error:
        document = getattr(error, "answer", {"checks": {"readiness": error.message}})
    fix = "Look into the actors' log; docs/configuration.md says what Redis needs."
    return [
        Check(str(name), verdict == "ok", str(verdict), "" if verdict == "ok" else fix)
        for name, verdict in document.get("checks", {}).items()
    ]


def _actors(door: Door) -> list[Check]:
    """The checks of the actors' own doctor, in a child: only they may import the engine and Redis."""
    argv = stack.actors_argv("doctor", "--json", "--home", str(door.home_path))
    try:
        child = subprocess.run(
            argv, env=stack.actors_environ({}), capture_output=True, timeout=CHILD_S, check=False
        )
        rows = json.loads(child.stdout)["checks"]
        return [
            Check(str(row["name"]), bool(row["ok"]), str(row["found"]), str(row.get("fix") or ""))
            for row in rows
        ]
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError) as error:
        return [
            Check(
                "actors",
                False,
                f"`python -m actors doctor` gave no report ({type(error).__name__})",
                "Install Orch again: python -m pip install --force-reinstall orch.",
            )
        ]
