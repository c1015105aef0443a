"""`orch down`: stop the stack of a home. Stopping what does not run is no failure."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Annotated

from cyclopts import Parameter

from contracts.errors import ErrorCode, ExitCode, Unavailable
from orch.cli import stack
from orch.cli.output import emit_document, say
from orch.settings import home_path


def down(
    *,
    home: Annotated[str | None, Parameter(help="The stack's home; default ORCH_HOME.")] = None,
    as_json: Annotated[
        bool, Parameter(name="--json", negative="", help="Print {stopped, pid} on stdout.")
    ] = False,
) -> int:
    """Stop the stack of a home: runners give their jobs back, the private Valkey saves and ends."""
    place = home_path(home)
    running = stack.running_in(place)
    if running is None:
        say(f"nothing runs in {place}")
    else:
        _stop(running.pid, str(place))
        say(f"stopped (pid {running.pid})")
    if as_json:
        emit_document({"stopped": running is not None, "pid": running.pid if running else None})
    return ExitCode.OK


def _stop(pid: int, home: str) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    if not stack.wait_until(lambda: not stack.is_alive(pid)):
        raise Unavailable(
            ErrorCode.TIMEOUT,
            f"pid {pid} did not end within {stack.DEADLINE_MS // 1_000} s",
            hint=f"It may be waiting for an agent; its log is {home}/log/orch.log.",
        )
