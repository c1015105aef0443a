"""The chart as the tests see it: its values, its cases under ci/, and what Helm makes of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from tests.deploy.tools import helm

ROOT: Final = Path(__file__).resolve().parents[2]
CHART: Final = ROOT / "charts" / "orch"
SCHEMA: Final = json.loads((CHART / "values.schema.json").read_text())
CASES: Final = sorted(path.name for path in (CHART / "ci").glob("*.yaml"))
HERE: Final[dict[str, Any]] = {"redis": {"existingSecret": "orch-redis"}}
"""The least that a house needs."""


def load(path: Path) -> dict[str, Any]:
    """A YAML document."""
    read: dict[str, Any] = YAML(typ="safe").load(path.read_text())
    return read


def values_of(case: str) -> dict[str, Any]:
    """The values of a case under ci/."""
    return load(CHART / "ci" / case)


def rendered(values: dict[str, Any], *, name: str = "demo") -> dict[str, str]:
    """Template to text, by Helm."""
    return dict(_rendered(json.dumps(values), name))


@cache
def _rendered(values: str, name: str) -> dict[str, str]:
    chart = helm().Chart.load(str(CHART))
    return dict(chart.render(json.loads(values), name=name, namespace="ns"))


def documents(values: dict[str, Any], *, name: str = "demo") -> Iterator[dict[str, Any]]:
    """Every manifest; they are read once, so nobody changes them."""
    yield from _documents(json.dumps(values), name)


@cache
def _documents(values: str, name: str) -> list[dict[str, Any]]:
    texts = _rendered(values, name)
    read = (YAML(typ="safe").load_all(text) for file, text in texts.items() if file[-4:] != ".txt")
    return [one for several in read for one in several if one]


def of_kind(values: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """Manifests of a kind, by name."""
    return {d["metadata"]["name"]: d for d in documents(values) if d["kind"] == kind}


def pods(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The pod of every workload, by the workload's name."""
    kinds = {**of_kind(values, "Deployment"), **of_kind(values, "StatefulSet")}
    return {name: one["spec"]["template"]["spec"] for name, one in kinds.items()}


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """What a pod runs of ours: an agent is somebody else's."""
    return [c for c in [*pod.get("initContainers", ()), *pod["containers"]] if c["name"] != "agent"]


def actors(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Every container that is an actor."""
    found = [one for pod in pods(values).values() for one in containers(pod)]
    return [one for one in found if one["name"] != "valkey"]


def variables(container: dict[str, Any]) -> dict[str, Any]:
    """Its environment; what comes out of a secret as `secret/key`."""
    told = {}
    for one in container["env"]:
        secret = one.get("valueFrom", {}).get("secretKeyRef")
        told[one["name"]] = f"{secret['name']}/{secret['key']}" if secret else one["value"]
    assert len(told) == len(container["env"]), "a variable stands there twice"
    return told
