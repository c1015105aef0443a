"""`orch artifacts`: the files that a job left, listed or fetched."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from contracts.errors import Corrupt, ErrorCode, Refused
from orch.cli.door import HERE, Door, JobId
from orch.cli.output import emit_table, say


def artifacts(
    job_id: JobId,
    /,
    *,
    get: Annotated[
        str | None, Parameter(name="--get", help="Fetch the one with this sha256.")
    ] = None,
    output: Annotated[
        str | None, Parameter(name=("--output", "-o"), help="Write it there; default stdout.")
    ] = None,
    door: Door = HERE,
) -> int:
    """List the files that a job left, or fetch one of them."""
    from orch.client import calls

    if get is None and output is not None:
        raise Refused(ErrorCode.INVALID_REQUEST, "-o needs --get SHA256")
    if get is not None:
        with door.client() as client:
            _save(client.artifact_bytes(job_id, get), get, output)
        return 0
    left = door.ask(calls.artifacts(job_id))
    if left is None:
        return 0
    emit_table(
        ("NAME", "BYTES", "SHA256", "STEP", "ATTEMPT"),
        [
            (row.name, str(row.bytes), row.sha256, row.step_id or "-", str(row.attempt))
            for row in left.artifacts
        ],
    )
    return 0


def _save(content: bytes, sha256: str, output: str | None) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise Corrupt(ErrorCode.INTERNAL, f"the bytes that came have the sha256 {found}")
    if output is None:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    try:
        Path(output).write_bytes(content)
    except OSError as error:
        raise Refused(
            ErrorCode.INVALID_REQUEST, f"cannot write {output}: {error.strerror}"
        ) from None
    say(f"{output}: {len(content)} bytes")
