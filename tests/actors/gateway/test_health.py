"""Alive, ready, numbers (API-1)."""

from __future__ import annotations

import anyio
import pytest

from contracts.errors import ErrorCode, Unavailable
from tests.actors.gateway.house import QUICK, running


@pytest.mark.req("API-1")
async def test_a_gateway_without_redis_is_alive_and_not_ready() -> None:
    async with running() as house:
        ready = await house.http.get("/readyz")
        house.store.away = True
        alive = await house.http.get("/livez")
        unready = await house.http.get("/readyz")

        assert (ready.status_code, ready.json()) == (
            200,
            {"ready": True, "checks": {"draining": "ok", "redis": "ok"}},
        )
        assert (alive.status_code, alive.json()) == (200, {"live": True})
        assert unready.status_code == 503
        assert unready.json()["ready"] is False
        assert unready.json()["checks"] == {"draining": "ok", "redis": "Redis cannot be reached"}
        assert unready.json()["code"] == "UNAVAILABLE"


@pytest.mark.req("API-1")
async def test_further_checks_are_named_and_one_that_hangs_is_not_waited_for() -> None:
    async def old_library() -> None:
        raise Unavailable(ErrorCode.UNAVAILABLE, "the library is another version")

    checks = {"library": old_library, "disk": anyio.sleep_forever}
    async with running(timing=QUICK, checks=checks) as house:
        unready = await house.http.get("/readyz")

        assert unready.json()["checks"] == {
            "disk": "no answer within 200 ms",
            "draining": "ok",
            "library": "the library is another version",
            "redis": "ok",
        }


@pytest.mark.req("API-1", "API-5")
async def test_a_gateway_that_drains_is_not_ready() -> None:
    async with running() as house:
        house.gateway.drain()

        unready = await house.http.get("/readyz")

        assert (unready.status_code, unready.json()["ready"]) == (503, False)


@pytest.mark.req("API-1")
async def test_metrics_are_in_prometheus_text() -> None:
    async with running() as house:
        answer = await house.http.get("/metrics")

        assert answer.headers["content-type"].startswith("text/plain")
        assert "orch_test_total 1.0" in answer.text
