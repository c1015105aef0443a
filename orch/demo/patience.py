"""A client that asks again while the gateway is away: any process of the stack may be restarted meanwhile.

Everything the demo sends may be sent twice: it reads, or it names its job itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from typing_extensions import override

from contracts.errors import Unavailable
from orch.client import Answer, Orch
from orch.client.calls import Call
from orch.client.endpoint import Endpoint
from orch.ports import Clock

T = TypeVar("T")
PATIENCE_MS: Final = 15_000
PAUSE_MS: Final = 100


class PatientOrch(Orch):
    """As `Orch`, but a call is repeated for a while before Unavailable is raised; unless `is_vain()`."""

    def __init__(self, endpoint: Endpoint, clock: Clock, is_vain: Callable[[], bool]) -> None:
        super().__init__(endpoint, clock=clock)
        self._pauses = clock
        self._is_vain = is_vain

    @override
    async def send(self, call: Call[T]) -> Answer:
        until_ms = self._pauses.monotonic_ms() + PATIENCE_MS
        while True:
            try:
                return await super().send(call)
            except Unavailable:
                if self._is_vain() or self._pauses.monotonic_ms() >= until_ms:
                    raise
            await self._pauses.sleep_ms(PAUSE_MS)
