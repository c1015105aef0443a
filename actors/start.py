"""One actor process, from its first connection to its farewell."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from importlib import import_module

import anyio
import anyio.to_thread

from actors.body import Body, Place, make_instance, make_store
from actors.instance import Stop, stop_on_signal
from orch import __version__
from orch.settings import Settings
from orch.store.store import Store
from orch.system import SystemClock, SystemIds
from orch.telemetry.health import Health
from orch.telemetry.logs import configure_logs
from orch.telemetry.metrics import Metrics
from orch.telemetry.redaction import secrets_in
from orch.telemetry.serve import telemetry_server
from orch.telemetry.switch import open_traces

ROLES = ("admission", "scheduler", "runner", "reaper", "fallback", "notifier", "gateway")


def _main_of(role: str) -> Callable[[Body], Awaitable[None]]:
    # By name, so that a process loads its own role only: FastAPI alone costs 0.3 s and 30 MB.
    run: Callable[[Body], Awaitable[None]] = import_module(f"actors.{role}.main").run
    return run


def secrets_of(settings: Settings) -> frozenset[str]:
    """What no log line may hold: the server's password, and what http jobs may send."""
    sent = (os.environ.get(name, "") for name in settings.http_env_allowed)
    return secrets_in({}, *sent, urls=[settings.redis_url])


def _describe(metrics: Metrics, store: Store, role: str) -> None:
    metrics.gauge("orch_build_info").labels(version=__version__, role=role).set(1)
    watermark = store.connection.watermark
    metrics.counted_elsewhere("orch_acked_writes_lost_total", lambda: watermark.lost_writes)
    metrics.counted_elsewhere("orch_server_restarts_total", lambda: watermark.restarts)
    admission = store.admission
    metrics.counted_by("orch_admission_refusals_total", lambda: admission.refused_for_load)
    metrics.counted_by("orch_admission_evictions_total", lambda: admission.evicted)


async def run_role(
    role: str, settings: Settings, place: Place, *, announce: Callable[[int], None]
) -> None:
    """Runs one of ROLES until SIGTERM or SIGINT; `announce` gets its metrics port.

    Raises:
        Refused: INVALID_CONFIG, without a Redis URL.
    """
    configure_logs(settings.log_level, actor=role, secrets=secrets_of(settings))
    clock, ids, metrics, stop = SystemClock(), SystemIds(), Metrics(), Stop()
    health = Health(clock)
    store = make_store(settings, actor=role)
    instance = make_instance(role, settings, ids)
    traces = open_traces(role, instance.instance_id, os.environ)
    body = Body(settings, store, clock, ids, health, metrics, stop, instance, place, traces)
    _describe(metrics, store, role)
    with telemetry_server(
        settings.metrics_host, settings.metrics_port, metrics.registry, health
    ) as port:
        async with anyio.create_task_group() as tasks:
            await tasks.start(stop_on_signal, stop)
            announce(port)
            await _main_of(role)(body)
            tasks.cancel_scope.cancel()
    await store.connection.aclose()
    if traces is not None:
        await anyio.to_thread.run_sync(traces.close)
