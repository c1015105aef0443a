"""`orch token`: who may call the gateway.

Not over HTTP: the first token cannot come in through a door that asks for one. The actors' own command
writes to Redis, as a child; the token comes back on a pipe, and is never on a command line or in a log.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter

from contracts.errors import ErrorCode, ExitCode, Refused, Unavailable
from orch.cli import stack
from orch.cli.output import emit, emit_document, emit_table, say
from orch.cli.render import at
from orch.settings import config_path, home_path

CHILD_S: Final = 30
Home = Annotated[str | None, Parameter(help="The stack's home; default ORCH_HOME.")]
Config = Annotated[str | None, Parameter(help="The project file; default ./orch.toml.")]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON document.")]


def create(
    *,
    name: Annotated[str, Parameter(help="Who the ledger says it was.")],
    scope: Annotated[
        list[str], Parameter(help="submit, read, steer, control or admin; may be repeated.")
    ],
    tenant: Annotated[
        str | None, Parameter(help="Only this tenant's jobs; default: everybody's.")
    ] = None,
    expires: Annotated[
        str | None, Parameter(help="Good for so long, as 30d, 12h or 45m; default: no end.")
    ] = None,
    out: Annotated[
        str | None, Parameter(help="Write the token into this new file, for its owner only.")
    ] = None,
    home: Home = None,
    config: Config = None,
    as_json: AsJson = False,
) -> int:
    """Make a token for the gateway. It is shown this one time, and stored nowhere."""
    words = ["create", "--name", name]
    words += [] if tenant is None else ["--tenant", tenant]
    words += [] if expires is None else ["--expires", expires]
    words += [word for one in scope for word in ("--scope", one)]
    if out is None:
        made = _asked(words, home, config)
    else:
        with _private_file(Path(out)) as descriptor:
            made = _asked(words, home, config)
            os.write(descriptor, str(made["token"]).encode() + b"\n")
        made["token"] = None
    if as_json:
        emit_document(made)
    elif out is None:
        say(f"token {made['token_id']}; it is not shown again")
        emit(str(made["token"]))
    else:
        emit(f"token {made['token_id']} is in {out}")
    return ExitCode.OK


def list_tokens(*, home: Home = None, config: Config = None, as_json: AsJson = False) -> int:
    """List tokens, oldest first: who, for which tenant, what for, until when."""
    found = _asked(["list"], home, config)
    if as_json:
        emit_document(found)
    else:
        rows = [
            [
                one["token_id"],
                one["name"],
                one["tenant"] or "(all)",
                ",".join(one["scopes"]),
                at(one["created_at_ms"]),
                at(one["expires_at_ms"]) if one["expires_at_ms"] else "-",
            ]
            for one in found["tokens"]
        ]
        emit_table(["ID", "NAME", "TENANT", "SCOPES", "CREATED", "EXPIRES"], rows)
    return ExitCode.OK


def revoke(
    token_id: Annotated[str, Parameter(name="ID", help="As `orch token list` shows it.")],
    /,
    *,
    home: Home = None,
    config: Config = None,
    as_json: AsJson = False,
) -> int:
    """Take a token back; gateways refuse it within two seconds."""
    gone = _asked(["revoke", "--", token_id], home, config)
    if as_json:
        emit_document(gone)
    else:
        emit(f"token {gone['token_id']} ({gone['name']}) is revoked")
    return ExitCode.OK


@contextmanager
def _private_file(path: Path) -> Iterator[int]:
    """A new file of mode 0600, gone again when nothing came of it: made first, so that no token is lost."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        message = f"cannot make the file {path}: {error.strerror}"
        raise Refused(
            ErrorCode.INVALID_REQUEST, message, hint="--out names a file that does not exist yet."
        ) from None
    try:
        yield descriptor
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def _asked(words: list[str], home: str | None, config: str | None) -> dict[str, Any]:
    """The answer of `python -m actors token`.

    Raises:
        Refused, Unavailable: the error that it told.
    """
    project = config_path(config)
    places = ["--home", str(home_path(home)), *(["--config", str(project)] if project else [])]
    argv = stack.actors_argv("token", *places, *words)
    try:
        child = subprocess.run(
            argv, env=stack.actors_environ({}), capture_output=True, timeout=CHILD_S, check=False
        )
        document = json.loads(child.stdout or b"null")
    except (subprocess.TimeoutExpired, ValueError):
        document = None
    if isinstance(document, dict) and "code" in document:
        from orch.client.answers import error_of_body

        raise error_of_body(document)
    if not isinstance(document, dict):
        raise Unavailable(
            ErrorCode.UNAVAILABLE,
            "`python -m actors token` gave no answer",
            hint="`orch doctor` looks for the reason.",
        )
    return document
