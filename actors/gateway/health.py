"""Is this process alive, is it ready, and what do its numbers say? (API-1: /livez, /readyz, /metrics)

Alive asks nothing of Redis: an outage must not restart every gateway. Ready asks everything that a
request needs.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Final

import anyio
from fastapi import APIRouter, Request, Response
from prometheus_client.exposition import choose_encoder

from actors.gateway.answers import Gate, json_answer, open_refusals, refusals
from actors.gateway.errors import request_id_of
from actors.gateway.models import Alive, NotReady, Ready
from actors.gateway.services import Gateway
from actors.gateway.shards import Shards
from contracts.errors import ErrorCode, OrchError, Unavailable

router: Final = APIRouter(tags=["health"])
_REDIS: Final = re.compile(r"redis(-\d+)?\Z")


@router.get("/livez", response_model=Alive, responses=open_refusals())
async def get_liveness() -> Response:
    """The event loop turns."""
    return json_answer(Alive(live=True))


async def _verdict(check: Callable[[], Awaitable[None]], wait_ms: int) -> str:
    with anyio.move_on_after(wait_ms / 1000):
        try:
            await check()
        except OrchError as error:
            return error.message
        return "ok"
    return f"no answer within {wait_ms} ms"


async def _verdicts(shards: Shards) -> dict[str, str]:
    services = shards.first.services
    is_stopping = shards.commons.draining.is_set()
    verdicts = {"draining": "the gateway is stopping" if is_stopping else "ok"}
    if services.health is not None:
        stuck = services.health.stuck()
        verdicts["cycles"] = f"stuck: {', '.join(stuck)}" if stuck else "ok"

    async def judge(name: str, check: Callable[[], Awaitable[None]]) -> None:
        verdicts[name] = await _verdict(check, services.timing.check_wait_ms)

    async with anyio.create_task_group() as tasks:
        for name, gate in named(shards):
            tasks.start_soon(judge, name, gate.services.store.connection.ping)
        for name, check in services.checks.items():
            tasks.start_soon(judge, name, check)
    return dict(sorted(verdicts.items()))


def named(shards: Shards) -> Iterator[tuple[str, Gateway]]:
    """The check of each shard's server: redis, redis-1, redis-2."""
    for gate in shards:
        shard = gate.services.shard
        yield ("redis" if gate is shards.first else f"redis-{shard}"), gate


def is_ready(checks: Mapping[str, str]) -> bool:
    """All is well; but of several shards it is enough that one answers: callers of the others would be no
    better off if nobody was let in."""
    servers = [verdict for name, verdict in checks.items() if _REDIS.match(name)]
    others = [verdict for name, verdict in checks.items() if not _REDIS.match(name)]
    return "ok" in servers and all(verdict == "ok" for verdict in others)


@router.get(
    "/readyz",
    response_model=Ready,
    responses={
        **open_refusals(),
        503: {"model": NotReady, "description": "UNAVAILABLE: not ready."},
    },
)
async def get_readiness(request: Request) -> Response:
    """Redis answers (of several shards at least one), no loop is stuck, every further check holds, the
    gateway is not stopping."""
    checks = await _verdicts(request.app.state.shards)
    if is_ready(checks):
        return json_answer(Ready(ready=True, checks=checks))
    wrong = ", ".join(name for name, verdict in checks.items() if verdict != "ok")
    error = Unavailable(ErrorCode.UNAVAILABLE, f"not ready: {wrong}")
    body = {**error.body(request_id_of(request)), "ready": False, "checks": checks}
    return json_answer(NotReady.model_validate(body), status=503)


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        **refusals(),
        200: {
            "description": "Prometheus text format, or OpenMetrics for who asks for it.",
            "content": {
                "text/plain": {"schema": {"type": "string"}},
                "application/openmetrics-text": {"schema": {"type": "string"}},
            },
        },
    },
)
async def get_metrics(gate: Gate, request: Request) -> Response:
    """The numbers of this process."""
    encode, kind = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(gate.services.metrics.registry), media_type=kind)
