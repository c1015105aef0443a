"""The images and the compose files say what they must, and every setting that they name exists."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from actors.__main__ import _parser
from actors.start import ROLES
from contracts.defaults import DEFAULTS, LOCATIONS
from contracts.spec import parse_spec
from orch import __version__
from tests.deploy.tools import program

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
DOCKERFILES = sorted(path.relative_to(ROOT).as_posix() for path in DOCKER.rglob("Dockerfile"))
COMPOSES = sorted(path.relative_to(ROOT).as_posix() for path in DOCKER.rglob("compose.yaml"))
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = YAML(typ="safe").load((DOCKER / "compose.yaml").read_text())
BESIDE: dict[str, Any] = YAML(typ="safe").load(
    (DOCKER / "examples" / "sidecar" / "compose.yaml").read_text()
)
KNOWN = {row.env for row in DEFAULTS.values()} | set(LOCATIONS)
ACTORS = {name for name, service in COMPOSE["services"].items() if "orch:" in service["image"]}


@pytest.mark.req("DEP-1")
@pytest.mark.parametrize("name", ["docker/Dockerfile", "docker/healthy", *COMPOSES])
def test_every_setting_that_a_container_gets_exists(name: str) -> None:
    text = (ROOT / name).read_text()
    named = set(
        re.findall(r"\bORCH_[A-Z_]+\b(?!\})", re.sub(r"\$\{(?!ORCH_METRICS)[^}]*\}", "", text))
    )
    assert named
    assert named <= KNOWN, sorted(named - KNOWN)


@pytest.mark.req("DEP-1")
@pytest.mark.parametrize("compose", [COMPOSE, BESIDE], ids=["house", "sidecar"])
def test_every_actor_of_a_compose_file_is_called_as_it_can_be(compose: dict[str, Any]) -> None:
    ours = [s for s in compose["services"].values() if s["image"].startswith("orch")]
    assert ours
    for service in ours:
        assert _parser().parse_args(service["command"]).command in ROLES


# ---------------------------------------------------------------- the image


@pytest.mark.req("DEP-1")
def test_the_image_runs_as_nobody_in_particular_with_an_init_and_a_health_check() -> None:
    last = DOCKERFILE.rpartition("\nFROM python")[2]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    entry = '["/usr/bin/tini", "--", "/opt/orch/bin/python", "-P", "-m", "actors"]'
    assert f"\nENTRYPOINT {entry}\n" in last
    assert re.search(r"^HEALTHCHECK .*\"/opt/orch/bin/healthy\"", last, re.MULTILINE)
    assert "--require-hashes" in DOCKERFILE
    assert "<<" not in DOCKERFILE, "a heredoc: older buildah has none"


@pytest.mark.req("DEP-1")
def test_nothing_that_is_made_of_the_time_comes_into_the_image() -> None:
    last = DOCKERFILE.rpartition("\nFROM python")[2]
    assert not re.search(r"\b(apt|apt-get|useradd|groupadd|pip install|curl|git|gcc)\b", last)
    assert "--invalidation-mode unchecked-hash" in DOCKERFILE
    assert "--no-compile" in DOCKERFILE


@pytest.mark.req("DEP-1")
def test_the_image_is_labeled_and_has_the_version_of_the_package() -> None:
    labels = set(re.findall(r"org\.opencontainers\.image\.([a-z.]+)=", DOCKERFILE))
    assert labels == {"title", "description", "licenses", "base.name", "version", "revision"}
    assert f"\nARG VERSION={__version__}\n" in DOCKERFILE


@pytest.mark.req("DEP-1")
def test_what_the_build_copies_is_let_through_and_nothing_else() -> None:
    copied = {
        word
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for word in line.split()[:-1]
    }
    let = (ROOT / ".dockerignore").read_text().splitlines()
    assert let[0] == "*"
    assert {line.removeprefix("!") for line in let if line.startswith("!")} == copied
    assert all((ROOT / name).exists() for name in copied)


@pytest.mark.req("DEP-1")
def test_agents_are_built_on_the_target_that_is_for_them() -> None:
    text = (DOCKER / "examples" / "agent" / "Dockerfile").read_text()
    assert re.search(r"^FROM \S+ AS agent$", DOCKERFILE, re.MULTILINE)
    assert "--target agent -t orch-agent:dev" in text
    assert "ARG BASE=orch-agent:dev" in text
    assert text.rpartition("\nFROM ")[2].startswith("${BASE}\n")


@pytest.mark.req("DEP-1")
@pytest.mark.parametrize("name", ["agent", "sidecar"])
def test_the_jobs_of_the_examples_are_valid_and_meet_their_agents(name: str) -> None:
    folder = DOCKER / "examples" / name
    spec = parse_spec(YAML(typ="safe").load((folder / "job.yaml").read_text()))
    config = dict(spec.adapter.config)
    if name == "agent":
        assert "/opt/agent/agent.py" in config["argv"]
        assert "COPY agent.py /opt/agent/agent.py" in (folder / "Dockerfile").read_text()
    else:
        assert spec.pool == BESIDE["services"]["runner"]["environment"]["ORCH_POOL"]
        assert config["url"].startswith("http://127.0.0.1:8700/")
        assert '\nCMD ["8700"]' in (folder / "Dockerfile").read_text()


# ---------------------------------------------------------------- compose


@pytest.mark.req("DEP-1")
def test_compose_runs_every_role_read_only_without_capabilities() -> None:
    assert {COMPOSE["services"][name]["command"][0] for name in ACTORS} == set(ROLES)
    found = [COMPOSE["services"][name] for name in ACTORS] + [*BESIDE["services"].values()]
    for service in found:
        assert service["read_only"], service
        assert service["cap_drop"] == ["ALL"], service
        assert service["security_opt"] == ["no-new-privileges:true"], service


@pytest.mark.req("DEP-1", "RUN-6")
def test_compose_gives_actors_more_time_to_end_than_they_may_take() -> None:
    grace_ms = DEFAULTS["grace_ms"].value
    assert isinstance(grace_ms, int)
    services = [COMPOSE["services"][name] for name in ACTORS] + [BESIDE["services"]["runner"]]
    for service in services:
        assert int(service["stop_grace_period"].removesuffix("s")) > (2 * grace_ms + 3_000) / 1_000


@pytest.mark.req("DEP-1", "DEP-2")
def test_what_is_published_is_published_on_loopback_and_valkey_keeps_what_it_promised() -> None:
    for service in (*COMPOSE["services"].values(), *BESIDE["services"].values()):
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), service
    command = COMPOSE["services"]["valkey"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options["--appendfsync"] == "always"
    assert options["--maxmemory-policy"] == "noeviction"
    assert COMPOSE["networks"]["inside"]["internal"]


@pytest.mark.req("DEP-1")
def test_agents_of_compose_reach_the_gateway_by_a_name_that_it_takes() -> None:
    services = COMPOSE["services"]
    for runner in (services["runner"], BESIDE["services"]["runner"]):
        assert runner["command"] == ["runner", "--url", "http://gateway:8080"]
    assert services["gateway"]["environment"]["ORCH_ALLOWED_HOSTS"] == "gateway"
    assert services["gateway"]["environment"]["ORCH_PORT"] == "8080"


@pytest.mark.req("DEP-1")
def test_a_runner_beside_an_agent_shares_its_network_starts_after_it_and_stops_before_it() -> None:
    runner = BESIDE["services"]["runner"]
    assert runner["network_mode"] == "service:agent"
    assert runner["depends_on"] == {"agent": {"condition": "service_healthy"}}
    assert BESIDE["networks"]["house"] == {"external": True, "name": f"{COMPOSE['name']}_inside"}
    assert BESIDE["volumes"]["blobs"] == {"external": True, "name": f"{COMPOSE['name']}_blobs"}


@pytest.mark.req("DEP-1")
def test_prometheus_scrapes_every_actor_of_compose_and_grafana_has_our_dashboards() -> None:
    config = YAML(typ="safe").load((DOCKER / "prometheus.yaml").read_text())
    (job,) = config["scrape_configs"]
    assert set(job["dns_sd_configs"][0]["names"]) == ACTORS
    mounts = dict(one.split(":")[:2] for one in COMPOSE["services"]["grafana"]["volumes"])
    (provider,) = YAML(typ="safe").load((DOCKER / "grafana/dashboards/orch.yaml").read_text())[
        "providers"
    ]
    assert mounts["../ops/grafana/dashboards"] == provider["options"]["path"]
    assert list((ROOT / "ops/grafana/dashboards").glob("*.json"))
    (source,) = YAML(typ="safe").load((DOCKER / "grafana/datasources/prometheus.yaml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    for file in ("prometheus.yaml", "../ops/prometheus/rules.yaml"):
        assert any(one.startswith(("./", "../")) and one.split(":")[0].endswith(file.removeprefix("../"))
                   for one in COMPOSE["services"]["prometheus"]["volumes"])  # fmt: skip


# ---------------------------------------------------------------- linters


@pytest.mark.req("DEP-1")
@pytest.mark.parametrize("name", DOCKERFILES)
def test_hadolint_has_nothing_to_say(name: str) -> None:
    words = [program("hadolint"), str(ROOT / name)]
    said = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout) == (0, "")


@pytest.mark.req("DEP-1")
@pytest.mark.parametrize("name", COMPOSES)
def test_a_compose_file_fits_its_schema(name: str) -> None:
    words = [
        program("check-jsonschema"),
        "--builtin-schema",
        "vendor.compose-spec",
        str(ROOT / name),
    ]
    said = subprocess.run(words, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout
