"""How do submissions that arrive together share one call of admission? (group commit)

Who comes while nothing is asked, asks at once; who comes meanwhile waits for that answer and goes, with all
the others, into the next call. So an idle gateway adds no delay, and a busy one pays for a call, and for
its fsync, once for many. Each is answered for itself; one whose caller went away before its call began is
not submitted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

import anyio

from contracts import limits
from contracts.errors import Corrupt, ErrorCode, Refused, Unavailable
from contracts.record import Submitted
from orch.core.asks import Ask

Answer = Submitted | Refused
BACKLOG: Final = "gateway-backlog"
"""The rule by which a gateway refuses before it asks."""


class Counts(Protocol):
    """What became of submissions."""

    def turned_away(self, policy_label: str) -> None:
        """One was refused for load."""
        ...


class Admission(Protocol):
    """The one way in."""

    async def admit(self, asks: Sequence[Ask]) -> list[Answer]:
        """One answer for each ask, in order; a refusal is a value here."""
        ...

    @property
    def submissions(self) -> Counts:
        """Where submissions are counted that never got that far."""
        ...


class _Seat:
    """One ask in the line, and what its caller was told: an answer, or why there is none."""

    __slots__ = ("ask", "size", "told", "turn")

    def __init__(self, ask: Ask, size: int) -> None:
        self.ask, self.size = ask, size
        self.told: Answer | Exception | None = None
        self.turn: anyio.Event | None = None

    def tell(self, told: Answer | Exception) -> None:
        """Wakes the caller with it."""
        self.told = told
        self.call()

    def call(self) -> None:
        """Wakes the caller; untold, it is the one to ask for all who wait."""
        if self.turn is not None:
            self.turn.set()


class Gathering:
    """Admission for everybody, one call at a time."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._line: deque[_Seat] = deque()
        self._line_bytes = 0
        self._is_led = False

    async def admit(self, ask: Ask, *, size: int) -> Answer:
        """The answer to an ask whose document has `size` bytes.

        The ask should name its job id: a call that finds broken data is repeated in halves.

        Raises:
            Refused: RATE_LIMITED, when too much waits already; nothing was asked.
            Unavailable, Corrupt: as admission raises them.
        """
        seat = self._sit_down(ask, size)
        if self._is_led:
            await self._wait(seat)
        if seat.told is None:
            await self._lead()
        assert seat.told is not None, "who leads stands first in the line"
        if isinstance(seat.told, Submitted | Refused):
            return seat.told
        raise seat.told

    def _sit_down(self, ask: Ask, size: int) -> _Seat:
        many = len(self._line) >= limits.SUBMISSIONS_WAITING_MAX
        if many or self._line_bytes + size > limits.SUBMISSIONS_WAITING_BYTES_MAX:
            self._admission.submissions.turned_away(BACKLOG)
            raise Refused(
                ErrorCode.RATE_LIMITED,
                "too many submissions wait in this gateway",
                details={"waiting": len(self._line), "waiting_bytes": self._line_bytes},
                retry_after_ms=limits.RETRY_AFTER_MS_START,
                policy_label=BACKLOG,
            )
        seat = _Seat(ask, size)
        self._line.append(seat)
        self._line_bytes += size
        return seat

    async def _wait(self, seat: _Seat) -> None:
        seat.turn = anyio.Event()
        try:
            await seat.turn.wait()
        except BaseException:
            if seat in self._line:
                was_to_lead = seat.turn.is_set()
                self._line.remove(seat)
                self._line_bytes -= seat.size
                if was_to_lead:
                    self._pass_on()
            raise

    async def _lead(self) -> None:
        self._is_led = True
        seats = self._take()
        try:
            with anyio.CancelScope(shield=True):  # others wait for it; the store bounds it
                await self._ask(seats)
        finally:
            for seat in seats:
                if seat.told is None:
                    seat.tell(Unavailable(ErrorCode.UNAVAILABLE, "the gateway was stopped"))
            self._pass_on()

    def _pass_on(self) -> None:
        self._is_led = bool(self._line)
        if self._line:
            self._line[0].call()

    def _take(self) -> list[_Seat]:
        seats: list[_Seat] = []
        left = limits.SUBMISSIONS_BYTES_MAX
        while self._line and len(seats) < limits.BATCH_ITEMS_MAX:
            left -= self._line[0].size
            if seats and left < 0:
                break
            seats.append(self._line.popleft())
            self._line_bytes -= seats[-1].size
        return seats

    async def _ask(self, seats: Sequence[_Seat]) -> None:
        try:
            answers = await self._admission.admit([seat.ask for seat in seats])
        except Corrupt as error:
            if len(seats) == 1:
                seats[0].tell(error)
                return
            # One broken key must not cost strangers their answer.
            middle = len(seats) // 2
            await self._ask(seats[:middle])
            await self._ask(seats[middle:])
        except Exception as error:  # noqa: BLE001 - raised again by each who waits for it
            for seat in seats:
                seat.tell(error)
        else:
            for seat, answer in zip(seats, answers, strict=True):
                seat.tell(answer)
