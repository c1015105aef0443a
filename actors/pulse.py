"""Does the event loop turn, and how late does it wake who sleeps? Looked at once a second, to stay cheap."""

from __future__ import annotations

from typing import Final

import anyio

from orch.ports import Clock
from orch.telemetry.health import Health
from orch.telemetry.metrics import Metrics

BEAT_S: Final = 1.0


async def pulse(metrics: Metrics, clock: Clock, health: Health) -> None:
    """Measures until it is canceled; a body that keeps the loop for itself shows here."""
    lag = metrics.histogram("orch_event_loop_lag_seconds").labels()
    while True:
        due = anyio.current_time() + BEAT_S
        await clock.sleep_ms(1_000 * BEAT_S)
        lag.observe(max(0.0, anyio.current_time() - due))
        health.turned()
