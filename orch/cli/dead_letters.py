"""`orch dead-letter`: jobs that were given up on, listed and tried again."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from contracts.errors import ErrorCode, ExitCode, Refused
from orch.cli.door import HERE, Door
from orch.cli.output import emit, emit_body, emit_table, say
from orch.cli.render import at

Tenant = Annotated[str | None, Parameter(help="Of this tenant only.")]
Pool = Annotated[str | None, Parameter(help="Of this pool only.")]
Reason = Annotated[
    str | None, Parameter(help="not_retried, attempts_used or poison; why it was given up.")
]


def list_letters(
    *,
    tenant: Tenant = None,
    pool: Pool = None,
    reason: Reason = None,
    limit: Annotated[int, Parameter(help="At most so many.")] = 50,
    cursor: Annotated[str | None, Parameter(help="next_cursor of the page before.")] = None,
    door: Door = HERE,
) -> int:
    """List dead letters, newest first. `orch status ID` shows the evidence of one."""
    from orch.client import calls

    page = door.ask(
        calls.dead_letters(tenant=tenant, pool=pool, reason=reason, limit=limit, cursor=cursor)
    )
    if page is None:
        return ExitCode.OK
    emit_table(
        ("JOB", "DIED", "REASON", "OUTCOME", "ATTEMPTS", "POOL", "NAME"),
        [
            (
                one.job_id,
                at(one.died_at_ms),
                one.reason,
                one.outcome.value,
                str(one.attempts),
                one.pool,
                one.name,
            )
            for one in page.dead_letters
        ],
    )
    if page.next_cursor is not None:
        say(f"more: --cursor {page.next_cursor}")
    return ExitCode.OK


def replay(
    *job_ids: Annotated[str, Parameter(name="ID", help="Dead letters by job id.")],
    all_letters: Annotated[
        bool, Parameter(name="--all", negative="", help="Every letter the filters fit, one page.")
    ] = False,
    tenant: Tenant = None,
    pool: Pool = None,
    reason: Reason = None,
    dry_run: Annotated[
        bool, Parameter(name="--dry-run", negative="", help="Only say which ones it would be.")
    ] = False,
    door: Door = HERE,
) -> int:
    """Try dead letters again, each as a new job; both name each other. Exit 1 when one was refused."""
    from orch.client import calls

    if bool(job_ids) == all_letters:
        raise Refused(ErrorCode.INVALID_REQUEST, "give job ids, or --all with filters")
    which = {"tenant": tenant, "pool": pool, "reason": reason}
    with door.client() as client:
        call = calls.replay(list(job_ids) or None, None if job_ids else which, dry_run=dry_run)
        answer = client.send(call)
        made = client.read(call, answer)
        if door.as_json:
            emit_body(answer.body)
        else:
            for one in made.letters:
                became = one.replayed_as or ("would be replayed" if dry_run else "refused")
                emit(f"{one.job_id}  ->  {one.error.message if one.error else became}")
    return ExitCode.JOB_FAILED if any(one.error for one in made.letters) else ExitCode.OK
