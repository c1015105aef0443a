"""Alive, ready, numbers (API-1)."""

from __future__ import annotations

import anyio
import pytest

from contracts.errors import ErrorCode, Unavailable
from orch.system import SystemClock
from orch.telemetry.health import Health
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
        house.shards.drain()

        unready = await house.http.get("/readyz")

        assert (unready.status_code, unready.json()["ready"]) == (503, False)


@pytest.mark.req("API-1")
async def test_metrics_are_in_prometheus_text() -> None:
    async with running() as house:
        answer = await house.http.get("/metrics")

        assert answer.headers["content-type"].startswith("text/plain")
        assert "orch_test_total 1.0" in answer.text


@pytest.mark.req("API-1", "MET-1")
async def test_metrics_are_in_openmetrics_for_who_accepts_it_and_count_this_gateways_answers() -> (
    None
):
    async with running() as house:
        await house.http.get("/v1/jobs")
        await house.http.get("/nowhere")
        for probe in ("/livez", "/readyz", "/metrics"):
            await house.http.get(probe)
        accept = {"Accept": "application/openmetrics-text"}
        answer = await house.http.get("/metrics", headers=accept)

        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        assert answer.text.endswith("# EOF\n")
        assert 'orch_http_responses_total{status="2xx"} 1.0' in answer.text
        assert 'orch_http_responses_total{status="4xx"} 1.0' in answer.text
        assert "orch_http_request_seconds_count 2.0" in answer.text


@pytest.mark.req("API-1", "MET-5")
async def test_a_gateway_with_a_stuck_loop_is_not_ready_and_names_it() -> None:
    health = Health(SystemClock())
    health.expect("ping", stale_ms=0)
    health.expect("beat")
    async with running(health=health) as house:
        unready = await house.http.get("/readyz")
        health.rests("ping")
        ready = await house.http.get("/readyz")

        assert (unready.status_code, unready.json()["checks"]["cycles"]) == (503, "stuck: ping")
        assert (ready.status_code, ready.json()["checks"]["cycles"]) == (200, "ok")


@pytest.mark.req("MET-5")
async def test_the_servers_own_loop_is_a_cycle_of_the_gateway() -> None:
    health = Health(SystemClock())
    async with running(health=health):
        with anyio.fail_after(5):
            while "http" not in health.ages_ms():
                await anyio.sleep(0.01)
        assert health.ready()
