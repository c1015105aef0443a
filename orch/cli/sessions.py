"""`orch session`: sessions that have live jobs, and who runs or waits in one."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from contracts.errors import ExitCode
from orch.cli.door import HERE, Door
from orch.cli.output import emit, emit_table, say
from orch.cli.render import at

Tenant = Annotated[str | None, Parameter(help="Of this tenant only.")]


def list_sessions(
    *,
    tenant: Tenant = None,
    limit: Annotated[int, Parameter(help="At most so many.")] = 50,
    cursor: Annotated[str | None, Parameter(help="next_cursor of the page before.")] = None,
    door: Door = HERE,
) -> int:
    """List sessions that have live jobs, the one that got a job last first."""
    from orch.client import calls

    page = door.ask(calls.sessions(tenant=tenant, limit=limit, cursor=cursor))
    if page is None:
        return ExitCode.OK
    emit_table(
        ("SESSION", "TENANT", "LIVE", "RUNNING"),
        [
            (one.session, one.tenant, str(one.live_jobs), one.running or "-")
            for one in page.sessions
        ],
    )
    if page.next_cursor is not None:
        say(f"more: --cursor {page.next_cursor}")
    return ExitCode.OK


def show(
    session: Annotated[str, Parameter(name="ID", help="The session.")],
    /,
    *,
    tenant: Annotated[str | None, Parameter(help="Its tenant, if it is not `default`.")] = None,
    door: Door = HERE,
) -> int:
    """Show the live jobs of a session in their order, and who runs."""
    from orch.client import calls

    found = door.ask(calls.session(session, tenant=tenant))
    if found is None:
        return ExitCode.OK
    emit(f"{found.session} of {found.tenant}: {found.running or 'no job'} runs")
    emit_table(
        ("JOB", "STATE", "POOL", "CLASS", "CREATED", "NAME"),
        [
            (one.job_id, one.state.value, one.pool, one.priority, at(one.created_at_ms), one.name)
            for one in found.jobs
        ],
    )
    return ExitCode.OK
