"""`orch init`, `orch demo`, `orch version`: what needs no gateway."""

from __future__ import annotations

import platform
import textwrap
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from contracts.defaults import DEFAULTS, Default
from contracts.errors import ErrorCode, Refused
from orch import __version__
from orch.cli.output import emit, emit_document, say

JOB_EXAMPLE: Final = """\
# A job for `orch submit job.yaml`. Every key is described by contracts/schemas/v1/job_spec.json.
name: hello

adapter:
  name: command                 # command, steps or python
  config:
    argv: [sh, -c, 'echo "hello from attempt $ORCH_ATTEMPT"']
    # cwd: .                    # relative to this file; default: where `orch submit` runs
    # env: {KEY: value}         # agents get PATH, HOME, LANG, ORCH_* and this, nothing else
    # wall_ms: 60000            # stop it after this long

# priority: interactive         # a class of `classes` in orch.toml
# idempotency_key: hello-1      # the same key and content again gives the same job
# retry:
#   attempts_max: 3
#   on: [transient, throttled, resource, lost]   # add logic to retry a non-zero exit
# labels: {project: example}
"""


def init(
    directory: Annotated[str, Parameter(name="DIRECTORY", help="Where; default here.")] = ".",
    /,
    *,
    force: Annotated[bool, Parameter(negative="", help="Overwrite files that exist.")] = False,
    as_json: Annotated[
        bool, Parameter(name="--json", negative="", help="Print the paths as JSON.")
    ] = False,
) -> int:
    """Write an example job.yaml and an orch.toml in which every default stands as a comment."""
    root = Path(directory)
    files = {root / "job.yaml": JOB_EXAMPLE, root / "orch.toml": settings_example()}
    there = [str(path) for path in files if path.exists()]
    if there and not force:
        raise Refused(
            ErrorCode.INVALID_REQUEST,
            f"already there: {', '.join(there)}",
            hint="--force overwrites.",
        )
    try:
        root.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Refused(
            ErrorCode.INVALID_REQUEST, f"cannot write into {root}: {error.strerror}"
        ) from None
    if as_json:
        emit_document({"written": [str(path) for path in files]})
        return 0
    for path in files:
        emit(str(path))
    say("next: `orch up --detach --wait`, then `orch submit job.yaml --wait`")
    return 0


def settings_example() -> str:
    """orch.toml with every setting, commented out, at its default."""
    head = "# Settings of Orch. A flag or ORCH_<KEY> in the environment wins over this file.\n"
    return head + "".join(_setting(row) for row in DEFAULTS.values())


def _setting(row: Default) -> str:
    bounds = f"One of {', '.join(row.choices)}." if row.choices else ""
    if row.minimum is not None and row.maximum is not None:
        bounds = f"From {row.minimum:.0f} to {row.maximum:.0f}."
    words = " ".join(part for part in (row.meaning, f"Unit: {row.unit}.", bounds) if part)
    return (
        "\n"
        + textwrap.fill(words, 100, initial_indent="# ", subsequent_indent="# ")
        + f"\n# {_toml(row)}\n"
    )


def _toml(row: Default) -> str:
    match row.value:
        case None if row.unit == "path":
            return f'{row.key} = "/etc/orch/{row.key}.pem"'
        case None:
            return f'{row.key} = "redis://127.0.0.1:6379/0"'
        case tuple() as words:
            quoted = ", ".join(f'"{word}"' for word in words)
            return f"{row.key} = [{quoted}]"
        case str() as word:
            return f'{row.key} = "{word}"'
        case bool() as switch:
            return f"{row.key} = {str(switch).lower()}"
        case number:
            return f"{row.key} = {number}"


def demo(
    *,
    keep: Annotated[
        bool, Parameter(negative="", help="Leave the demonstration's home and stack behind.")
    ] = False,
    as_json: Annotated[
        bool, Parameter(name="--json", negative="", help="Print the checks as one JSON document.")
    ] = False,
) -> int:
    """Run the demonstration on a private stack of its own: crash a runner, lose nothing."""
    from functools import partial

    import anyio

    from orch.cli import stack
    from orch.demo import demo as tour

    environ = stack.actors_environ({})
    return anyio.run(
        partial(tour, up_argv=stack.actors_argv("up"), environ=environ, keep=keep, as_json=as_json)
    )


def version(
    *,
    as_json: Annotated[
        bool, Parameter(name="--json", negative="", help="Print one JSON object.")
    ] = False,
) -> int:
    """Print the version."""
    if as_json:
        emit_document({"version": __version__, "python": platform.python_version()})
    else:
        emit(f"orch {__version__}")
    return 0
