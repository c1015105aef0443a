"""Which servers are refused, which are only warned of, and what is said where a server does not tell."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.abc
import pytest

from contracts.errors import ErrorCode, Refused, Unavailable
from orch.store.connection import Connection
from orch.store.engine import find_engine
from orch.store.examination import examine, meet, ungreeted
from orch.store.fitness import judge, refuse_unfit
from orch.store.library import library
from orch.system import SystemClock
from tests.store.cluster import Node, free_port, node

pytestmark = pytest.mark.first_answers  # servers of its own, asked by sockets that are not Orch's

REDIS: Final[Mapping[str, Any]] = {
    "redis_version": "7.0.15", "aof_enabled": 1, "maxmemory_policy": "noeviction",
}  # fmt: skip
ALWAYS: Final = {"appendfsync": "always"}


def verdicts(
    info: Mapping[str, Any], config: Mapping[str, str] | None, **more: Any
) -> dict[str, str]:
    return {one.name: one.severity for one in judge(info, config, **more)}


@pytest.mark.req("DEP-2")
def test_a_server_that_keeps_everything_is_well() -> None:
    assert set(verdicts(REDIS, ALWAYS).values()) == {"ok"}
    refuse_unfit(judge(REDIS, ALWAYS))


@pytest.mark.req("DEP-2")
@pytest.mark.parametrize(
    "policy",
    ["allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu",
     "volatile-random", "volatile-ttl"],
)  # fmt: skip
def test_every_policy_that_evicts_is_refused_with_what_to_set(policy: str) -> None:
    found = judge({**REDIS, "maxmemory_policy": policy}, ALWAYS, ephemeral=True)
    with pytest.raises(Refused) as refused:
        refuse_unfit(found)
    assert refused.value.code is ErrorCode.DEPENDENCY_MISSING
    assert refused.value.entry.exit_code == 7
    assert f"eviction is {policy}, fix: Set maxmemory-policy noeviction" in refused.value.message
    assert "\n" not in refused.value.message


@pytest.mark.req("DEP-2")
@pytest.mark.parametrize(
    ("info", "severity"),
    [
        ({"redis_version": "6.2.14"}, "fail"),
        ({"redis_version": "7.0.0"}, "ok"),
        ({"redis_version": "8.2.1"}, "ok"),
        ({"redis_version": "7.2.4", "valkey_version": "7.2.4"}, "ok"),
        ({"redis_version": "7.2.4", "valkey_version": "9.1.2"}, "ok"),
        ({"redis_version": "7.2.4", "valkey_version": "7.1.9"}, "fail"),
        ({}, "warn"),
    ],
)
def test_a_server_is_refused_by_its_own_version_and_not_by_the_one_it_stands_for(
    info: Mapping[str, str], severity: str
) -> None:
    rest = {key: value for key, value in REDIS.items() if key != "redis_version"}
    assert verdicts({**rest, **info}, ALWAYS)["server"] == severity


@pytest.mark.req("DEP-2")
def test_without_an_append_only_file_it_is_refused_unless_somebody_said_so() -> None:
    info = {**REDIS, "aof_enabled": 0}
    assert verdicts(info, ALWAYS)["persistence"] == "fail"
    assert verdicts(info, ALWAYS, ephemeral=True) == {
        "server": "ok", "eviction": "ok", "persistence": "warn",
    }  # fmt: skip


@pytest.mark.req("DEP-2")
@pytest.mark.parametrize("word", ["everysec", "no"])
def test_a_slow_fsync_is_a_warning_that_says_what_may_be_lost(word: str) -> None:
    found = judge(REDIS, {"appendfsync": word})
    refuse_unfit(found)
    (fsync,) = [one for one in found if one.name == "fsync"]
    assert (fsync.severity, "acknowledged writes" in fsync.found) == ("warn", True)


@pytest.mark.req("DEP-2")
def test_what_nobody_tells_is_unknown_and_refuses_nobody() -> None:
    assert verdicts(REDIS, None) == {
        "server": "ok", "eviction": "ok", "persistence": "ok", "fsync": "warn",
    }  # fmt: skip
    silent = judge({}, None)
    refuse_unfit(silent)
    assert all("unknown" in one.found and one.fix for one in silent)


@pytest.mark.req("DEP-2")
def test_config_tells_what_an_info_leaves_out() -> None:
    config = {"appendonly": "no", "maxmemory-policy": "volatile-lru", **ALWAYS}
    assert verdicts({"redis_version": "7.0.15"}, config) == {
        "server": "ok", "eviction": "fail", "persistence": "fail",
    }  # fmt: skip


@asynccontextmanager
async def a_look(node: Node, login: str = "") -> AsyncIterator[Connection]:
    connection = ungreeted(f"redis://{login}127.0.0.1:{node.port}", SystemClock())
    try:
        yield connection
    finally:
        await connection.aclose()


@pytest.mark.req("DEP-2")
async def test_a_real_server_is_judged_as_it_is_set_and_nothing_is_written_to_it(
    tmp_path: Path,
) -> None:
    with node(find_engine(), tmp_path, "--appendonly", "yes", "--appendfsync", "always") as server:
        async with a_look(server) as connection:
            assert set(verdicts(*await meet(connection)).values()) == {"ok"}
            server.say("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
            server.say("CONFIG", "SET", "appendonly", "no")
            found = verdicts(*await meet(connection))
            assert {name for name, severity in found.items() if severity == "fail"} == {
                "eviction", "persistence",
            }  # fmt: skip
        assert server.say("DBSIZE") == 0
        assert server.say("FUNCTION", "LIST") == []


@pytest.mark.req("DEP-2")
async def test_a_server_whose_config_is_forbidden_or_renamed_is_judged_by_info(
    tmp_path: Path,
) -> None:
    words = ("--appendonly", "yes", "--rename-command", "CONFIG", "hidden")
    with node(find_engine(), tmp_path / "a", *words) as server:
        async with a_look(server) as connection:
            info, config = await meet(connection)
    assert config is None
    assert verdicts(info, config) == {
        "server": "ok", "eviction": "ok", "persistence": "ok", "fsync": "warn",
    }  # fmt: skip
    with node(find_engine(), tmp_path / "b", "--appendonly", "no") as server:
        server.say("ACL", "SETUSER", "guest", "on", ">pw", "+info", "+acl|whoami")
        async with a_look(server, "guest:pw@") as connection:
            info, config = await meet(connection)
        assert config is None
        assert verdicts(info, config)["persistence"] == "fail"


@pytest.mark.req("DEP-2")
async def test_users_that_orch_ships_are_not_made_to_ask_what_they_may_not(tmp_path: Path) -> None:
    with node(find_engine(), tmp_path, "--appendonly", "yes") as server:
        server.say("ACL", "SETUSER", "orch-x", "on", ">pw", "+info", "+acl|whoami", "+time")
        async with a_look(server, "orch-x:pw@") as connection:
            assert (await meet(connection))[1] is None
            said = await examine(connection)
        assert (said.user, said.config, said.libraries) == ("orch-x", None, None)
        assert server.say("ACL", "LOG") == []


@pytest.mark.req("CLI-3")
async def test_an_examination_tells_the_clock_and_the_libraries_of_orch_only(
    tmp_path: Path,
) -> None:
    with node(find_engine(), tmp_path, "--appendonly", "yes") as server:
        foreign = "redis.register_function('foreign', function() return 1 end)"
        server.say("FUNCTION", "LOAD", f"#!lua name=somebody\n{foreign}")
        async with a_look(server) as connection:
            before = await examine(connection)
            await connection.load()
            after = await examine(connection)
    assert before.libraries == ()
    assert after.libraries == (library().name,)
    assert after.user == "default"
    assert abs(after.skew_ms) <= after.doubt_ms + 50


async def test_a_server_that_is_away_is_unavailable_and_not_refused() -> None:
    connection = Connection(
        f"redis://127.0.0.1:{free_port()}", SystemClock(), deadline_ms=200, greets=False
    )
    with pytest.raises(Unavailable):
        await meet(connection)
    await connection.aclose()


OLD: Final = b"# Server\r\nredis_version:6.2.14\r\naof_enabled:1\r\nmaxmemory_policy:noeviction\r\n"


@asynccontextmanager
async def a_server_that_says(*infos: bytes) -> AsyncIterator[str]:
    """Its address; it tells one INFO after the other, the last for ever, and knows no other command."""
    left = list(infos)

    async def answer(client: anyio.abc.SocketStream) -> None:
        async with client:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while asked := await client.receive():
                    info = left[0] if len(left) == 1 else left.pop(0)
                    told = b"$%d\r\n%s\r\n" % (len(info), info)
                    await client.send(told if b"INFO" in asked else b"-ERR unknown command\r\n")

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, answer)
        yield f"redis://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()
    await listener.aclose()


READING: Final = b"\r\n".join(
    [b"redis_version:7.0.15", b"loading:1", b"aof_enabled:0", b"maxmemory_policy:noeviction", b""]
)


@pytest.mark.req("DEP-2")
async def test_a_server_that_reads_its_data_is_judged_when_it_has() -> None:
    # While it reads the file it does not write to it, and says that it has none.
    ready = READING.replace(b"loading:1", b"loading:0").replace(b"enabled:0", b"enabled:1")
    async with a_server_that_says(READING, READING, ready) as url:
        connection = ungreeted(url, SystemClock())
        assert verdicts(*await meet(connection))["persistence"] == "ok"
        await connection.aclose()
    async with a_server_that_says(READING) as url:
        connection = ungreeted(url, SystemClock(), deadline_ms=150)
        with pytest.raises(Unavailable, match="reading its data"):
            await meet(connection)
        await connection.aclose()


@pytest.mark.req("DEP-2")
async def test_an_old_server_is_refused_by_its_version_before_it_meets_a_command_it_lacks() -> None:
    async with a_server_that_says(OLD) as url:
        connection = ungreeted(url, SystemClock())
        found = judge(*await meet(connection))
        await connection.aclose()
    with pytest.raises(
        Refused, match=r"server is redis 6\.2\.14, fix: Use valkey 7\.2 or redis 7\.0"
    ):
        refuse_unfit(found)
