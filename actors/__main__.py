"""`python -m actors up` runs a whole stack; `python -m actors <role>` runs one actor alone."""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import sys
from functools import partial
from pathlib import Path

import anyio

from actors.body import Place
from actors.start import ROLES, log_renamed, run_role, secrets_of
from actors.tokens import act as act_on_tokens
from actors.tokens import add_options as add_token_options
from contracts.errors import ErrorCode, ExitCode, Misuse, OrchError
from orch.settings import Settings, home_path, load_settings, settings_of

_PR_SET_PDEATHSIG = 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m actors", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("up", "doctor", "token", *ROLES):
        command = commands.add_parser(name)
        if name == "token":
            add_token_options(command)
        command.add_argument("--home")
        command.add_argument("--config")
        command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
        if name == "doctor":
            command.add_argument("--json", action="store_true")
            command.add_argument("--production-readiness", action="store_true")
        command.add_argument("--redis-url")
        command.add_argument("--metrics-port")
        command.add_argument("--pool")
        command.add_argument("--slots")
        command.add_argument("--port")
        if name not in ("doctor", "token"):
            command.add_argument("--parent", type=int, help="end when this process does")
        if name in ROLES:
            command.add_argument("--url")
            command.add_argument("--settings", help="all settings, as the supervisor wrote them")
            command.add_argument("--ready-fd", type=int)
            command.add_argument("--socket-fd", type=int)
            command.add_argument("--lifeline-fd", type=int)
    return parser


def _flags(options: argparse.Namespace) -> dict[str, object]:
    flags: dict[str, object] = {}
    for word in options.set:
        key, equals, value = word.partition("=")
        if not equals:
            raise Misuse(ErrorCode.INVALID_CONFIG, f"--set takes KEY=VALUE, not {word!r}")
        flags[key] = value
    for key in ("redis_url", "metrics_port", "pool", "slots", "port"):
        if getattr(options, key, None) is not None:
            flags[key] = getattr(options, key)
    return flags


def _die_with(parent: int) -> None:
    """SIGTERM to us when the thread that started us ends, however it ends (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        # It died before we asked for the signal; none will come.
        sys.exit(ExitCode.JOB_FAILED)


def _run_role(options: argparse.Namespace, settings: Settings, home: Path) -> None:
    if options.parent is not None:
        _die_with(options.parent)

    def announce(port: int) -> None:
        if options.ready_fd is not None:
            os.write(options.ready_fd, json.dumps({"metrics_port": port}).encode())
            os.close(options.ready_fd)

    is_alone = options.settings is None
    place = Place(home, options.socket_fd, options.lifeline_fd, options.url, is_alone)
    run = partial(run_role, options.command, settings, place, announce=announce)
    anyio.run(run, backend_options={"use_uvloop": True})


def _up(options: argparse.Namespace, settings: Settings, home: Path) -> None:
    from actors.supervisor import supervise
    from orch.telemetry.logs import configure_logs

    if options.parent is not None:
        _die_with(options.parent)
    configure_logs(settings.log_level, actor="supervisor", secrets=secrets_of(settings))
    log_renamed(settings)
    anyio.run(supervise, home, settings, options.config, _flags(options))


def main() -> int:
    """Runs what the command line names; the exit code is that of the error, if there is one."""
    options = _parser().parse_args()
    home = home_path(options.home).absolute()
    try:
        return _dispatch(options, home)
    except BaseExceptionGroup as group:
        found = group.subgroup(OrchError)
        if found is None:
            raise
        error = _first(found)
    except OrchError as alone:
        error = alone
    _tell(error, home, is_up=options.command == "up")
    return int(error.entry.exit_code)


def _settings(options: argparse.Namespace, home: Path) -> Settings:
    written = getattr(options, "settings", None)
    if written is None:
        return load_settings(flags=_flags(options), home=home, config=options.config)
    values = json.loads(Path(written).read_bytes())
    return settings_of({**values, "redis_url": os.environ["ORCH_REDIS_URL"], **_flags(options)})


def _dispatch(options: argparse.Namespace, home: Path) -> int:
    settings = _settings(options, home)
    if options.command == "doctor":
        from actors.doctor import tell

        return tell(
            settings, home, as_json=options.json, for_production=options.production_readiness
        )
    if options.command == "token":
        return act_on_tokens(options, settings, home)
    if options.command == "up":
        _up(options, settings, home)
    else:
        _run_role(options, settings, home)
    return ExitCode.OK


def _first(group: BaseExceptionGroup[OrchError]) -> OrchError:
    inner: BaseException = group
    while isinstance(inner, BaseExceptionGroup):
        inner = inner.exceptions[0]
    assert isinstance(inner, OrchError)
    return inner


def _tell(error: OrchError, home: Path, *, is_up: bool) -> None:
    sys.stderr.write(f"{error.code}: {error.message}\n{error.hint}\n")
    if is_up and home.is_dir():
        (home / "up.error.json").write_text(json.dumps(error.body()))


if __name__ == "__main__":
    sys.exit(main())
