"""The image and the compose file say what they must, and every setting that they name exists."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from actors.start import ROLES
from contracts.defaults import DEFAULTS, LOCATIONS

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = YAML(typ="safe").load((ROOT / "docker" / "compose.yaml").read_text())
KNOWN = {row.env for row in DEFAULTS.values()} | set(LOCATIONS)
ACTORS = {name for name, service in COMPOSE["services"].items() if "orch:" in service["image"]}


def run_of(tool: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A linter's answer; skips where it is not installed."""
    found = shutil.which(tool)
    if found is None:
        pytest.skip(f"{tool} is not installed")
    return subprocess.run([found, *words], capture_output=True, text=True, check=False)


@pytest.mark.req("DEP-1")
@pytest.mark.parametrize("text", [DOCKERFILE, (ROOT / "docker" / "compose.yaml").read_text()])
def test_every_setting_that_a_container_gets_exists(text: str) -> None:
    named = set(re.findall(r"\bORCH_[A-Z_]+\b(?!\})", re.sub(r"\$\{[^}]*\}", "", text)))
    assert named
    assert named <= KNOWN, sorted(named - KNOWN)


@pytest.mark.req("DEP-1")
def test_the_image_runs_as_nobody_in_particular_with_an_init_and_a_health_check() -> None:
    last = DOCKERFILE.rpartition("\nFROM python")[2]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert re.search(
        r'^ENTRYPOINT \["/usr/bin/tini", "--", "python", "-m", "actors"\]$', last, re.M
    )
    assert re.search(r"^HEALTHCHECK ", last, re.MULTILINE)
    assert "--require-hashes" in DOCKERFILE
    assert "<<" not in DOCKERFILE, "a heredoc: older buildah has none"
    assert not re.search(r"\b(gcc|build-essential|curl|git)\b", last)


@pytest.mark.req("DEP-1")
def test_compose_runs_every_role_read_only_without_capabilities() -> None:
    assert {COMPOSE["services"][name]["command"][0] for name in ACTORS} == set(ROLES)
    for name in ACTORS:
        service = COMPOSE["services"][name]
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


@pytest.mark.req("DEP-1", "DEP-2")
def test_what_is_published_is_published_on_loopback_and_valkey_keeps_what_it_promised() -> None:
    for name, service in COMPOSE["services"].items():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), name
    command = COMPOSE["services"]["valkey"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options["--appendfsync"] == "always"
    assert options["--maxmemory-policy"] == "noeviction"
    assert COMPOSE["networks"]["inside"]["internal"]


@pytest.mark.req("DEP-1")
def test_prometheus_scrapes_every_actor_of_compose() -> None:
    config = YAML(typ="safe").load((ROOT / "docker" / "prometheus.yaml").read_text())
    (job,) = config["scrape_configs"]
    assert set(job["dns_sd_configs"][0]["names"]) == ACTORS


@pytest.mark.req("DEP-1")
def test_hadolint_has_nothing_to_say() -> None:
    said = run_of("hadolint", str(ROOT / "docker" / "Dockerfile"))
    assert (said.returncode, said.stdout) == (0, "")


@pytest.mark.req("DEP-1")
def test_the_compose_file_fits_its_schema() -> None:
    path = str(ROOT / "docker" / "compose.yaml")
    said = run_of("check-jsonschema", "--builtin-schema", "vendor.compose-spec", path)
    assert said.returncode == 0, said.stdout
