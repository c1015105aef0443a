"""The operators' ACL user of ops/redis/users.acl: it may write commands and read what became of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError
from redis.retry import Retry

from actors.scheduler.commands import Commands
from contracts.commands import CommandStatus
from orch.telemetry.metrics import Metrics
from tests.store.engines import Servers
from tests.store.world import World

USERS = Path(__file__).parents[2] / "ops" / "redis" / "users.acl"
PASSWORD = "change-me"
pytestmark = pytest.mark.parametrize("engine", ["valkey"], indirect=True)


def rules(name: str) -> list[str]:
    """What the file gives a user."""
    for line in USERS.read_text().splitlines():
        words = line.split()
        if words[:2] == ["user", name]:
            return words[2:]
    raise AssertionError(f"{USERS} has no user {name}")


@pytest.fixture
async def ops(world: World, servers: Servers, engine: str) -> Any:
    """A connection as that user."""
    await world.redis("ACL", "SETUSER", "orch-ops", "reset", *rules("orch-ops"))
    with redis.Redis.from_url(
        servers.url(engine), username="orch-ops", password=PASSWORD, decode_responses=True,
        retry=Retry(NoBackoff(), 0),
    ) as client:  # fmt: skip
        yield client
    await world.redis("ACL", "DELUSER", "orch-ops")


@pytest.mark.req("CTL-6")
async def test_an_operator_may_write_a_command_and_read_what_became_of_it(
    world: World, ops: redis.Redis
) -> None:
    await world.pool()
    keys = world.connection.keys
    ops.xadd(
        keys.control, {"v": "1", "id": "mine", "command": "drain", "target": "*", "args": "{}"}
    )
    await Commands(world.store, Metrics()).handle([])
    found: Any = ops.hgetall(keys.command("mine"))
    assert found["status"] == CommandStatus.DONE
    assert ops.hget(keys.desired, "*:drain") == "mine"
    assert len(ops.xrange(keys.acks)) == 2  # type: ignore[arg-type]  # no coroutine: the client is synchronous


@pytest.mark.req("CTL-6")
async def test_an_operator_may_touch_nothing_else(world: World, ops: redis.Redis) -> None:
    await world.pool()
    await world.submit("job")
    keys = world.connection.keys
    before = await world.contents()
    forbidden: list[tuple[Any, ...]] = [
        ("XADD", keys.requests, "*", "v", "1"),
        ("HSET", keys.desired, "*:drain", "x"),
        ("XDEL", keys.control, "1-1"),
        ("DEL", keys.control),
        ("XRANGE", keys.control, "-", "+"),
        ("HGETALL", keys.job("job")),
        ("FCALL", "apply", 1, keys.prefix),
        ("CONFIG", "GET", "*"),
        ("ACL", "LIST"),
        ("FLUSHALL",),
    ]
    for words in forbidden:
        with pytest.raises(NoPermissionError):
            ops.execute_command(*words)
    assert await world.contents() == before
