"""The chart's values: each is described, a typo is refused, what cannot work is refused in words; what is
rendered is what Kubernetes takes, in several versions."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from actors.start import ROLES
from contracts.defaults import DEFAULTS, LOCATIONS
from contracts.metrics import CATALOGUE
from orch import __version__
from tests.deploy.chart import (
    CASES,
    CHART,
    HERE,
    ROOT,
    SCHEMA,
    actors,
    documents,
    load,
    rendered,
    variables,
)
from tests.deploy.chart import values_of as values_of_case
from tests.deploy.custom import CUSTOM
from tests.deploy.tools import helm, program

VALUES = load(CHART / "values.yaml")
KNOWN = {row.env for row in DEFAULTS.values()} | set(LOCATIONS)
KUBERNETES = ("1.29.0", "1.33.0", "1.37.0")
UNSET = {"global", "metric", "authenticationRef", "tokenSecret", "limits"} | {
    "tokenSecretKey", "cooldownSeconds", "fallbackReplicas", "unsafeSsl", "claims"
}  # fmt: skip
"""What the schema allows, and values.yaml need not show."""


def values_of(case: str) -> dict[str, Any]:
    """A case of ci/, or what the chart brings."""
    return HERE if case == "values.yaml" else values_of_case(case)


@pytest.mark.req("DEP-1")
def test_the_chart_has_the_version_of_the_package() -> None:
    chart = load(CHART / "Chart.yaml")
    assert (chart["appVersion"], chart["version"]) == (__version__, __version__)


# ---------------------------------------------------------------- names


@pytest.mark.req("DEP-1", "CFG-1")
def test_every_setting_that_the_chart_names_exists() -> None:
    text = "".join(path.read_text() for path in sorted((CHART / "templates").glob("*")))
    named = {name for name in re.findall(r"\bORCH_[A-Z_]+\b", text) if name != "ORCH_"}
    named |= {
        f"ORCH_{key.upper()}" for case in CASES for key in values_of(case).get("settings", {})
    }
    assert {"ORCH_REDIS_URL", "ORCH_SHARD", "ORCH_POOL", "ORCH_METRICS_PORT"} <= named
    assert named <= KNOWN, sorted(named - KNOWN)


@pytest.mark.req("DEP-1", "CFG-1")
@pytest.mark.parametrize("case", ["values.yaml", *CASES])
def test_what_a_container_is_told_exists_and_its_words_are_taken(case: str) -> None:
    parser = importlib.import_module("actors.__main__")._parser()
    for container in actors(values_of(case)):
        told = variables(container)
        ours = {name for name in told if name.startswith("ORCH_")}
        assert ours <= KNOWN, sorted(ours - KNOWN)
        assert parser.parse_args(container["args"]).command in ROLES


@pytest.mark.req("DEP-1")
def test_every_metric_that_the_adapter_asks_for_exists() -> None:
    text = (ROOT / "charts" / "prometheus-adapter.yaml").read_text()
    asked = set(re.findall(r"\borch_cluster_[a-z_]+\b", text))
    assert asked == {"orch_cluster_queue_depth", "orch_cluster_ready", "orch_cluster_slots_held"}
    assert asked <= set(CATALOGUE)
    (rule,) = YAML(typ="safe").load(text)["rules"]["external"]
    (scaler,) = (
        d for d in documents(values_of("shard-values.yaml")) if "autoscal" in d["apiVersion"]
    )
    assert scaler["spec"]["metrics"][0]["external"]["metric"]["name"] == rule["name"]["as"]


# ---------------------------------------------------------------- the schema


def undescribed(values: Any, schema: dict[str, Any], at: str = "") -> Iterator[str]:
    """Keys that stand in one of the two only; a list is known by its first entry."""
    if isinstance(values, list) and "items" in schema and values:
        yield from undescribed(values[0], schema["items"], f"{at}[]")
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    known = schema.get("properties")
    if isinstance(values, dict) and known and values:
        yield from (f"{at}.{key}" for key in (set(values) ^ set(known)) - UNSET)
        for key in set(values) & set(known):
            yield from undescribed(values[key], known[key], f"{at}.{key}")


@pytest.mark.req("DEP-1")
def test_every_value_of_the_chart_is_in_the_schema_and_the_other_way_round() -> None:
    assert list(undescribed(VALUES, SCHEMA)) == []
    assert set(undescribed({**VALUES, "gatewai": {}}, SCHEMA)) >= {".gatewai"}
    assert {"gateway", "runner", *VALUES["roles"]} == set(ROLES)
    assert set(
        SCHEMA["properties"]["redis"]["properties"]["existingSecretKeys"]["properties"]
    ) == set(ROLES)


@pytest.mark.req("DEP-1")
@pytest.mark.parametrize("case", ["values.yaml", *CASES])
def test_the_values_fit_their_schema(case: str) -> None:
    values = VALUES if case == "values.yaml" else values_of(case)
    assert list(Draft202012Validator(SCHEMA).iter_errors(values)) == []


TYPOS: list[dict[str, Any]] = [
    {"gatewai": {}}, {"runners": [{"slots": 1}]}, {"settings": {"ORCH_SLOTS": 1}}, {"settings": {"shard": 1}},
    {"redis": {"existingSecretKeys": {"gatewey": "x"}}}, {"redis": {"url": "http://r:6379"}}, {"shard": 1024},
    {"gateway": {"resources": {"limit": {}}}}, {"roles": {"gardener": {"enabled": False}}},
    {"runners": [{"pool": "a", "keda": {"enabld": True}}]}, {"runners": [{"pool": "a_"}]},
    {"runners": [{"pool": "a", "sidecar": "both"}]}, {"networkPolicy": {"redisPort": 6379}},
    {"monitoring": {"servicemonitor": {"enabled": True}}}, {"allInOne": True},
    {"image": {"digest": "sha256:1"}},
]  # fmt: skip


@pytest.mark.req("DEP-1")
@pytest.mark.parametrize("typo", TYPOS, ids=str)
def test_a_typo_is_refused(typo: dict[str, Any]) -> None:
    assert list(Draft202012Validator(SCHEMA).iter_errors(typo))


@pytest.mark.req("DEP-1")
@pytest.mark.parametrize("typo", TYPOS, ids=str)
def test_helm_refuses_it_too(typo: dict[str, Any]) -> None:
    library = helm()
    with pytest.raises(library.HelmError, match="- at '"):
        library.Chart.load(str(CHART)).validate_schema({**HERE, **typo})


# ---------------------------------------------------------------- what cannot work


@pytest.mark.req("DEP-1")
@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"redis": {}}, "says where Redis is"),
        ({"redis": {"url": "redis://orch:secret@redis:6379"}}, "holds a password"),
        ({"redis": {"url": "redis+sentinel://s1/orch?sentinel_password=x"}}, "holds a password"),
        ({"redis": {"url": "redis://r", "existingSecretKeys": {"runner": "x"}}}, "which is empty"),
        ({"gateway": {"auth": "none"}}, "needs tokens"),
        ({"gateway": {"plaintext": False}}, "would not start"),
        ({"runners": [{"pool": "a.b"}, {"pool": "A_b"}]}, "two are called a-b"),
        ({"runners": [{"pool": "a", "keda": {"enabled": True}, "hpa": {"enabled": True}}]}, "can have one"),
        ({"allInOne": {"enabled": True}, "runners": [{"pool": "a", "keda": {"enabled": True}}]},
         "with allInOne"),
        ({"settings": {"grace_ms": 60_000}, "runners": [{"pool": "a", "terminationGracePeriodSeconds": 120}]},
         "at least 130"),
        ({"settings": {"grace_ms": 60_000}, "gateway": {"terminationGracePeriodSeconds": 60}}, "at least 70"),
    ],
)  # fmt: skip
def test_what_would_not_work_is_refused_in_words(values: dict[str, Any], why: str) -> None:
    library = helm()
    with pytest.raises(library.HelmError, match=re.escape(why)):
        rendered({**HERE, **values})


# ---------------------------------------------------------------- what is rendered


@pytest.mark.req("DEP-1")
@pytest.mark.parametrize("case", ["values.yaml", *CASES])
def test_helm_has_nothing_to_say(case: str) -> None:
    told = helm().lint(str(CHART), values_of(case), strict=True)
    assert (told["errors"], [m for m in told["messages"] if m["severity"] > 1]) == ([], [])


def judged(values: dict[str, Any], version: str, folder: Path) -> str:
    """What Kubernetes of that version has against the manifests; custom resources are not for it."""
    found = [one for one in documents(values) if one["kind"] not in CUSTOM]
    assert len(found) >= 8
    path = folder / "all.yaml"
    # JSON is YAML of every version; a `yes` that is written bare is not.
    path.write_text("\n---\n".join(map(json.dumps, found)))
    words = [program("kubernetes-validate"), "--strict", "-k", version, str(path)]
    said = subprocess.run(words, capture_output=True, text=True, check=False)
    return "" if said.returncode == 0 else said.stdout + said.stderr


@pytest.mark.req("DEP-1")
@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("case", ["values.yaml", *CASES])
def test_kubernetes_takes_what_helm_renders(case: str, version: str, tmp_path: Path) -> None:
    assert judged(values_of(case), version, tmp_path) == ""


@pytest.mark.req("DEP-1")
@pytest.mark.parametrize(
    "values",
    [
        {"allInOne": {"enabled": True}, "valkey": {"enabled": True}, "redis": {}},
        {"runners": []},
        {"runners": [{"pool": "1"}, {"pool": "true"}, {"pool": "A.b_C", "name": "x" * 40}]},
        {"networkPolicy": {"runnerEgress": [], "notifierEgress": [], "redisTo": [], "metricsFrom": []}},
        {"roles": {role: {"enabled": False} for role in ("notifier", "fallback")}},
        {"fullnameOverride": "x" * 60, "podLabels": {"a": "1"}, "podAnnotations": {"b": "true"}},
        {"serviceAccount": {"create": False}, "priorityClassName": "high", "nodeSelector": {"disk": "ssd"}},
        {"extraEnv": [{"name": "OTEL_SDK_DISABLED", "value": "true"}]},
        {"settings": {"classes": ["a:8", "b:1"], "default_class": "b", "tenant_jobs_max": 100_000_000}},
    ],
    ids=["one pod", "no runner", "pools", "closed", "roles", "names", "placement", "variables", "settings"],
)  # fmt: skip
def test_odd_values_are_taken_too(values: dict[str, Any], tmp_path: Path) -> None:
    assert judged({**HERE, **values}, KUBERNETES[0], tmp_path) == ""
    told = [text for one in actors({**HERE, **values}) for text in variables(one).values()]
    assert not [text for text in told if "e+" in text or "<no value>" in text]


@pytest.mark.req("DEP-1")
def test_a_manifest_that_kubernetes_does_not_take_is_noticed(tmp_path: Path) -> None:
    (path := tmp_path / "bad.yaml").write_text(
        "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{prot: 80}]}\n"
    )
    words = [program("kubernetes-validate"), "--strict", "-k", KUBERNETES[0], str(path)]
    assert subprocess.run(words, capture_output=True, check=False).returncode != 0


@pytest.mark.req("DEP-1")
def test_custom_resources_are_what_their_operators_document() -> None:
    seen = set()
    for case in CASES:
        for one in documents(values_of(case)):
            if one["kind"] in CUSTOM:
                seen.add(one["kind"])
                judge = Draft202012Validator(CUSTOM[one["kind"]])
                assert [error.message for error in judge.iter_errors(one)] == [], one["kind"]
    assert seen == set(CUSTOM)


@pytest.mark.req("DEP-1")
@pytest.mark.parametrize("case", CASES)
def test_no_two_manifests_have_one_name_and_selectors_find_one_workload_each(case: str) -> None:
    found = list(documents(values_of(case)))
    names = [(one["kind"], one["metadata"]["name"]) for one in found]
    assert len(names) == len(set(names))
    workloads = [one for one in found if one["kind"] in {"Deployment", "StatefulSet"}]
    for one in workloads:
        wanted = one["spec"]["selector"]["matchLabels"].items()
        hit = [
            d for d in workloads if wanted <= d["spec"]["template"]["metadata"]["labels"].items()
        ]
        assert hit == [one]
