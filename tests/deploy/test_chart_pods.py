"""What the chart's pods are: locked down, asked for their health, ended with patience, spread, and reached by
those who must reach them."""

from __future__ import annotations

from typing import Any

import pytest

from actors.start import ROLES
from contracts.defaults import DEFAULTS
from tests.deploy.chart import (
    CASES,
    HERE,
    actors,
    containers,
    documents,
    of_kind,
    pods,
    values_of,
    variables,
)

GRACE_MS = DEFAULTS["grace_ms"].value
EVERY = ["values.yaml", *CASES]


def house(case: str) -> dict[str, Any]:
    """The values of a case, or the least that a house needs."""
    return HERE if case == "values.yaml" else values_of(case)


def role_of(container: dict[str, Any]) -> str:
    """What an actor does."""
    return str(container["args"][0])


# ---------------------------------------------------------------- locked down


@pytest.mark.req("DEP-1")
@pytest.mark.parametrize("case", EVERY)
def test_every_pod_is_locked_down(case: str) -> None:
    for pod in pods(house(case)).values():
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


@pytest.mark.req("DEP-1")
@pytest.mark.parametrize("case", EVERY)
def test_every_container_says_what_it_needs_and_none_but_agents_takes_all_memory(case: str) -> None:
    for pod in pods(house(case)).values():
        for one in containers(pod):
            told = one["resources"]
            if set(told) != {"limits"}:  # who gives a limit alone asks for as much
                assert {"cpu", "memory"} <= set(told["requests"]), one["name"]
            assert "cpu" not in told.get("limits", {}), "a limit of CPU makes beats late"
            if "runner" not in one["name"]:
                assert "memory" in told["limits"], one["name"]


@pytest.mark.req("DEP-1")
def test_the_service_account_has_no_token() -> None:
    (account,) = of_kind(HERE, "ServiceAccount").values()
    assert account["automountServiceAccountToken"] is False
    assert {pod["serviceAccountName"] for pod in pods(HERE).values()} == {"demo-orch"}


@pytest.mark.req("DEP-1")
@pytest.mark.parametrize("case", EVERY)
def test_every_mount_has_its_volume_and_no_two_actors_share_a_home(case: str) -> None:
    for pod in pods(house(case)).values():
        names = [one["name"] for one in pod.get("volumes", ())]
        assert len(names) == len(set(names))
        ours = [c for c in containers(pod) if c["name"] != "valkey"]
        mounts = [{m["mountPath"]: m["name"] for m in c["volumeMounts"]} for c in ours]
        assert {name for one in mounts for name in one.values()} == set(names)
        homes = [one["/var/lib/orch"] for one in mounts]
        assert len(homes) == len(set(homes)), "a runner takes a neighbor's scratch for leftovers"
        keep = {role_of(c) for c, m in zip(ours, mounts, strict=True) if "/var/lib/orch/blobs" in m}
        assert keep == {role_of(c) for c in ours} & {"gateway", "runner"}


# ---------------------------------------------------------------- Redis


@pytest.mark.req("DEP-1", "SEC-1")
def test_a_password_never_stands_in_a_manifest() -> None:
    for container in actors(values_of("production-values.yaml")):
        (url,) = (one for one in container["env"] if one["name"] == "ORCH_REDIS_URL")
        assert "value" not in url


@pytest.mark.req("DEP-1", "DEP-2")
def test_a_role_with_a_user_of_its_own_gets_that_users_url_and_the_others_the_common_one() -> None:
    keys = {role: f"{role}-url" for role in ("runner", "gateway")}
    found = actors({"redis": {"existingSecret": "s", "existingSecretKeys": keys}})
    told = {role_of(one): variables(one)["ORCH_REDIS_URL"] for one in found}
    assert told == {role: f"s/{keys.get(role, 'url')}" for role in ROLES}


@pytest.mark.req("DEP-1", "DEP-2")
@pytest.mark.parametrize("case", ["production-values.yaml", "all-in-one-values.yaml"])
def test_certificates_for_redis_are_mounted_into_every_actor(case: str) -> None:
    values = house(case) | {"redis": {"existingSecret": "s", "tlsSecret": "redis-tls"}}
    for pod in pods(values).values():
        (volume,) = (v for v in pod["volumes"] if v["name"] == "redis-tls")
        assert volume["secret"] == {"secretName": "redis-tls", "defaultMode": 0o440}
    for one in actors(values):
        (mount,) = (m for m in one["volumeMounts"] if m["name"] == "redis-tls")
        assert mount == {"name": "redis-tls", "mountPath": "/etc/orch/redis", "readOnly": True}


@pytest.mark.req("DEP-1", "DEP-2")
def test_a_release_serves_one_shard() -> None:
    assert {variables(one)["ORCH_SHARD"] for one in actors(HERE)} == {"0"}
    assert {variables(one)["ORCH_SHARD"] for one in actors(values_of("shard-values.yaml"))} == {"1"}


