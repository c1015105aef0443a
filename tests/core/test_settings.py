"""Which value wins, what is refused, and that every default has its attribute (CFG-1, CFG-2, CFG-3)."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from contracts.defaults import DEFAULTS
from contracts.errors import ErrorCode, Refused
from orch.settings import Settings, config_path, home_path, load_settings, settings_of


@pytest.mark.req("CFG-1")
def test_every_default_is_an_attribute_of_settings_and_nothing_else_is() -> None:
    names = [f.name for f in fields(Settings)]
    assert names == [*DEFAULTS, "origins", "renamed"]


@pytest.mark.req("CFG-1")
@pytest.mark.parametrize("key", DEFAULTS)
def test_every_default_lies_within_its_own_bounds(key: str) -> None:
    row = DEFAULTS[key]
    settings = settings_of({key: row.value})
    assert (settings.value(key), settings_of({}).origin(key)) == (row.value, "default")


@pytest.mark.req("CFG-3")
def test_flag_beats_environment_beats_project_beats_home_beats_default(tmp_path: Path) -> None:
    home, project = tmp_path / "home", tmp_path / "project.toml"
    home.mkdir()
    (home / "orch.toml").write_text("slots = 1\nrunners = 1\nport = 1\nshard = 1\n")
    project.write_text("slots = 2\nrunners = 2\nport = 2\n")
    settings = load_settings(
        home=home,
        config=project,
        environ={"ORCH_SLOTS": "3", "ORCH_RUNNERS": "3"},
        flags={"slots": "4"},
    )
    keys = ("slots", "runners", "port", "shard", "lease_ms")
    assert {key: (settings.value(key), settings.origin(key)) for key in keys} == {
        "slots": (4, "flag --slots"),
        "runners": (3, "environment ORCH_RUNNERS"),
        "port": (2, str(project)),
        "shard": (1, str(home / "orch.toml")),
        "lease_ms": (15_000, "default"),
    }


@pytest.mark.req("CFG-3")
def test_an_unset_flag_and_an_empty_variable_leave_the_value_alone(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path, environ={"ORCH_SLOTS": ""}, flags={"port": None})
    assert (settings.slots, settings.port) == (16, 0)
    assert settings.origin("slots") == "default"


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("a,b", ("a", "b")),
        (" a , b ", ("a", "b")),
        ("a", ("a",)),
    ],
)
def test_a_list_is_comma_separated_words_in_the_environment(
    words: str, values: tuple[str, ...], tmp_path: Path
) -> None:
    assert load_settings(home=tmp_path, environ={"ORCH_POOLS": words}).pools == values


def test_hosts_are_names_with_stars_addresses_and_networks_and_variables_may_be_none() -> None:
    words = ["*.example.com", "10.0.0.0/8", "::1", "fd00::/8", "model-1"]
    settings = settings_of({"http_hosts_allowed": words, "http_env_allowed": []})
    assert settings.http_hosts_allowed == tuple(words)
    assert (settings.http_env_allowed, settings_of({}).http_hosts_allowed) == ((), ("*",))
    with pytest.raises(Refused):
        settings_of({"http_hosts_allowed": []})


@pytest.mark.req("CFG-2")
@pytest.mark.parametrize(
    ("key", "word"),
    [
        ("slots", "0"),
        ("slots", "1001"),
        ("slots", "many"),
        ("slots", "1.5"),
        ("slots", "9" * 5_000),
        ("slots", "\N{ARABIC-INDIC DIGIT THREE}"),
        ("appendfsync", "sometimes"),
        ("redis_url", "http://example.org"),
        ("redis_url", "redis://[half"),
        ("pools", "a,,b"),
        ("pools", "a,a"),
        ("pools", "a:b"),
        ("classes", "fast"),
        ("classes", "fast:0"),
        ("classes", "fast:x"),
        ("classes", "fast:1,fast:2"),
        ("classes", ",".join(f"c{n}:1" for n in range(9))),
        ("default_class", "slow"),
        ("backoff_ms", "60001"),
        ("pool", "../etc"),
        ("http_hosts_allowed", "http://x"),
        ("http_hosts_allowed", "a b"),
        ("http_env_allowed", "A-B"),
        ("http_env_allowed", ",".join(f"V{n}" for n in range(65))),
        ("host", "orch.example"),
        ("host", "0.0.0.0"),
        ("host", "::"),
        ("host", "127.0.0.1.evil.example"),
        ("auth", "maybe"),
        ("plaintext", "perhaps"),
        ("allowed_hosts", "a:80"),
        ("allowed_hosts", "a,a"),
        ("tls_cert", "cert.pem"),
        ("tls_key", "key.pem"),
        ("http_rate", "-1"),
        ("connections_max", "0"),
    ],
)
def test_a_bad_value_is_refused_with_key_value_bound_and_place(
    key: str, word: str, tmp_path: Path
) -> None:
    with pytest.raises(Refused) as refused:
        load_settings(home=tmp_path, environ={f"ORCH_{key.upper()}": word})
    assert refused.value.code is ErrorCode.INVALID_CONFIG
    details = refused.value.details or {}
    assert (details["key"], details["origin"]) == (key, f"environment ORCH_{key.upper()}")
    assert details["bound"] in refused.value.message
    assert len(refused.value.message) < 500


@pytest.mark.req("CFG-2")
@pytest.mark.parametrize(
    ("toml", "key"),
    [
        ("slot = 1", "slot"),
        ("slots = true", "slots"),
        ("slots = '1'", "slots"),
        ("slots = 1.0", "slots"),
        ("pools = 'a,,b'", "pools"),
        ("pools = [1]", "pools"),
        ("pools = []", "pools"),
        ("host = 1", "host"),
        ("log_level = ['info']", "log_level"),
        ("[limits]\nslots = 1", "limits"),
        ("slots = ", "$"),
        ("slots = 1\nslots = 2", "$"),
    ],
)
def test_a_bad_file_is_refused_with_its_path(toml: str, key: str, tmp_path: Path) -> None:
    file = tmp_path / "orch.toml"
    file.write_text(toml)
    with pytest.raises(Refused) as refused:
        load_settings(home=tmp_path, environ={})
    assert refused.value.code is ErrorCode.INVALID_CONFIG
    assert refused.value.details is not None
    assert (refused.value.details["key"], refused.value.details["origin"]) == (key, str(file))


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"# " + b"x" * 2**20 + b"\n"])
def test_a_file_that_is_no_text_or_endless_is_refused(raw: bytes, tmp_path: Path) -> None:
    (tmp_path / "orch.toml").write_bytes(raw)
    with pytest.raises(Refused, match=r"orch\.toml"):
        load_settings(home=tmp_path, environ={})


@pytest.mark.req("CFG-2")
def test_a_misspelt_variable_is_refused_and_the_right_one_named(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"environment ORCH_SLOT\b.*did you mean slots"):
        load_settings(home=tmp_path, environ={"ORCH_SLOT": "1"})


@pytest.mark.parametrize(
    "name",
    [
        "ORCH_JOB_ID",
        "ORCH_TOKEN",
        "ORCH_SERVICE_HOST",
        "ORCH_PORT_6379_TCP_ADDR",
        "ORCH_TEST_SEED",
        "PATH",
    ],
)
def test_names_that_agents_kubernetes_and_tests_use_are_no_settings(
    name: str, tmp_path: Path
) -> None:
    assert load_settings(home=tmp_path, environ={name: "x"}) == settings_of({})


def test_the_port_variable_of_a_kubernetes_service_is_not_our_port(tmp_path: Path) -> None:
    assert load_settings(home=tmp_path, environ={"ORCH_PORT": "tcp://10.0.0.1:80"}).port == 0


def test_a_project_file_that_is_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="ORCH_CONFIG"):
        config_path(None, {"ORCH_CONFIG": str(tmp_path / "none.toml")})
    assert config_path(None, {"ORCH_CONFIG": str(Path(__file__))}) == Path(__file__)


@pytest.mark.req("SEC-2")
def test_a_password_is_never_shown() -> None:
    settings = settings_of({"redis_url": "redis://me:hunter2@db:6379/0"})
    assert settings.shown("redis_url") == "redis://me:***@db:6379/0"
    assert "hunter2" not in repr(settings)
    with pytest.raises(Refused) as refused:
        settings_of({"redis_url": "ftp://me:hunter2@db"})
    assert "hunter2" not in str(refused.value.body())


@pytest.mark.parametrize(
    ("flag", "environ", "home"),
    [
        ("/f", {"ORCH_HOME": "/e", "XDG_STATE_HOME": "/x"}, "/f"),
        (None, {"ORCH_HOME": "/e", "XDG_STATE_HOME": "/x"}, "/e"),
        (None, {"XDG_STATE_HOME": "/x"}, "/x/orch"),
        (None, {"XDG_STATE_HOME": "relative"}, "~/.local/state/orch"),
        (None, {}, "~/.local/state/orch"),
    ],
)
def test_the_home_is_the_flag_the_variable_or_the_state_directory(
    flag: str | None, environ: dict[str, str], home: str
) -> None:
    assert home_path(flag, environ) == Path(home).expanduser()
