"""How the chart scales runners, and what it gives to Prometheus and Grafana."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.deploy.chart import CHART, HERE, ROOT, load, of_kind, rendered, values_of, variables

PRODUCTION = "production-values.yaml"


def runner(**more: Any) -> dict[str, Any]:
    """A house with one pool."""
    return {**HERE, "runners": [{"pool": "gpu", **more}]}


# ---------------------------------------------------------------- how many runners


@pytest.mark.req("DEP-1")
@pytest.mark.parametrize("replicas", [0, 1, 7])
def test_as_many_runners_as_are_asked_for_none_too(replicas: int) -> None:
    found = of_kind(runner(replicas=replicas), "Deployment")["demo-orch-runner-gpu"]
    assert found["spec"]["replicas"] == replicas


@pytest.mark.req("DEP-1")
def test_who_scales_owns_the_number_of_runners() -> None:
    for scaler in ("keda", "hpa"):
        found = of_kind(runner(replicas=3, **{scaler: {"enabled": True}}), "Deployment")
        assert "replicas" not in found["demo-orch-runner-gpu"]["spec"]


@pytest.mark.req("DEP-1", "API-1")
def test_keda_asks_the_gateway_for_jobs_waiting_and_running_never_for_the_lag_of_a_stream() -> None:
    (scaled,) = of_kind(values_of(PRODUCTION), "ScaledObject").values()
    (trigger,) = scaled["spec"]["triggers"]
    assert trigger["type"] == "metrics-api"
    assert trigger["metadata"] == {
        "url": "https://demo-orch-gateway.ns.svc:80/v1/scale/default",
        "valueLocation": "workload",
        "targetValue": "32",
        "authMode": "bearer",
    }
    assert scaled["spec"]["fallback"] == {"failureThreshold": 3, "replicas": 5}
    document = json.loads((ROOT / "contracts" / "openapi.json").read_text())
    assert "/v1/scale/{pool}" in document["paths"]
    assert "workload" in document["components"]["schemas"]["Scale"]["properties"]


@pytest.mark.req("DEP-1")
def test_keda_shows_a_token_from_a_secret() -> None:
    (scaled,) = of_kind(values_of(PRODUCTION), "ScaledObject").values()
    (trigger,) = scaled["spec"]["triggers"]
    shown = of_kind(values_of(PRODUCTION), "TriggerAuthentication")
    about = shown[trigger["authenticationRef"]["name"]]["spec"]["secretTargetRef"]
    assert about == [{"parameter": "token", "name": "orch-scaler", "key": "token"}]
    own = runner(keda={"enabled": True, "authenticationRef": "mine"})
    (scaled,) = of_kind(own, "ScaledObject").values()
    assert scaled["spec"]["triggers"][0]["authenticationRef"] == {"name": "mine"}
    assert of_kind(own, "TriggerAuthentication") == {}


@pytest.mark.req("DEP-1")
def test_an_autoscaler_of_kubernetes_asks_an_adapter_for_the_same_number() -> None:
    (found,) = of_kind(values_of("shard-values.yaml"), "HorizontalPodAutoscaler").values()
    spec = found["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 40)
    assert spec["scaleTargetRef"]["name"] in of_kind(values_of("shard-values.yaml"), "Deployment")
    assert spec["metrics"] == [
        {
            "type": "External",
            "external": {
                "metric": {"name": "orch_pool_workload", "selector": {"matchLabels": {"pool": "default"}}},
                "target": {"type": "AverageValue", "averageValue": "16"},
            },
        }
    ]  # fmt: skip


@pytest.mark.req("DEP-1")
def test_two_deployments_may_serve_one_pool() -> None:
    runners = [{"pool": "gpu"}, {"pool": "gpu", "name": "gpu-large", "slots": 1}]
    found = of_kind({**HERE, "runners": runners}, "Deployment")
    small, large = found["demo-orch-runner-gpu"], found["demo-orch-runner-gpu-large"]
    pools = [
        variables(one["spec"]["template"]["spec"]["containers"][0])["ORCH_POOL"]
        for one in (small, large)
    ]
    assert pools == ["gpu", "gpu"]
    assert small["spec"]["selector"] != large["spec"]["selector"]


# ---------------------------------------------------------------- what watches


@pytest.mark.req("DEP-1", "MET-1")
def test_a_service_monitor_finds_its_service_and_that_every_pod_ready_or_not() -> None:
    (monitor,) = of_kind(values_of(PRODUCTION), "ServiceMonitor").values()
    services = of_kind(values_of(PRODUCTION), "Service").values()
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    (service,) = (one for one in services if wanted <= one["metadata"]["labels"].items())
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert [one["port"] for one in monitor["spec"]["endpoints"]] == ["metrics"]
    assert service["spec"]["ports"] == [{"name": "metrics", "port": 9464}]
    for workload in of_kind(values_of(PRODUCTION), "Deployment").values():
        labels = workload["spec"]["template"]["metadata"]["labels"].items()
        assert service["spec"]["selector"].items() <= labels
    trial = {"valkey": {"enabled": True}, "monitoring": {"serviceMonitor": {"enabled": True}}}
    (server,) = of_kind(trial, "StatefulSet").values()
    (service,) = (
        s for s in of_kind(trial, "Service").values() if s["metadata"]["name"].endswith("metrics")
    )
    labels = server["spec"]["template"]["metadata"]["labels"].items()
    assert not service["spec"]["selector"].items() <= labels, "it has no numbers"


@pytest.mark.req("DEP-1", "MET-4")
def test_the_alerts_of_the_chart_are_those_of_the_project() -> None:
    (rule,) = of_kind(values_of(PRODUCTION), "PrometheusRule").values()
    assert rule["spec"] == load(ROOT / "ops" / "prometheus" / "rules.yaml")


@pytest.mark.req("DEP-1", "MET-4")
@pytest.mark.parametrize("enabled", [False, True])
def test_the_dashboards_become_a_config_map_where_somebody_wants_them(enabled: bool) -> None:
    values = values_of("trial-values.yaml") | {"monitoring": {"dashboards": {"enabled": enabled}}}
    found = list(of_kind(values, "ConfigMap").values())
    dashboards = ROOT / "ops" / "grafana" / "dashboards"
    wanted = {path.name: json.loads(path.read_text()) for path in dashboards.glob("*.json")}
    assert [{k: json.loads(v) for k, v in one["data"].items()} for one in found] == [
        wanted
    ] * enabled
    if enabled:
        assert sum(map(len, found[0]["data"].values())) < 1_000_000, "a ConfigMap holds a MiB"
        assert found[0]["metadata"]["labels"]["grafana_dashboard"] == "1"


# ---------------------------------------------------------------- what people are told


def notes(values: dict[str, Any]) -> str:
    """What `helm install` prints."""
    (text,) = (text for name, text in rendered(values).items() if name.endswith("NOTES.txt"))
    return text


@pytest.mark.req("DEP-1")
def test_the_notes_name_the_next_two_commands_and_things_that_are_there() -> None:
    for values in (HERE, values_of(PRODUCTION), values_of("all-in-one-values.yaml")):
        lines = [line.strip() for line in notes(values).splitlines()]
        first, second = (line for line in lines if line.startswith("kubectl") and "deploy/" in line)
        (name,) = {
            word.removeprefix("deploy/")
            for word in f"{first} {second}".split()
            if "deploy/" in word
        }
        pod = of_kind(values, "Deployment")[name]["spec"]["template"]["spec"]
        assert " rollout status " in first
        assert "-c gateway -- orch token create " in second
        assert "gateway" in {one["name"] for one in pod["containers"]}
        (forward,) = (line for line in lines if "port-forward" in line)
        assert "svc/demo-orch-gateway" in forward
        assert "demo-orch-gateway" in of_kind(values, "Service")


@pytest.mark.req("DEP-1")
def test_the_port_that_the_notes_forward_is_one_whose_host_header_the_gateway_takes() -> None:
    # A Host of loopback counts with the port that the gateway listens on.
    values = {**HERE, "gateway": {"port": 9000, "service": {"port": 443}}}
    assert "port-forward svc/demo-orch-gateway 9000:443" in notes(values)
    assert "http://127.0.0.1:9000 " in notes(values)


@pytest.mark.req("DEP-1")
def test_the_notes_say_what_will_be_lost() -> None:
    assert "for trials" in notes(values_of("trial-values.yaml"))
    assert "go with them" in notes(HERE)
    assert "go with them" not in notes(values_of(PRODUCTION))
    assert "shard 1" in notes(values_of("shard-values.yaml"))


@pytest.mark.req("DEP-1")
def test_the_chart_reads_only_what_it_brings() -> None:
    text = "".join(path.read_text() for path in (CHART / "templates").glob("*.yaml"))
    assert "lookup" not in text
    assert ".Capabilities" not in text
