"""One actor process, from its first connection to its farewell."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from importlib import import_module

import anyio
import anyio.to_thread
import structlog

from actors.body import Body, Place, further_stores, make_instance, make_store
from actors.instance import Stop, stop_on_signal
from actors.pulse import pulse
from contracts import metrics as words
from orch import __version__
from orch.settings import Settings
from orch.store.connection import Traffic
from orch.store.libraries import Libraries
from orch.store.store import Store
from orch.system import SystemClock, SystemIds, monotonic_s
from orch.telemetry import exemplars
from orch.telemetry.ends import Ends
from orch.telemetry.exemplars import exemplar
from orch.telemetry.health import Health
from orch.telemetry.logs import configure_logs
from orch.telemetry.metrics import Metrics
from orch.telemetry.redaction import secrets_in
from orch.telemetry.serve import telemetry_server
from orch.telemetry.subject import exemplar_of_task
from orch.telemetry.switch import open_traces
from orch.telemetry.traces import Traces

ROLES = words.ROLES


def _main_of(role: str) -> Callable[[Body], Awaitable[None]]:
    # By name, so that a process loads its own role only: FastAPI alone costs 0.3 s and 30 MB.
    run: Callable[[Body], Awaitable[None]] = import_module(f"actors.{role}.main").run
    return run


def log_renamed(settings: Settings) -> None:
    """Says which settings were given by an old name; once, when a process has set up its logs."""
    for warning in settings.renamed:
        structlog.get_logger().warning("setting_renamed", warning=warning)


def secrets_of(settings: Settings) -> frozenset[str]:
    """What no log line may hold: the server's password, and what http jobs may send."""
    sent = (os.environ.get(name, "") for name in settings.http_env_allowed)
    return secrets_in({}, *sent, urls=[settings.redis_url])


def _describe(metrics: Metrics, stores: Sequence[Store], role: str) -> None:
    """What the process's own connections and submissions come to, those of all its shards together."""
    metrics.gauge("orch_build_info").labels(version=__version__, role=role).set(1)
    marks = [store.connection.watermark for store in stores]
    metrics.counted_elsewhere(
        "orch_acked_writes_lost_total", lambda: sum(one.lost_writes for one in marks)
    )
    metrics.counted_elsewhere(
        "orch_server_restarts_total", lambda: sum(one.restarts for one in marks)
    )
    metrics.of_system()
    _tell_of_traffic(metrics, [store.connection.traffic for store in stores])
    came = [store.admission.submissions for store in stores]
    metrics.counted_by(
        "orch_admission_submissions_total", lambda: _sum(one.by_result for one in came)
    )
    metrics.counted_by(
        "orch_admission_refusals_total", lambda: _sum(one.refused_for_load for one in came)
    )
    metrics.counted_by("orch_admission_evictions_total", lambda: _sum(one.evicted for one in came))


def _ends(traces: Traces, store: Store) -> Ends:
    ends = Ends(traces, store.reading)
    store.connection.ended = ends.put
    return ends


def _sum(counters: Iterable[Counter[str]]) -> Counter[str]:
    return sum(counters, Counter[str]())


def _tell_of_traffic(metrics: Metrics, traffics: Sequence[Traffic]) -> None:
    metrics.counted_elsewhere(
        "orch_redis_round_trips_total", lambda: sum(one.round_trips for one in traffics)
    )
    metrics.counted_elsewhere(
        "orch_redis_retries_total", lambda: sum(one.retries for one in traffics)
    )
    metrics.counted_by("orch_redis_failures_total", lambda: _sum(one.failures for one in traffics))
    seconds = metrics.histogram("orch_redis_call_seconds")
    timed = {call: seconds.labels(call=call) for call in words.CALLS}
    other = timed["other"]

    def took(verb: str, duration_s: float) -> None:
        timed.get(verb, other).observe(duration_s, exemplar())

    for traffic in traffics:
        traffic.now, traffic.took = monotonic_s, took


async def run_role(
    role: str, settings: Settings, place: Place, *, announce: Callable[[int], None]
) -> None:
    """Runs one of ROLES until SIGTERM or SIGINT; `announce` gets its metrics port.

    Raises:
        Refused: INVALID_CONFIG, without a Redis URL.
    """
    configure_logs(settings.log_level, actor=role, secrets=secrets_of(settings))
    log_renamed(settings)
    clock, ids, metrics, stop = SystemClock(), SystemIds(), Metrics(), Stop()
    health = Health(clock, runs_bodies=role == "runner")
    store = make_store(settings, actor=role)
    further = further_stores(role, settings)
    stores = [store, *further.values()]
    instance = make_instance(role, settings, ids)
    traces = open_traces(role, instance.instance_id, os.environ)
    exemplars.use(None if traces is None else exemplar_of_task)
    ends = () if traces is None else tuple(_ends(traces, one) for one in stores)
    libraries = Libraries(store.connection)
    body = Body(
        settings, store, clock, ids, health, metrics, stop, instance, place, traces, ends, further,
        libraries,
    )  # fmt: skip
    _describe(metrics, stores, role)
    health.told_by(metrics)
    with telemetry_server(
        settings.metrics_host, settings.metrics_port, metrics.registry, health
    ) as port:
        async with anyio.create_task_group() as tasks:
            await tasks.start(stop_on_signal, stop)
            tasks.start_soon(pulse, metrics, clock, health)
            announce(port)
            await _main_of(role)(body)
            tasks.cancel_scope.cancel()
    for one in stores:
        await one.connection.aclose()
    if traces is not None:
        await anyio.to_thread.run_sync(traces.close)
