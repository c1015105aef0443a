"""The control plane over HTTP: the same commands and records as in the stream, over the real verbs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from actors.scheduler.commands import Commands
from orch.store.control import Control
from orch.store.pools import Pools
from orch.system import SystemClock
from orch.telemetry.metrics import Metrics
from tests.actors.gateway.house import House, running
from tests.sim.model.client import connect_model
from tests.sim.model.server import ModelServer
from tests.store.world import World


@asynccontextmanager
async def operated() -> AsyncIterator[tuple[House, World]]:
    """A gateway whose control plane is the real one, over a server with a pool and a runner."""
    connection = connect_model(ModelServer(SystemClock().wall_ms, "0" * 40), SystemClock())
    world = World(connection)
    await world.runner(slots=2)
    async with running() as house:
        house.store.control, house.store.pools = Control(connection), Pools(connection)
        yield house, world
    await connection.aclose()


async def applied(world: World) -> None:
    """As the scheduler does."""
    await Commands(world.store, Metrics()).handle([])


@pytest.mark.req("API-1", "CTL-1")
@pytest.mark.parametrize(
    ("verb", "body", "desired"),
    [
        ("drain", None, {"pool:default:drain"}),
        ("drain", {"deadline_ms": 5_000}, {"pool:default:drain", "pool:default:drain_by"}),
        ("undrain", None, set()),
        ("pause", None, {"pool:default:intake", "pool:default:dispatch"}),
        ("pause", {"what": "dispatch"}, {"pool:default:dispatch"}),
        ("resume", {"what": "both"}, set()),
        ("reload", None, {"reload"}),
    ],
)
async def test_a_pool_is_commanded_and_the_answer_leads_to_the_record(
    verb: str, body: Any, desired: set[str]
) -> None:
    async with operated() as (house, world):
        answer = await house.http.post(f"/v1/pools/default/{verb}", json=body or {})
        assert answer.status_code == 202, answer.text
        command_id = answer.json()["command_id"]
        record = (await house.http.get(f"/v1/control/{command_id}")).json()
        assert (record["status"], record["revision"]) == ("pushed", None)
        await applied(world)
        record = (await house.http.get(f"/v1/control/{command_id}")).json()
        assert (record["command"], record["target"], record["by"]) == (verb, "pool:default", "http")
        assert record["revision"] == 1
        found = await world.redis("HGETALL", world.connection.keys.desired)
        assert found.keys() == {*desired, "rev"}


@pytest.mark.req("API-1", "CTL-2")
async def test_any_command_is_pushed_under_an_id_of_the_callers_choice_once() -> None:
    async with operated() as (house, world):
        asked = {"id": "mine", "command": "pause", "target": "tenant:t", "args": {"what": "intake"}}
        answer = await house.http.post("/v1/control", json=asked)
        assert (answer.status_code, answer.json()) == (202, {"command_id": "mine"})
        again = await house.http.post("/v1/control", json=asked)
        assert (again.status_code, again.json()["code"]) == (409, "DUPLICATE_COMMAND")
        await house.http.post("/v1/control", json={**asked, "id": "late", "if_revision": 7})
        await applied(world)
        listed = (await house.http.get("/v1/control")).json()
        assert listed["revision"] == 1
        by_id = {one["command_id"]: one for one in listed["commands"]}
        assert by_id["mine"]["status"] == "done"
        assert by_id["late"]["error"]["code"] == "REVISION_CONFLICT"


@pytest.mark.req("API-1", "API-3")
@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/pools/typo/drain", {}, 404, "NOT_FOUND"),
        ("/v1/pools/default/drain", {"deadline_ms": -1}, 400, "INVALID_REQUEST"),
        ("/v1/pools/default/pause", {"what": "all"}, 400, "INVALID_REQUEST"),
        ("/v1/pools/a:b/drain", {}, 400, "INVALID_ID"),
        ("/v1/control", {"command": "explode"}, 400, "INVALID_REQUEST"),
        ("/v1/control", {"command": "kill-switch"}, 400, "INVALID_REQUEST"),
        ("/v1/control", {"command": "drain", "target": "host:x"}, 400, "INVALID_REQUEST"),
        ("/v1/control", {"command": "cancel", "args": {}}, 400, "INVALID_REQUEST"),
        ("/v1/control", {"command": "pause", "id": "a b"}, 400, "INVALID_REQUEST"),
        ("/v1/control", {"target": "*"}, 400, "INVALID_REQUEST"),
    ],
)
async def test_bad_input_is_refused_and_nothing_is_pushed(
    path: str, body: Any, status: int, code: str
) -> None:
    async with operated() as (house, world):
        answer = await house.http.post(path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert await world.store.control.waiting(most=9) == []
        assert (await world.store.control.commands(limit=9)).commands == []


@pytest.mark.req("API-1", "API-6")
async def test_pools_replica_sets_and_scale_say_what_stands_there() -> None:
    async with operated() as (house, world):
        await world.submit_many("job", 3)
        (pool,) = (await house.http.get("/v1/pools")).json()["pools"]
        assert (pool["pool"], pool["status"], pool["queued"]) == ("default", "ready", 3)
        health = (await house.http.get("/v1/pools/default/health")).json()
        assert (health["live"], health["ready"], health["slots"]) == (True, True, 2)
        (one,) = (await house.http.get("/v1/replicasets")).json()["replicasets"]
        assert (one["pool"], one["slots_total"], one["ready"]) == ("default", 2, True)
        assert (await house.http.get("/v1/scale/default")).json() == {"workload": 3}
        for path in ("/v1/pools/typo/health", "/v1/scale/typo", "/v1/control/nobody"):
            answer = await house.http.get(path)
            assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