# ---------------------------------------------------------------- health


@pytest.mark.req("DEP-1", "MET-5")
@pytest.mark.parametrize("case", EVERY)
def test_alive_is_the_process_and_ready_is_its_last_good_cycle(case: str) -> None:
    secure = bool(house(case).get("gateway", {}).get("tlsSecret"))
    for one in actors(house(case)):
        is_gateway = role_of(one) == "gateway"
        asked = {"port": "http" if is_gateway else "metrics"}
        asked |= {"scheme": "HTTPS" if secure else "HTTP"} if is_gateway else {}
        assert one["startupProbe"]["httpGet"] == {"path": "/livez", **asked}
        assert one["livenessProbe"]["httpGet"] == {"path": "/livez", **asked}
        assert one["readinessProbe"]["httpGet"] == {"path": "/readyz", **asked}
        assert asked["port"] in {port["name"] for port in one["ports"]}
        # A gateway opens its door when it has found Redis: an outage at its start restarts it no sooner.
        seconds = one["startupProbe"]["periodSeconds"] * one["startupProbe"]["failureThreshold"]
        assert seconds >= (3_600 if is_gateway else 60)


# ---------------------------------------------------------------- the end


def seconds_needed(role: str, grace_ms: int) -> float:
    """From SIGTERM to the end of the process, as actors/runner/life.py and actors/gateway/serve.py say."""
    return {"runner": 2 * grace_ms + 3_000, "gateway": grace_ms + 5_000 + 1_000}.get(
        role, 2_000
    ) / 1_000


@pytest.mark.req("DEP-1", "RUN-6")
@pytest.mark.parametrize("grace_ms", [GRACE_MS, 0, 1_001, 90_000, 3_600_000])
@pytest.mark.parametrize("case", EVERY)
def test_a_pod_has_more_time_to_end_than_its_actors_may_take(case: str, grace_ms: int) -> None:
    values = {**house(case), "settings": {"grace_ms": grace_ms}, "monitoring": {}}
    for runner in values.get("runners", ()):
        runner.pop("terminationGracePeriodSeconds", None)
    for pod in pods(values).values():
        for one in containers(pod):
            needed = 10 if one["name"] == "valkey" else seconds_needed(role_of(one), grace_ms)
            assert pod["terminationGracePeriodSeconds"] > needed, one["name"]


@pytest.mark.req("DEP-1", "RUN-6")
def test_who_gives_agents_ten_minutes_gets_them() -> None:
    found = pods(values_of("production-values.yaml"))
    assert found["demo-orch-runner-gpu-near"]["terminationGracePeriodSeconds"] == 600


@pytest.mark.req("DEP-1", "API-5")
def test_a_gateway_leaves_its_service_before_it_stops_listening() -> None:
    (gateway,) = (one for one in actors(HERE) if role_of(one) == "gateway")
    # An action of every version that the chart is for: `sleep` came with 1.30.
    assert gateway["lifecycle"] == {"preStop": {"exec": {"command": ["sleep", "5"]}}}


