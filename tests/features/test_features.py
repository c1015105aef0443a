"""Are the features more than words? No step is undefined, ambiguous, unused, async; each scenario can fail.

pytest-bdd calls an async step without awaiting it, so a scenario of those would pass without having run.
"""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from pytest_bdd.feature import get_feature
from pytest_bdd.parser import Feature, Scenario, Step
from pytest_bdd.steps import StepFunctionContext, step_function_context_registry

from tests.e2e.stack import environ

ROOT: Final = Path(__file__).resolve().parents[2]
HERE: Final = Path(__file__).parent
FEATURES: Final = sorted(path.stem for path in HERE.glob("*.feature"))
MUTED_S: Final = 120


def feature(name: str) -> Feature:
    return get_feature(str(HERE), f"{name}.feature")


def scenarios_of(name: str) -> Iterator[Scenario]:
    for template in feature(name).scenarios.values():
        rows = [row for table in template.examples for row in table.as_contexts()]
        for row in rows or [{}]:
            yield template.render(row)


def steps_of(name: str) -> list[Step]:
    return [step for scenario in scenarios_of(name) for step in scenario.steps]


def definitions(name: str) -> list[StepFunctionContext]:
    """The step functions that a feature's scenarios can see: its own and the shared ones."""
    modules = {f"test_{name}", "conftest"}
    importlib.import_module(f"tests.features.test_{name}")
    found = {
        (one.step_func.__module__.rpartition(".")[2], one.step_func.__qualname__, one.type): one
        for one in step_function_context_registry.values()
    }
    return [one for (module, _, _), one in found.items() if module in modules]


def fits(definition: StepFunctionContext, step: Step) -> bool:
    return definition.type in {None, step.type} and definition.parser.is_matching(step.name)


@pytest.mark.req("DOC-1")
@pytest.mark.parametrize("name", FEATURES)
def test_every_step_has_exactly_one_definition(name: str) -> None:
    known = definitions(name)
    found = {step.name: sum(fits(one, step) for one in known) for step in steps_of(name)}
    assert {step: count for step, count in found.items() if count != 1} == {}
    assert len(found) > 5


@pytest.mark.req("DOC-1")
def test_every_definition_is_used_and_none_is_async() -> None:
    for name in FEATURES:
        for one in definitions(name):
            func = one.step_func
            assert not inspect.iscoroutinefunction(func), func
            assert not inspect.isasyncgenfunction(func), func
            used_in = FEATURES if func.__module__.endswith("conftest") else [name]
            assert any(fits(one, step) for each in used_in for step in steps_of(each)), func


@pytest.mark.req("DOC-1")
@pytest.mark.parametrize("name", FEATURES)
def test_every_scenario_has_something_that_happens_and_something_to_see(name: str) -> None:
    for scenario in scenarios_of(name):
        kinds = [step.type for step in scenario.steps]
        assert {"when", "then"} <= set(kinds), scenario.name
        assert kinds == sorted(kinds, key=["given", "when", "then"].index), scenario.name


@pytest.mark.req("DOC-1")
@pytest.mark.timeout(MUTED_S)
def test_every_scenario_fails_when_that_which_it_is_about_does_not_happen(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    names = [str(HERE / f"test_{name}.py") for name in FEATURES]
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            f"--junitxml={report}",
            *names,
        ],
        cwd=ROOT,
        env={**environ(), "PATH": os.environ["PATH"], "ORCH_FEATURES_MUTED": "1"},
        capture_output=True,
        text=True,
        timeout=MUTED_S,
        check=False,
    )
    cases = list(ET.parse(report).iter("testcase"))
    passed = [case.get("name") for case in cases if case.find("failure") is None]
    failed_at = {
        case.get("name"): [one.get("value") for one in case.iter("property")] for case in cases
    }
    assert passed == [], f"they prove nothing: {passed}"
    assert len(cases) == sum(len(list(scenarios_of(name))) for name in FEATURES), ended.stdout
    assert {name: at for name, at in failed_at.items() if at != ["then"]} == {}
