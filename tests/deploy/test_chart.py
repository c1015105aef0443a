"""The chart: rendered by real Helm where it is installed, its names and values checked everywhere."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from actors.start import ROLES
from contracts.defaults import DEFAULTS, LOCATIONS
from orch import __version__

CHART = Path(__file__).resolve().parents[2] / "charts" / "orch"
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES: dict[str, Any] = YAML(typ="safe").load((CHART / "values.yaml").read_text())
CASES = sorted(path.name for path in (CHART / "ci").glob("*.yaml"))
KNOWN = {row.env for row in DEFAULTS.values()} | set(LOCATIONS)
KUBERNETES = ("1.29.0", "1.33.0", "1.37.0")
CUSTOM = {"PodMonitor", "PrometheusRule", "ScaledObject"}


def values_of(case: str) -> dict[str, Any]:
    """The values of a case under ci/."""
    read: dict[str, Any] = YAML(typ="safe").load((CHART / "ci" / case).read_text())
    return read


def rendered(values: dict[str, Any]) -> dict[str, str]:
    """Template to text; skips without Helm."""
    if importlib.util.find_spec("helm_python") is None:
        pytest.skip("helm-python-sdk is not installed")
    helm = importlib.import_module("helm_python")
    return dict(helm.Chart.load(str(CHART)).render(values, name="demo", namespace="ns"))


def documents(values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every manifest."""
    for name, text in rendered(values).items():
        if not name.endswith(".txt"):
            yield from (one for one in YAML(typ="safe").load_all(text) if one)


def pods(values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The pod of every workload."""
    for one in documents(values):
        if one["kind"] in {"Deployment", "StatefulSet"}:
            yield one["spec"]["template"]["spec"]


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """What a pod runs, but for an agent that somebody else brings."""
    return [c for c in [*pod.get("initContainers", ()), *pod["containers"]] if c["name"] != "agent"]


@pytest.mark.req("DEP-1")
def test_the_chart_has_the_version_of_the_package() -> None:
    chart = YAML(typ="safe").load((CHART / "Chart.yaml").read_text())
    assert (chart["appVersion"], chart["version"]) == (__version__, __version__)


@pytest.mark.req("DEP-1", "CFG-1")
def test_every_setting_that_the_chart_names_exists() -> None:
    text = "".join(path.read_text() for path in sorted((CHART / "templates").glob("*")))
    named = {name for name in re.findall(r"\bORCH_[A-Z_]+\b", text) if name != "ORCH_"}
    named |= {
        f"ORCH_{key.upper()}" for case in CASES for key in values_of(case).get("settings", {})
    }
    assert named
    assert named <= KNOWN, sorted(named - KNOWN)


@pytest.mark.req("DEP-1")
@pytest.mark.parametrize("case", ["values.yaml", *CASES])
def test_the_values_fit_their_schema(case: str) -> None:
    values = VALUES if case == "values.yaml" else values_of(case)
    assert list(Draft202012Validator(SCHEMA).iter_errors(values)) == []


@pytest.mark.req("DEP-1")
def test_every_value_of_the_chart_is_in_the_schema_and_the_other_way_round() -> None:
    assert set(VALUES) | {"global"} == set(SCHEMA["properties"])
    assert {"gateway", "runner", *VALUES["roles"]} == set(ROLES)


@pytest.mark.req("DEP-1")
@pytest.mark.parametrize(
    "typo", [{"gatewai": {}}, {"runners": [{"slots": 1}]}, {"settings": {"ORCH_SLOTS": 1}}]
)
def test_a_typo_is_refused(typo: dict[str, Any]) -> None:
    assert list(Draft202012Validator(SCHEMA).iter_errors(typo))


@pytest.mark.req("DEP-1")
@pytest.mark.parametrize("case", CASES)
def test_helm_renders_it_and_kubernetes_takes_it(case: str, tmp_path: Path) -> None:
    texts = rendered(values_of(case))
    tool = shutil.which("kubernetes-validate")
    if tool is None:
        pytest.skip("kubernetes-validate is not installed")
    for number, text in enumerate(one for name, one in texts.items() if not name.endswith(".txt")):
        kinds = {one["kind"] for one in YAML(typ="safe").load_all(text) if one}
        if not kinds or kinds & CUSTOM:
            continue
        path = tmp_path / f"{number}.yaml"
        path.write_text(text)
        for version in KUBERNETES:
            said = subprocess.run(
                [tool, "--strict", "-k", version, str(path)], capture_output=True, text=True, check=False
            )  # fmt: skip
            assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.req("DEP-1")
@pytest.mark.parametrize("case", CASES)
def test_every_pod_is_locked_down(case: str) -> None:
    for pod in pods(values_of(case)):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


@pytest.mark.req("DEP-1", "MET-5")
@pytest.mark.parametrize("case", CASES)
def test_alive_is_the_process_and_ready_is_its_last_good_cycle(case: str) -> None:
    for pod in pods(values_of(case)):
        for container in containers(pod):
            if container["name"] != "valkey":
                assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
                assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


@pytest.mark.req("DEP-1")
def test_beside_an_agent_the_runner_is_a_native_sidecar() -> None:
    (pod,) = (pod for pod in pods(values_of("sidecar-values.yaml")) if "initContainers" in pod)
    assert [(c["name"], c["restartPolicy"]) for c in pod["initContainers"]] == [
        ("runner", "Always")
    ]
    assert [c["name"] for c in pod["containers"]] == ["agent"]


@pytest.mark.req("DEP-1")
def test_a_password_never_stands_in_a_manifest() -> None:
    for pod in pods(values_of("production-values.yaml")):
        for container in containers(pod):
            (url,) = (one for one in container["env"] if one["name"] == "ORCH_REDIS_URL")
            assert "value" not in url


@pytest.mark.req("DEP-1", "MET-4")
def test_the_alerts_of_the_chart_are_those_of_the_project() -> None:
    values = {"valkey": {"enabled": True}, "monitoring": {"prometheusRule": {"enabled": True}}}
    found = documents(values)
    (rule,) = (one for one in found if one["kind"] == "PrometheusRule")
    rules = CHART.parents[1] / "ops" / "prometheus" / "rules.yaml"
    assert rule["spec"] == YAML(typ="safe").load(rules.read_text())


@pytest.mark.req("DEP-1", "MET-4")
@pytest.mark.parametrize("enabled", [False, True])
def test_the_dashboards_become_a_config_map_where_somebody_wants_them(enabled: bool) -> None:
    values = values_of("trial-values.yaml") | {"monitoring": {"dashboards": {"enabled": enabled}}}
    found = [
        one["data"]
        for one in documents(values)
        if one["kind"] == "ConfigMap" and "overview.json" in one["data"]
    ]
    dashboards = CHART.parents[1] / "ops" / "grafana" / "dashboards"
    wanted = {path.name: json.loads(path.read_text()) for path in dashboards.glob("*.json")}
    assert [{k: json.loads(v) for k, v in one.items()} for one in found] == [wanted] * enabled
