"""`orch submit`: a file becomes a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from contracts.errors import ErrorCode, Refused
from orch.cli.door import HERE, Door
from orch.cli.output import emit, emit_body, harmless, say

if TYPE_CHECKING:
    from contracts.record import Submitted


def submit(
    file: Annotated[
        str,
        Parameter(
            name="FILE", help="A YAML or JSON job spec, or - for stdin.", allow_leading_hyphen=True
        ),
    ],
    /,
    *,
    idempotency_key: Annotated[
        str | None, Parameter(help="The same key and content again gives the same job.")
    ] = None,
    wait: Annotated[
        bool, Parameter(negative="", help="Wait as `orch wait` does, with its exit codes.")
    ] = False,
    door: Door = HERE,
) -> int:
    """Submit the job that a YAML or JSON file describes.

    Prints the job's id. Relative `cwd` and `path` count from the file's directory; a command without
    `cwd` runs in the current one. With --wait --json the one document printed is the job's last record.
    """
    from orch.cli.documents import STDIN, read_spec
    from orch.cli.follow import wait_for
    from orch.client import calls

    if file.startswith("-") and file != STDIN:  # the parser lets it pass for the sake of `-`
        raise Refused(ErrorCode.INVALID_REQUEST, f"Unknown option: {file}")
    spec = read_spec(file)
    with door.client() as client:
        call = calls.submit(spec, idempotency_key)
        answer = client.send(call)
        submitted = client.read(call, answer)
        if wait:
            say(f"job {submitted.job_id} ({submitted.state})")
            return wait_for(client, submitted.job_id, door)
    if door.as_json:
        emit_body(answer.body)
        return 0
    if submitted.duplicate:
        say("the same job was submitted before; nothing new was made")
    follow = f"follow it with: {door.command('wait', submitted.job_id)}"
    say(harmless(f"{submitted.state}{_place(submitted)}; {follow}"))
    emit(submitted.job_id)
    return 0


def _place(submitted: Submitted) -> str:
    """Where it stands, in words: how many go before it, and when it will start if that is known."""
    from orch.cli.render import lasted

    ahead = f", {submitted.queue_position} ahead of it" if submitted.queue_position else ""
    start = submitted.predicted_start_ms
    return f"{ahead}, starts in about {lasted(start)}" if start else ahead
