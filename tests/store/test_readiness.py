"""What a production doctor says of a server: each fault planted alone, and nothing else told of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest

from contracts.limits import CLOCK_SKEW_MS_MAX, MIB
from orch.core.findings import Finding
from orch.store.examination import Examined
from orch.store.library import library
from orch.store.readiness import judge_server

URL: Final = "rediss://orch-actors:pw@redis.example:6380"
CONFIG: Final = {"appendfsync": "always", "hash-max-listpack-value": "1024"}
INFO: Final[dict[str, Any]] = {
    "redis_version": "7.2.4", "valkey_version": "9.1.2", "aof_enabled": 1,
    "maxmemory_policy": "noeviction", "maxmemory": 100 * MIB, "used_memory": 10 * MIB,
    "role": "master", "connected_slaves": 1,
}  # fmt: skip
SAID: Final = Examined(INFO, CONFIG, "orch-actors", 3, 1, (library().name,))


def judged(said: Examined = SAID, url: str = URL, **info: Any) -> dict[str, Finding]:
    found = judge_server(replace(said, info={**said.info, **info}), url)
    return {one.name: one for one in found}


@pytest.mark.req("CLI-3")
def test_a_server_that_is_as_it_should_be_is_well() -> None:
    assert {one.severity for one in judged().values()} == {"ok"}


def a_library(*names: str) -> Examined:
    return replace(SAID, libraries=names)


FAULTS: Final = [
    ("persistence", judged(aof_enabled=0), "fail", "appendonly yes"),
    ("eviction", judged(maxmemory_policy="allkeys-lru"), "fail", "noeviction"),
    ("server", judged(valkey_version="7.0.1"), "fail", "valkey 7.2"),
    ("fsync", judged(replace(SAID, config={**CONFIG, "appendfsync": "no"})), "warn", "always"),
    ("replicas", judged(connected_slaves=0), "warn", "Attach a replica"),
    ("replicas", judged(role="slave"), "fail", "primary"),
    ("memory", judged(maxmemory=0), "warn", "maxmemory"),
    ("memory", judged(used_memory=81 * MIB), "warn", "retention_ms"),
    (
        "listpack",
        judged(replace(SAID, config={**CONFIG, "hash-max-listpack-value": "64"})),
        "warn",
        "hash-max-listpack-value 1024",
    ),
    ("clock", judged(replace(SAID, skew_ms=-CLOCK_SKEW_MS_MAX - 2)), "fail", "NTP"),
    ("functions", judged(a_library()), "warn", "start one"),
    ("functions", judged(a_library("orch_other")), "warn", "start one"),
    ("functions", judged(replace(SAID, libraries=None)), "warn", "administrator"),
    (
        "functions",
        judged(a_library("orch_old", library().name)),
        "warn",
        "FUNCTION DELETE orch_old",
    ),
    ("transport", judged(url="redis://orch-actors:pw@redis.example"), "warn", "rediss"),
    ("user", judged(replace(SAID, user="default")), "warn", "users.acl"),
    ("user", judged(replace(SAID, user="somebody")), "warn", "Compare its rights"),
    (
        "user",
        judged(replace(SAID, user="default"), url="rediss://redis.example"),
        "fail",
        "users.acl",
    ),
]


@pytest.mark.req("CLI-3")
@pytest.mark.parametrize(("name", "found", "severity", "fix"), FAULTS)
def test_each_fault_is_the_only_one_and_has_a_fix(
    name: str, found: dict[str, Finding], severity: str, fix: str
) -> None:
    wrong = {one.name for one in found.values() if one.severity != "ok"}
    # Without an append-only file there is nothing to say of fsync.
    assert wrong == {name}
    assert found[name].severity == severity
    assert fix in found[name].fix


@pytest.mark.req("CLI-3")
def test_two_versions_are_a_rollout_and_three_are_leftovers() -> None:
    two = judged(a_library("orch_old", library().name))["functions"]
    three = judged(a_library("orch_old", "orch_older", library().name))["functions"]
    assert "a rollout" in two.found
    assert "a rollout" not in three.found
    assert "FUNCTION DELETE orch_old; FUNCTION DELETE orch_older" in three.fix


@pytest.mark.req("CLI-3")
def test_a_slow_answer_proves_no_skew() -> None:
    slow = replace(SAID, skew_ms=CLOCK_SKEW_MS_MAX + 100, doubt_ms=300)
    assert judged(slow)["clock"].severity == "ok"


@pytest.mark.req("CLI-3", "DEP-2")
@pytest.mark.parametrize(
    "url",
    [
        "unix:///run/valkey.sock",
        "redis://:pw@127.0.0.1:6379",
        "redis+cluster://:pw@localhost,127.0.0.2",
    ],
)
def test_on_this_machine_nothing_has_to_be_encrypted(url: str) -> None:
    assert judged(url=url)["transport"].severity == "ok"


def test_one_far_seed_makes_an_address_far() -> None:
    assert judged(url="redis+sentinel://localhost,far.example/orch")["transport"].severity == "warn"
