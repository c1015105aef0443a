"""The users of the actors in ops/redis/users.acl, as a real server loads the file: what each is denied."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError, ResponseError
from redis.retry import Retry

from contracts.metrics import ROLES as ACTORS
from ops.rights import ROLES, commands_of, within
from orch.store.connection import Connection
from orch.store.engine import engines, find_engine
from orch.store.keys import Keys
from orch.store.leases import Instance, Leases
from orch.store.library import library
from orch.system import SystemClock
from tests.store.cluster import Node, node, primaries
from tests.store.engines import why_absent

pytestmark = pytest.mark.first_answers  # a server of its own
USERS: Final = Path(__file__).parents[2] / "ops" / "redis" / "users.acl"
KEYS: Final = Keys(0)
NAMES: Final = (*(f"orch-{role}" for role in ROLES), "orch-actors")
REAL: Final = [name for name in ("valkey", "redis") if not why_absent(name)]

REMOVE_LIBRARIES: Final = ("orch-reaper", "orch-actors")
OF_REAPERS: Final = (("FUNCTION", "LIST"), ("FUNCTION", "DELETE", "x"))
DENIED: Final[list[tuple[Any, ...]]] = [
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("CONFIG", "GET", "requirepass"),
    ("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"),
    ("KEYS", "*"),
    ("ACL", "LIST"),
    ("ACL", "SETUSER", "me", "+@all"),
    ("EVAL", "return 1", 0),
    ("FUNCTION", "FLUSH"),
    ("MONITOR",),
    ("SHUTDOWN",),
    ("CLIENT", "LIST"),
    ("REPLICAOF", "NO", "ONE"),
    ("RESTORE", KEYS.job("x"), 0, "x"),
    ("PUBLISH", "x", "y"),
    ("SWAPDB", 0, 1),
    # A key of somebody else, by a command that all of them have.
    ("HGET", "theirs", "field"),
    ("HGETALL", "{orch:0}"),
    ("FCALL", library().function("beat"), 1, "theirs", "x"),
]


def login(server: Node, name: str) -> redis.Redis:
    return redis.Redis(
        port=server.port, username=name, password="change-me", decode_responses=True, protocol=2,
        retry=Retry(NoBackoff(), 0), driver_info=None,
    )  # fmt: skip


@pytest.fixture(scope="module", params=REAL)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Node]:
    program = next(engine for engine in engines() if engine.name == request.param)
    home = tmp_path_factory.mktemp(request.param)
    with node(program, home, "--aclfile", str(USERS)) as started:
        yield started


@pytest.mark.req("DEP-2")
def test_the_file_has_a_user_for_each_role_and_one_for_a_supervised_stack(server: Node) -> None:
    assert set(ROLES) == set(ACTORS) - {"supervisor"}
    loaded = {line.split()[1] for line in server.say("ACL", "LIST")}
    assert loaded == {"default", "orch-ops", "orch-producer", *NAMES}


@pytest.mark.req("DEP-2", "SEC-3")
@pytest.mark.parametrize("name", NAMES)
async def test_each_may_live_as_an_instance_and_nothing_of_it_is_denied(
    server: Node, name: str
) -> None:
    server.say("ACL", "LOG", "RESET")
    url = f"redis://{name}:change-me@127.0.0.1:{server.port}"
    connection = Connection(url, SystemClock())
    word = name.removeprefix("orch-")
    role: Any = word if word in ROLES else "supervisor"
    pool, slots = ("default", 1) if role == "runner" else ("", 0)
    instance = Instance(f"{role}-1", role, {"lease_ms": 15_000}, pool=pool, slots=slots)
    try:
        leases = Leases(connection)
        await leases.register(instance)
        assert await leases.beat(instance.instance_id)
        await leases.leave(instance.instance_id)
    finally:
        await connection.aclose()
    assert server.say("ACL", "LOG") == []


@pytest.mark.req("DEP-2", "SEC-3")
@pytest.mark.parametrize("name", NAMES)
def test_each_is_denied_what_it_has_no_use_for(server: Node, name: str) -> None:
    with login(server, "orch-actors") as loader:
        loader.execute_command("FUNCTION", "LOAD", "REPLACE", library().code)
    with login(server, name) as client:
        assert client.execute_command("ACL", "WHOAMI") == name
        for command in DENIED if name in REMOVE_LIBRARIES else (*DENIED, *OF_REAPERS):
            with pytest.raises(NoPermissionError):
                client.execute_command(*command)


def test_who_removes_libraries_may_do_no_more_than_that(server: Node) -> None:
    for name in REMOVE_LIBRARIES:
        with login(server, name) as client:
            client.execute_command("FUNCTION", "LIST")
            with pytest.raises(NoPermissionError):
                client.execute_command("FUNCTION", "FLUSH")


APART: Final = [
    ("notifier", "admit"),
    ("notifier", "retire"),
    ("fallback", "repair"),
    ("runner", "repair"),
]


@pytest.mark.req("SEC-3")
@pytest.mark.parametrize(("role", "verb"), APART)
def test_a_function_of_another_role_needs_commands_that_a_role_does_not_have(
    role: str, verb: str
) -> None:
    assert within(verb) - commands_of([ROLES[role]]), "then nothing keeps them apart"


@pytest.mark.req("SEC-3")
def test_a_function_stops_where_its_caller_lacks_a_command(server: Node) -> None:
    with login(server, "orch-actors") as loader:
        loader.execute_command("FUNCTION", "LOAD", "REPLACE", library().code)
        repair = ("FCALL", library().function("repair"), 1, KEYS.prefix, "0", 10, "{}")
    with (
        login(server, "orch-notifier") as client,
        pytest.raises(ResponseError, match=r"can't run this command|ACL failure"),
    ):
        client.execute_command(*repair)


@pytest.mark.req("DEP-2", "SEC-3")
async def test_on_a_cluster_a_user_finds_its_shard_and_nothing_is_denied(tmp_path: Path) -> None:
    with primaries(find_engine(), tmp_path, "--aclfile", str(USERS)) as nodes:
        url = nodes.url.replace("://", "://orch-reaper:change-me@")
        connection = Connection(url, SystemClock())
        try:
            assert await Leases(connection).beats() == {}
        finally:
            await connection.aclose()
        assert [one.say("ACL", "LOG") for one in nodes.nodes] == [[], [], []]
