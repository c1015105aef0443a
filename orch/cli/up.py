"""`orch up`: start the stack of a home, once.

In the foreground this process becomes the actors, so that signals and the exit code are theirs. Detached,
they get their own session, and --wait watches endpoint.json and /readyz. The actors write
`<home>/endpoint.json` when they listen and `<home>/up.error.json` (an error body) when they cannot start.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter

from contracts.errors import CATALOGUE, ErrorCode, ExitCode, OrchError, Refused, Unavailable
from orch.cli import stack
from orch.cli.output import emit, emit_document, say, say_renamed
from orch.settings import config_path, home_path, load_settings
from orch.values import without_password

ERROR_FILE: Final = "up.error.json"
LOG_FILE: Final = "log/orch.log"
_UNSHOWN: Final = frozenset({"redis_url"})
"""May hold a password, and everybody can read a command line: handed on in the environment."""


def up(
    *,
    detach: Annotated[
        bool, Parameter(name=("--detach", "-d"), negative="", help="Start it in the background.")
    ] = False,
    wait: Annotated[
        bool, Parameter(negative="", help="With --detach (implied): return when it is ready.")
    ] = False,
    home: Annotated[str | None, Parameter(help="Where its data is; default ORCH_HOME.")] = None,
    config: Annotated[str | None, Parameter(help="The project file; default ./orch.toml.")] = None,
    port: Annotated[int | None, Parameter(help="The gateway's port; default any free one.")] = None,
    redis_url: Annotated[
        str | None, Parameter(help="Use this server instead of a private one.")
    ] = None,
    as_json: Annotated[
        bool, Parameter(name="--json", negative="", help="Print endpoint.json.")
    ] = False,
    **settings: Annotated[str, Parameter(help="Any setting, as --lease-ms 5000; see below.")],
) -> int:
    """Start a local stack: a private Valkey, the actors, the gateway.

    A second `up` on a live home says so and exits 0. Without --detach it runs until Ctrl-C.
    """
    given: dict[str, object] = {key.replace("-", "_"): value for key, value in settings.items()}
    given |= {"port": port, "redis_url": redis_url}
    flags = {key: value for key, value in given.items() if value is not None}
    loaded = load_settings(flags=flags, home=home, config=config)
    place = home_path(home)
    running = stack.running_in(place)
    if running is not None and _answers(running):
        say(f"already up in {place} (pid {running.pid})")
        return _show(running.document, as_json=as_json)
    argv = _argv(place, config, flags)
    environ = stack.actors_environ({"ORCH_REDIS_URL": redis_url} if redis_url else {})
    if not (detach or wait):
        sys.stdout.flush()
        os.execve(argv[0], argv, environ)
    say_renamed(loaded.renamed)  # in the foreground the actors do, and once is enough
    return _detached(place, argv, environ, wait=wait, as_json=as_json)


def _argv(home: Path, config: str | None, flags: Mapping[str, object]) -> list[str]:
    words = ["up", "--home", str(home)]
    project = config_path(config)
    if project is not None:
        words += ["--config", str(project)]
    for key, value in flags.items():
        if key not in _UNSHOWN:
            words += ["--set", f"{key}={value}"]
    return stack.actors_argv(*words)


def _answers(running: stack.Running, *, ready: bool = False) -> bool:
    from orch.client import Endpoint, OrchSync, calls
    from orch.client.endpoint import cert_in

    try:
        with OrchSync(Endpoint(running.url, cert=cert_in(running.document))) as client:
            client.send(calls.ready() if ready else calls.live())
    except OrchError:
        return False
    return True


def _show(document: Mapping[str, Any], *, as_json: bool) -> int:
    if as_json:
        redis_url = document.get("redis_url")
        shown = without_password(redis_url) if isinstance(redis_url, str) else redis_url
        emit_document({**document, "redis_url": shown})
    else:
        emit(str(document.get("url")))
    return ExitCode.OK


def _detached(
    home: Path, argv: Sequence[str], environ: Mapping[str, str], *, wait: bool, as_json: bool
) -> int:
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        (home / ERROR_FILE).unlink(missing_ok=True)
        child = stack.spawn_detached(argv, environ, home / LOG_FILE)
    except OSError as error:
        raise Refused(
            ErrorCode.INVALID_CONFIG,
            f"cannot use {home} as a home: {error.strerror}",
            details={"key": "home", "value": str(home)},
        ) from None
    if not wait:
        say(f"starting in {home} (pid {child.pid}); its log is {home / LOG_FILE}")
        if as_json:
            emit_document({"pid": child.pid})
        return ExitCode.OK
    return _watched(home, child, as_json=as_json)


def _watched(home: Path, child: subprocess.Popen[bytes], *, as_json: bool) -> int:
    """Wait until the gateway is ready, or the child has ended."""
    found: list[stack.Running] = []

    def is_settled() -> bool:
        running = stack.running_in(home)
        if running is not None and _answers(running, ready=True):
            found.append(running)
        return bool(found) or child.poll() is not None

    if not stack.wait_until(is_settled):
        raise Unavailable(
            ErrorCode.TIMEOUT,
            f"not ready after {stack.DEADLINE_MS // 1_000} s (pid {child.pid})",
            hint=f"Its log is {home / LOG_FILE}; `orch down --home {home}` stops it.",
        )
    if found:
        say(f"up in {home} (pid {found[0].pid})")
        return _show(found[0].document, as_json=as_json)
    return _ended_early(home, child, as_json=as_json)


def _ended_early(home: Path, child: subprocess.Popen[bytes], *, as_json: bool) -> int:
    """The actors exited before they were ready: their own words, their own code."""
    running = stack.running_in(home)
    if child.returncode == 0 and running is not None:  # another `up` was faster
        say(f"already up in {home} (pid {running.pid})")
        return _show(running.document, as_json=as_json)
    body = _error_body(home)
    if body is not None:
        from orch.client.answers import error_of_body

        raise error_of_body(body)
    say(stack.tail(home / LOG_FILE))
    known = child.returncode in {entry.exit_code for entry in CATALOGUE.values()}
    say(f"the actors exited with {child.returncode}; their log is {home / LOG_FILE}")
    return child.returncode if known else ExitCode.JOB_FAILED


def _error_body(home: Path) -> dict[str, Any] | None:
    try:
        document = json.loads((home / ERROR_FILE).read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) and "code" in document else None
