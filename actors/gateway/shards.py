"""Which shard is a request about?

A gateway may answer for several shards. A token leads to the shard that knows it, so a tenant's callers need
to know nothing of shards. Who may see everybody's jobs, or where no tokens are asked for, names the shard in
the header Orch-Shard, or means the first. No answer mixes what two shards hold.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import anyio
from starlette.types import Scope

from actors.gateway.permits import Identity
from actors.gateway.register import REMEMBERED_MAX, unauthenticated
from actors.gateway.services import Commons, Gateway, Services
from contracts.errors import ErrorCode, OrchError, Refused, Unavailable
from contracts.ids import is_shard
from contracts.limits import SHARD_MAX

HEADER: Final = "Orch-Shard"
_HEADER: Final = HEADER.lower().encode()


class Shards:
    """The shards of one gateway process, the first of them first."""

    def __init__(self, services: Services) -> None:
        self.commons = Commons(services)
        self._gates = {services.shard: Gateway(services, self.commons)}
        for shard, store in services.further.items():
            # Its own loop is judged for the first shard alone: health knows one loop by one name.
            its = replace(services, store=store, shard=shard, further={}, health=None)
            self._gates[shard] = Gateway(its, self.commons)
        self._hints: OrderedDict[int, int] = OrderedDict()
        """Where a token was found the last time; it is asked for there first, and trusted no further."""
        self.commons.figures.watches(
            streams=lambda: self.commons.streams.taken,
            jobs=lambda: sum(gate.hub.watched for gate in self),
        )

    def __iter__(self) -> Iterator[Gateway]:
        return iter(self._gates.values())

    @property
    def first(self) -> Gateway:
        """The shard of who names none."""
        return next(iter(self))

    @property
    def asks_for_tokens(self) -> bool:
        """Whether callers need one."""
        return self.first.register is not None

    def gate(self, shard: int | None) -> Gateway:
        """The shard of that number; the first for None.

        Raises:
            Refused: INVALID_REQUEST, a shard that this gateway does not answer for.
        """
        if shard is None:
            return self.first
        if shard not in self._gates:
            known = ", ".join(str(one) for one in self._gates)
            raise Refused(
                ErrorCode.INVALID_REQUEST,
                f"{HEADER}: this gateway answers for shard {known}, not for {shard}",
                details={"path": HEADER, "shards": list(self._gates)},
            )
        return self._gates[shard]

    async def known(self, header: str | None, named: int | None) -> tuple[Identity, Gateway]:
        """Who shows this Authorization header, and the shard that is asked.

        Raises:
            Refused: UNAUTHENTICATED, LEASE_OVER; FORBIDDEN, a token that is bound to another shard than the
                one named; INVALID_REQUEST, a shard that nobody answers for here.
            Unavailable: no shard knows it, and one could not be asked.
        """
        gate = None if named is None else self.gate(named)
        caller, home = await self._found(header)
        if gate is None or gate is home:
            return caller, home
        if caller.tenant is not None or caller.job_id is not None:
            raise Refused(
                ErrorCode.FORBIDDEN,
                f"this token is good for shard {home.services.shard} alone",
                hint=f"Leave out the header {HEADER}: the token leads to its shard.",
            )
        return caller, gate

    async def _found(self, header: str | None) -> tuple[Identity, Gateway]:
        if len(self._gates) == 1:
            return await _identity(self.first, header), self.first
        key = hash(header)
        hinted = self._gates.get(self._hints.get(key, -1))
        if hinted is not None:
            try:
                return await _identity(hinted, header), hinted
            except Refused:
                self._hints.pop(key, None)
        return await self._searched(key, header)

    async def _searched(self, key: int, header: str | None) -> tuple[Identity, Gateway]:
        """Asks all shards at once; who was found before is not held up by a shard that does not answer."""
        found: list[tuple[Identity, Gateway]] = []
        refused: list[OrchError] = []

        async def ask(gate: Gateway) -> None:
            try:
                found.append((await _identity(gate, header), gate))
            except OrchError as error:
                refused.append(error)

        async with anyio.create_task_group() as tasks:
            for gate in self:
                tasks.start_soon(ask, gate)
        if not found:
            raise _gravest(refused)
        self._hints[key] = found[0][1].services.shard
        if len(self._hints) > REMEMBERED_MAX:
            self._hints.popitem(last=False)
        return found[0]

    def turned(self) -> None:
        """The server's own loop came round; once a second."""
        health = self.first.services.health
        if health is not None:
            health.cycled("http")

    def drain(self) -> None:
        """Not ready from now on; every open stream ends where it stands, to be resumed elsewhere."""
        self.commons.draining.set()
        for gate in self:
            gate.hub.resync()


async def _identity(gate: Gateway, header: str | None) -> Identity:
    if gate.register is None:
        raise unauthenticated()
    return await gate.register.identity_of(header)


def _gravest(refused: list[OrchError]) -> OrchError:
    """Of all shards' answers the one to tell: a shard that gave none might have known the token."""
    unasked = [error for error in refused if isinstance(error, Unavailable)]
    return (unasked or refused)[0]


def shard_named(scope: Scope) -> int | None:
    """The number in the header; None without one.

    Raises:
        Refused: INVALID_REQUEST, no number of a shard, or two headers.
    """
    found = [value for name, value in scope["headers"] if name == _HEADER]
    if not found:
        return None
    if len(found) == 1 and is_shard(found[0].decode("latin-1")):
        return int(found[0])
    raise Refused(
        ErrorCode.INVALID_REQUEST,
        f"{HEADER}: one number from 0 to {SHARD_MAX}",
        details={"path": HEADER},
    )
