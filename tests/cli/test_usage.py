"""Wrong usage, and the commands that need no gateway (CLI-1, CLI-2, CFG-2, CFG-3)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Orch

# ---------------------------------------------------------------- usage


@pytest.mark.req("CLI-2")
@pytest.mark.parametrize(
    "words",
    [
        ["stat", "j1"],
        ["status"],
        ["status", "a", "b"],
        ["status", "j1", "--nope"],
        ["submit", "--nope"],
        ["submit", "--wait", "--nope"],
        ["status", "../j1"],
        ["list", "--limit", "many"],
        ["list", "--limit", "0"],
        ["list", "--state", "sleeping"],
        ["wait", "j1", "--timeout", "-1"],
        ["wait", "j1", "--timeout", "nan"],
        ["answer", "j1"],
        ["artifacts", "j1", "-o", "x"],
        ["status", "j1", "--url", "ftp://x"],
        ["status", "j1", "--url", "http://"],
        ["up", "--slots", "0"],
        ["up", "--nope", "1"],
        ["up", "--config", "/none.toml"],
        ["config", "nope"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_error_and_exit_6(orch: Orch, words: list[str]) -> None:
    human, machine = orch(*words), orch(*words, "--json")
    assert (human.code, human.out, len(human.err.splitlines())) == (6, "", 2)
    assert (machine.code, machine.err) == (6, "")
    assert set(json.loads(machine.out)) >= {"code", "message", "hint", "retriable", "request_id"}


def test_help_of_a_command_that_does_not_exist_is_wrong_usage(orch: Orch) -> None:
    ended = orch("nope", "--help")
    assert (ended.code, ended.out) == (6, "")


# ---------------------------------------------------------------- without a gateway


@pytest.mark.req("CFG-3")
def test_init_writes_files_that_are_read_and_overwrites_nothing(orch: Orch, tmp_path: Path) -> None:
    assert orch("init", str(tmp_path)).code == 0
    (tmp_path / "job.yaml").write_text("mine")
    again = orch("init", str(tmp_path))
    assert (again.code, (tmp_path / "job.yaml").read_text()) == (6, "mine")
    assert orch("init", str(tmp_path), "--force").code == 0
    assert (tmp_path / "job.yaml").read_text() != "mine"


@pytest.mark.req("CFG-3", "ADM-6")
def test_the_examples_of_init_are_valid_even_with_every_line_in_force(
    orch: Orch, tmp_path: Path
) -> None:
    from contracts.spec import parse_spec
    from orch.cli.documents import read_spec
    from orch.settings import load_settings, settings_of

    orch("init", str(tmp_path))
    assert parse_spec(read_spec(str(tmp_path / "job.yaml"))).name == "hello"
    toml = tmp_path / "orch.toml"
    lines = toml.read_text().splitlines()
    toml.write_text("\n".join(line.removeprefix("# ") for line in lines if " = " in line))
    settings = load_settings(config=toml, home=tmp_path / "none", environ={})
    assert settings.redis_url == "redis://127.0.0.1:6379/0"
    written = ("redis_url", "tls_cert", "tls_key")
    assert settings_of({key: settings.value(key) for key in written}) == settings


@pytest.mark.req("CFG-2")
def test_config_show_names_every_origin(orch: Orch, tmp_path: Path) -> None:
    (tmp_path / "orch.toml").write_text("slots = 3\nredis_url = 'redis://u:pw@h'\n")
    ended = orch("config", "show", "--origin", "--json", "--home", str(tmp_path))
    document = json.loads(ended.out)
    origin = str(tmp_path / "orch.toml")
    assert document["slots"] == {"value": 3, "origin": origin}
    assert document["redis_url"] == {"value": "redis://u:***@h", "origin": origin}
    assert document["port"] == {"value": 0, "origin": "default"}
    plain = orch("config", "show", "--json", "--home", str(tmp_path))
    assert json.loads(plain.out)["slots"] == 3
    human = orch("config", "show", "--origin", "--home", str(tmp_path))
    assert ["slots", "3", origin] in [line.split() for line in human.out.splitlines()]


def test_version_says_which(orch: Orch) -> None:
    import orch as package

    assert orch("version").out == f"orch {package.__version__}\n"
    assert orch("--version").out == f"orch {package.__version__}\n"
    assert json.loads(orch("version", "--json").out)["version"] == package.__version__
