"""`orch events`, `orch logs`, `orch wait`: what happens to a job, while it happens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from contracts.errors import ErrorCode, ExitCode, Refused
from orch.cli.door import HERE, Door, JobId
from orch.cli.output import emit, emit_body, emit_document, emit_piece, harmless, say

if TYPE_CHECKING:
    from contracts.record import JobRecord, LedgerEvent, LogLine
    from orch.client import JobFrame, OrchSync

Follow = Annotated[
    bool, Parameter(name=("--follow", "-f"), negative="", help="Go on until the job is over.")
]


def events(job_id: JobId, /, *, follow: Follow = False, door: Door = HERE) -> int:
    """Show a job's ledger, oldest first.

    With --json one ledger entry is one line: {seq, at_ms, type, actor, attempt, epoch, payload}.
    """
    with door.client() as client:
        for event in _followed_ledger(client, job_id) if follow else _ledger(client, job_id):
            if door.as_json:
                emit_document(event.model_dump(mode="json"))
            else:
                _show_event(event)
    return 0


def _ledger(client: OrchSync, job_id: str) -> Iterator[LedgerEvent]:
    cursor: str | None = None
    while True:
        page = client.ledger(job_id, after=cursor)
        yield from page.events
        if page.next_cursor is None:
            return
        cursor = page.next_cursor


def _followed_ledger(client: OrchSync, job_id: str) -> Iterator[LedgerEvent]:
    from contracts.events import Frame
    from contracts.record import LedgerEvent

    for frame in client.events(job_id):
        if frame.event is Frame.STATUS:
            yield LedgerEvent.model_validate(frame.data)
        else:
            _tell(frame)


def _tell(frame: JobFrame) -> None:
    """What a human should know of a frame that is no data."""
    from contracts.events import Frame

    if frame.event is Frame.GAP:
        say("(older entries were trimmed)")
    elif frame.event is Frame.END:
        say(f"job is {frame.data.get('state')}")
    elif frame.event is Frame.ERROR:
        say(harmless(f"{frame.data.get('code')}: {frame.data.get('message')}"))


def _show_event(event: LedgerEvent) -> None:
    from orch.cli.render import at, compact

    facts = " ".join(f"{key}={compact(value)}" for key, value in event.payload.items())
    emit(
        harmless(
            f"{event.seq:>4}  {at(event.at_ms)}  {event.type.value:<17}  {event.actor}  {facts}"
        )
    )


def logs(job_id: JobId, /, *, follow: Follow = False, door: Door = HERE) -> int:
    """Show a job's output in the order it came: stdout, stderr, and the tokens of a model.

    With --json one piece is one line: {i, stream, text}.
    """
    with door.client() as client:
        lines = _followed_output(client, job_id) if follow else _output(client, job_id)
        if door.as_json:
            for line in lines:
                emit_document(line.model_dump(mode="json"))
        else:
            _show_output(lines)
    return 0


def _show_output(lines: Iterator[LogLine]) -> None:
    """The pieces as they came. A piece is often, not always, a line: only a change of stream ends one."""
    open_stream: str | None = None
    for line in lines:
        if open_stream not in {None, line.stream}:
            emit("")
        emit_piece(line.text)
        open_stream = None if line.text.endswith("\n") else line.stream
    if open_stream is not None:
        emit("")


def _output(client: OrchSync, job_id: str) -> Iterator[LogLine]:
    cursor: str | None = None
    while True:
        page = client.logs(job_id, after=cursor)
        if page.trimmed and cursor is None:
            say(f"({page.trimmed} older pieces were trimmed)")
        yield from page.lines
        if page.next_cursor is None:
            return
        cursor = page.next_cursor


def _followed_output(client: OrchSync, job_id: str) -> Iterator[LogLine]:
    from contracts.events import Frame
    from contracts.record import LogLine

    for frame in client.events(job_id):
        if frame.event is Frame.LOG:
            yield LogLine.model_validate(frame.data)
        elif frame.event is Frame.TOKEN:
            yield LogLine(i=frame.data["i"], stream="token", text=frame.data["t"])
        elif frame.event not in {Frame.STATUS, Frame.METRICS}:
            _tell(frame)


def wait(
    job_id: JobId,
    /,
    *,
    timeout: Annotated[
        float | None, Parameter(help="Give up after so many seconds: exit 1, TIMEOUT.")
    ] = None,
    through: Annotated[
        bool, Parameter(negative="", help="Wait on while the job is blocked on a human.")
    ] = False,
    door: Door = HERE,
) -> int:
    """Wait until a job is over.

    Exit 0 completed; 1 failed, canceled, expired or --timeout; 4 blocked, at once unless --through.
    """
    if timeout is not None and not 0 <= timeout < 1e9:
        raise Refused(ErrorCode.INVALID_REQUEST, "--timeout is a number of seconds, 0 or more")
    with door.client() as client:
        return wait_for(client, job_id, door, timeout_s=timeout, through=through)


def wait_for(
    client: OrchSync,
    job_id: str,
    door: Door,
    *,
    timeout_s: float | None = None,
    through: bool = False,
) -> int:
    """Wait, show how it ended, and say so with the exit code of `orch wait`."""
    from orch.client import calls

    try:
        record = client.wait(job_id, timeout_s=timeout_s, through_blocked=through)
    except KeyboardInterrupt:
        say(f"job {job_id} goes on without being watched")
        raise
    if door.as_json:
        emit_body(client.send(calls.job(job_id)).body)
    else:
        _show_end(record, door)
    return exit_code_of(record)


def _show_end(record: JobRecord, door: Door) -> None:
    from orch.cli.render import next_step

    emit(record.state.value)
    step = next_step(record, door)
    if step:
        say(harmless(step))


def exit_code_of(record: JobRecord) -> int:
    """What `orch wait` exits with for a job that stands there."""
    from contracts.states import State

    codes = {State.COMPLETED: ExitCode.OK, State.BLOCKED: ExitCode.ANSWER_NEEDED}
    return int(codes.get(record.state, ExitCode.JOB_FAILED))
