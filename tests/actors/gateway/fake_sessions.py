"""Sessions that a test wrote down, behind the gateway."""

from __future__ import annotations

from collections.abc import Callable

from contracts.errors import ErrorCode, Refused
from contracts.record import SessionList, SessionRecord, SessionSummary


class FakeSessions:
    """Sessions of the jobs that the store was told of by hand."""

    def __init__(self, called: Callable[[str], None]) -> None:
        self._called = called
        self.known: dict[tuple[str, str], SessionRecord] = {}

    async def page(self, *, tenant: str | None, limit: int, cursor: str | None) -> SessionList:
        self._called("page")
        fits = [
            SessionSummary(
                session=one.session, tenant=one.tenant, live_jobs=len(one.jobs), running=one.running
            )
            for one in self.known.values()
            if tenant in {None, one.tenant}
        ]
        return SessionList(sessions=fits[:limit], next_cursor=None)

    async def show(self, tenant: str, session: str) -> SessionRecord:
        self._called("show")
        if (tenant, session) not in self.known:
            raise Refused(ErrorCode.NOT_FOUND, f"session {session} has no live job")
        return self.known[tenant, session]
