"""`python -m actors doctor` against a real server and a real home: faults planted there are told."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from jsonschema import Draft202012Validator
from redis.backoff import NoBackoff
from redis.retry import Retry

from actors.doctor import findings, tell
from orch.core.findings import Finding
from orch.settings import settings_of
from orch.store.library import library

SCHEMA = Path(__file__).parents[2] / "contracts" / "schemas" / "v1" / "doctor.json"
OF_THE_MACHINE = frozenset({"disk", "files"})
"""What is found depends on where the test runs; tests/core/test_premises.py plants it."""


@contextmanager
def set_to(url: str, **values: str) -> Iterator[None]:
    """The server's settings, for a while."""
    names = {key.replace("_", "-"): value for key, value in values.items()}
    with redis.Redis.from_url(url, decode_responses=True, retry=Retry(NoBackoff(), 0)) as server:
        before = {name: server.config_get(name)[name] for name in names}
        try:
            for name, value in names.items():
                server.config_set(name, value)
            yield
        finally:
            for name, value in before.items():
                server.config_set(name, value)


def told(
    url: str, home: Path, *, for_production: bool = False, **values: Any
) -> Mapping[str, Finding]:
    settings = settings_of({"redis_url": url, **values})
    return {one.name: one for one in findings(settings, home, for_production=for_production)}


def wrong(found: Mapping[str, Finding]) -> dict[str, str]:
    return {name: one.severity for name, one in found.items() if one.severity != "ok"}


@pytest.mark.req("CLI-3")
def test_a_server_that_is_set_well_has_nothing_wrong(server_url: str, tmp_path: Path) -> None:
    found = told(server_url, tmp_path)
    assert wrong(found) == {}
    assert {"home", "redis", "server", "eviction", "persistence", "fsync"} == set(found)


@pytest.mark.req("CLI-3", "DEP-2")
@pytest.mark.parametrize(
    ("values", "name", "severity"),
    [
        ({"appendfsync": "everysec"}, "fsync", "warn"),
        ({"appendfsync": "no"}, "fsync", "warn"),
        ({"maxmemory_policy": "volatile-ttl"}, "eviction", "fail"),
        ({"appendonly": "no"}, "persistence", "fail"),
    ],
)
def test_a_setting_that_breaks_a_promise_is_told(
    server_url: str, tmp_path: Path, values: dict[str, str], name: str, severity: str
) -> None:
    with set_to(server_url, **values):
        assert wrong(told(server_url, tmp_path)) == {name: severity}
    assert wrong(told(server_url, tmp_path)) == {}


@pytest.mark.req("CLI-3")
@pytest.mark.usefixtures("flush")
def test_for_production_it_looks_at_more(server_url: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    (tmp_path / "endpoint.json").write_text("{}")
    (tmp_path / "endpoint.json").chmod(0o644)
    with (
        set_to(server_url, hash_max_listpack_value="64", maxmemory="1gb"),
        redis.Redis.from_url(server_url, retry=Retry(NoBackoff(), 0)) as server,
    ):
        code = "redis.register_function('old', function() return 1 end)"
        server.function_load(f"#!lua name=orch_old\n{code}")
        server.function_load(library().code, replace=True)
        try:
            found = told(server_url, tmp_path, for_production=True)
        finally:
            server.function_delete("orch_old")
    of_us = {name: found for name, found in wrong(found).items() if name not in OF_THE_MACHINE}
    assert of_us == {
        "callers": "fail", "home rights": "fail", "secret files": "fail", "retention": "warn",
        "replicas": "warn", "listpack": "warn", "functions": "warn",
    }  # fmt: skip
    assert all(one.fix for one in found.values() if one.severity != "ok")
    assert "orch_old" in found["functions"].found


@pytest.mark.req("CLI-3", "CON-1")
@pytest.mark.parametrize("for_production", [False, True])
def test_its_report_keeps_its_schema_and_a_failure_is_exit_code_7(
    server_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], for_production: bool
) -> None:
    schema = Draft202012Validator(json.loads(SCHEMA.read_bytes()))
    settings = settings_of({"redis_url": server_url})
    code = tell(settings, tmp_path, as_json=True, for_production=for_production)
    document = json.loads(capsys.readouterr().out)
    schema.validate(document)
    # With auth = none a gateway is none for production.
    assert (code, document["ok"]) == ((7, False) if for_production else (0, True))
    names = [row["name"] for row in document["checks"]]
    assert len(names) == len(set(names))
    assert not schema.is_valid({**document, "checks": [{"name": "x", "ok": True}]})
    assert not schema.is_valid({"checks": []})


@pytest.mark.req("CLI-3")
def test_a_server_that_is_away_is_told_with_a_fix(tmp_path: Path) -> None:
    found = told(f"unix://{tmp_path}/nothing", tmp_path)
    assert wrong(found) == {"redis": "fail"}
    assert found["redis"].fix


@pytest.mark.req("CLI-3")
def test_without_an_address_it_looks_at_the_server_of_the_stack_in_the_home(
    server_url: str, tmp_path: Path
) -> None:
    def asked() -> set[str]:
        found = findings(settings_of({}), tmp_path, for_production=False)
        return {one.name for one in found}

    assert asked() == {"engine", "home"}
    endpoint = {"redis_url": server_url, "pid": os.getpid()}
    (tmp_path / "endpoint.json").write_text(json.dumps(endpoint))
    assert asked() > {"home", "redis", "fsync"}
    (tmp_path / "endpoint.json").write_text(json.dumps({**endpoint, "pid": 2**22}))
    assert asked() == {"engine", "home"}, "a stack that died left it behind"


@pytest.mark.req("CLI-3")
def test_a_running_stack_is_judged_by_what_it_was_told_and_not_by_our_own_settings(
    server_url: str, tmp_path: Path
) -> None:
    (tmp_path / "settings").mkdir()
    told_it = {"auth": "tokens", "retention_ms": 7_200_000}
    (tmp_path / "settings" / "x.json").write_text(json.dumps(told_it))
    endpoint = {"redis_url": server_url, "pid": os.getpid()}
    (tmp_path / "endpoint.json").write_text(json.dumps(endpoint))
    (tmp_path / "endpoint.json").chmod(0o600)
    looked = findings(settings_of({}), tmp_path, for_production=True)
    found = {one.name: one for one in looked}
    assert found["callers"].severity == "ok"
    assert found["retention"].found.endswith("2 hours (as the stack was told)")
    assert found["server choice"].severity == "ok", "its socket is in another home"
