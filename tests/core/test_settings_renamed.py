"""A setting that got a new name: its old one works on everywhere, and is warned of once (CFG-2)."""

from __future__ import annotations

from pathlib import Path

import pytest
import structlog

from actors.start import log_renamed
from contracts import defaults
from contracts.errors import Refused
from orch.cli.output import say_renamed
from orch.settings import Settings, load_settings

OLD: dict[str, str] = {"lanes": "slots", "quiet_ms": "lease_ms", "queues": "pools"}


def load(tmp_path: Path, project: str = "", **given: dict[str, str]) -> Settings:
    """Settings as they would be if OLD stood in `contracts.defaults.RENAMED`."""
    (tmp_path / "project.toml").write_text(project)
    return load_settings(
        flags=given.get("flags"),
        home=tmp_path / "home",
        config=tmp_path / "project.toml",
        environ=given.get("environ", {}),
        renamed=OLD,
    )


@pytest.mark.req("CFG-2")
def test_an_old_key_works_in_a_file_the_environment_and_as_a_flag(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        project="lanes = 3\n",
        environ={"ORCH_QUIET_MS": "5000"},
        flags={"queues": "a,b"},
    )
    assert (settings.slots, settings.lease_ms, settings.pools) == (3, 5_000, ("a", "b"))
    assert settings.origin("lease_ms") == "environment ORCH_QUIET_MS"
    assert settings.renamed == (
        f"lanes ({tmp_path / 'project.toml'}) is now called slots",
        "quiet_ms (environment ORCH_QUIET_MS) is now called lease_ms",
        "queues (flag --queues) is now called pools",
    )


@pytest.mark.req("CFG-2", "CFG-3")
@pytest.mark.parametrize(
    ("above", "below"), [("lanes", "slots"), ("slots", "lanes"), ("lanes", "lanes")]
)
def test_precedence_is_that_of_the_places_whatever_the_names(
    above: str, below: str, tmp_path: Path
) -> None:
    settings = load(tmp_path, f"{below} = 3\n", environ={f"ORCH_{above.upper()}": "4"})
    assert settings.slots == 4


@pytest.mark.req("CFG-2")
def test_beside_its_new_name_in_one_place_the_old_one_is_ignored_and_says_so(
    tmp_path: Path,
) -> None:
    settings = load(tmp_path, environ={"ORCH_LANES": "3", "ORCH_SLOTS": "5"})
    assert settings.slots == 5
    assert settings.renamed == (
        "lanes (environment ORCH_LANES) is now called slots, and is ignored: slots is given too",
    )


@pytest.mark.req("CFG-2")
def test_a_bad_value_under_an_old_name_is_refused_where_it_stands(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        load(tmp_path, environ={"ORCH_LANES": "0"})
    assert refused.value.message.startswith("slots = '0' (environment ORCH_LANES)")


@pytest.mark.req("CFG-2")
def test_a_file_that_is_project_and_home_at_once_warns_once(tmp_path: Path) -> None:
    (tmp_path / "orch.toml").write_text("lanes = 3\n")
    file = tmp_path / "orch.toml"
    settings = load_settings(home=tmp_path, config=file, environ={}, renamed=OLD)
    assert len(settings.renamed) == 1


@pytest.mark.req("CFG-2")
def test_people_are_told_once_on_stderr_and_in_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = load(tmp_path, "lanes = 3\n")
    say_renamed(settings.renamed)
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"warning: {settings.renamed[0]}\n")
    with structlog.testing.capture_logs() as logs:
        log_renamed(settings)
    assert [(one["event"], one["warning"]) for one in logs] == [
        ("setting_renamed", settings.renamed[0])
    ]


@pytest.mark.req("CFG-2")
def test_without_an_alias_an_old_name_is_an_unknown_key(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="a known key"):
        load_settings(home=tmp_path, environ={"ORCH_LANES": "3"})
    assert not set(OLD) & set(defaults.RENAMED)