@pytest.mark.req("DEP-1")
@pytest.mark.parametrize(
    "case", ["values.yaml", "production-values.yaml", "all-in-one-values.yaml"]
)
def test_a_budget_covers_each_workload_and_lets_one_pod_go(case: str) -> None:
    budgets = [one["spec"] for one in of_kind(house(case), "PodDisruptionBudget").values()]
    for workload in of_kind(house(case), "Deployment").values():
        labels = workload["spec"]["template"]["metadata"]["labels"].items()
        (mine,) = (b for b in budgets if b["selector"]["matchLabels"].items() <= labels)
        assert (mine["maxUnavailable"], mine["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")


@pytest.mark.req("DEP-1")
def test_pods_of_a_component_are_spread_unless_somebody_says_otherwise() -> None:
    for name, workload in of_kind(HERE, "Deployment").items():
        template = workload["spec"]["template"]
        (spread,) = template["spec"]["topologySpreadConstraints"]
        assert spread["whenUnsatisfiable"] == "ScheduleAnyway"
        wanted = spread["labelSelector"]["matchLabels"].items()
        assert wanted <= template["metadata"]["labels"].items(), name
        assert wanted == workload["spec"]["selector"]["matchLabels"].items()
    (own,) = values_of("production-values.yaml")["topologySpreadConstraints"]
    for pod in pods(values_of("production-values.yaml")).values():
        assert pod["topologySpreadConstraints"] == [own]


# ---------------------------------------------------------------- beside an agent, and all in one


@pytest.mark.req("DEP-1")
def test_an_agent_that_is_called_starts_before_its_runner_and_ends_after_it() -> None:
    pod = pods(values_of("sidecar-values.yaml"))["demo-orch-runner-beside"]
    assert [(c["name"], c["restartPolicy"]) for c in pod["initContainers"]] == [("agent", "Always")]
    assert [c["name"] for c in pod["containers"]] == ["runner"]
    assert "startupProbe" in pod["initContainers"][0]
    assert "env" not in pod["initContainers"][0], "an agent is told nothing of Redis"


@pytest.mark.req("DEP-1")
def test_beside_a_program_of_its_own_the_runner_is_the_native_sidecar() -> None:
    pod = pods(values_of("sidecar-values.yaml"))["demo-orch-runner-beside-a-program"]
    assert [(c["name"], c["restartPolicy"]) for c in pod["initContainers"]] == [
        ("runner", "Always")
    ]
    assert [c["name"] for c in pod["containers"]] == ["agent"]
    assert "restartPolicy" not in pod["containers"][0]


@pytest.mark.req("DEP-1")
def test_all_in_one_is_one_deployment_of_every_role_with_a_metrics_port_each() -> None:
    values = values_of("all-in-one-values.yaml")
    (deployment,) = of_kind(values, "Deployment").values()
    assert deployment["spec"]["replicas"] == 2
    found = actors(values)
    assert sorted(map(role_of, found)) == sorted([*(set(ROLES) - {"notifier"}), "runner"])
    ports = [p["containerPort"] for one in found for p in one["ports"] if p["name"] == "metrics"]
    assert ports == list(range(9464, 9464 + len(found)))
    assert [variables(one)["ORCH_METRICS_PORT"] for one in found] == [str(port) for port in ports]
    services = of_kind(values, "Service")
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    assert all(one["spec"]["selector"].items() <= labels for one in services.values())
    scraped = [port["port"] for port in services["demo-orch-metrics"]["spec"]["ports"]]
    assert scraped == ports


# ---------------------------------------------------------------- who reaches whom


def admits(policies: list[dict[str, Any]], labels: dict[str, str], port: int, way: str) -> bool:
    """Whether a policy that selects these labels lets this port through, to or from anybody or somebody."""
    for policy in policies:
        spec = policy["spec"]
        wanted = spec["podSelector"].get("matchLabels", {}).items()
        component = labels["app.kubernetes.io/component"]
        shut_out = [e["values"] for e in spec["podSelector"].get("matchExpressions", ())]
        if not wanted <= labels.items() or any(component in values for values in shut_out):
            continue
        for rule in spec.get(way, ()):
            spans = [(p["port"], p.get("endPort", p["port"])) for p in rule.get("ports", ())]
            if not spans or any(low <= port <= high for low, high in spans):
                return True
    return False


@pytest.mark.req("DEP-1")
@pytest.mark.parametrize("case", [one for one in EVERY if one != "sidecar-values.yaml"])
def test_prometheus_reaches_every_actor_callers_the_gateway_and_actors_redis(case: str) -> None:
    values = house(case)
    policies = list(of_kind(values, "NetworkPolicy").values())
    ports = values.get("networkPolicy", {}).get("redisPorts", [6379])
    for workload in of_kind(values, "Deployment").values():
        template = workload["spec"]["template"]
        labels = template["metadata"]["labels"]
        for one in containers(template["spec"]):
            for port in one["ports"]:
                assert admits(policies, labels, port["containerPort"], "ingress"), port
        assert all(admits(policies, labels, port, "egress") for port in (53, *ports))
        roles = {role_of(one) for one in containers(template["spec"])}
        assert admits(policies, labels, 443, "egress") is bool(roles & {"runner", "notifier"})
        assert not admits(policies, labels, 22, "ingress")
        if case == "production-values.yaml":
            assert admits(policies, labels, 4318, "egress")


@pytest.mark.req("DEP-1")
def test_the_trial_server_is_reached_by_the_house_alone_and_keeps_what_it_promised() -> None:
    values = values_of("trial-values.yaml")
    policies = of_kind(values, "NetworkPolicy")
    (rule,) = policies["demo-orch-valkey"]["spec"]["ingress"]
    assert rule["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/instance"] == "demo"
    (server,) = containers(pods(values)["demo-orch-valkey"])
    options = dict(zip(server["args"][1::2], server["args"][2::2], strict=True))
    assert (options["--appendfsync"], options["--maxmemory-policy"]) == ("always", "noeviction")


@pytest.mark.req("DEP-1")
@pytest.mark.parametrize("case", EVERY)
def test_agents_are_told_where_the_gateway_is_and_it_answers_to_that_name(case: str) -> None:
    values = house(case)
    secure = bool(values.get("gateway", {}).get("tlsSecret"))
    url = f"http{'s' if secure else ''}://demo-orch-gateway.ns.svc:80"
    found = actors(values)
    assert {tuple(one["args"]) for one in found if role_of(one) == "runner"} == {
        ("runner", "--url", url)
    }
    (gateway,) = (variables(one) for one in found if role_of(one) == "gateway")
    assert "demo-orch-gateway.ns.svc" in gateway["ORCH_ALLOWED_HOSTS"].split(",")
    assert any(one["metadata"]["name"] == "demo-orch-gateway" for one in documents(values))
